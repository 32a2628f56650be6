# SPDX-License-Identifier: Apache-2.0
"""The records of a restore's nodes: what they show, and how often the database is asked."""

from __future__ import annotations

from typing import Any

import pytest

from magnetodb_backup.conductor.fanout import Call, Outcome
from magnetodb_backup.conductor.restore.node_restores import NodeRestores
from magnetodb_backup.domain.restore.records import NodeRestore, RestorePhase
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.errors import DatabaseUnavailable
from magnetodb_backup.tasks.kinds import TaskKind

NODES = 1000


class CountingRestores:
    """A table of node restores that counts its reads and writes."""

    def __init__(self) -> None:
        self.rows: dict[str, NodeRestore] = {}
        self.reads = self.writes = 0
        self.away = False

    def node_restores(self, restore_id: str) -> tuple[NodeRestore, ...]:
        self.reads += 1
        return tuple(self.rows.values())

    def put_node_restore(self, node: NodeRestore) -> None:
        if self.away:
            raise DatabaseUnavailable("the database does not answer")
        self.writes += 1
        self.rows[node.host_id] = node


class FakeDatabase:
    """A database with this table only."""

    def __init__(self) -> None:
        self.restores = CountingRestores()


def _member(number: int) -> RingMember:
    return RingMember(
        host_id=f"host-{number}",
        address=f"127.0.0.{number}",
        dc="dc1",
        rack="rack1",
        version="5.0.9",
        tokens=(1,),
    )


def _outcome(number: int, kind: TaskKind, result: dict[str, Any]) -> Outcome:
    member = _member(number)
    call = Call(member.host_id, member.address, f"worker-{number}", "job:step", kind, {})
    return Outcome(call, result)


def test_a_step_of_a_thousand_nodes_reads_the_table_once() -> None:
    database: Any = FakeDatabase()
    records = NodeRestores(database, "restore-1")
    for number in range(NODES):
        records.enter(_member(number), RestorePhase.IMPORT.value)
    for number in range(NODES):
        outcome = _outcome(number, TaskKind.RESTORE_IMPORT, {"sstables": number})
        records.write_progress(outcome.call, {"bytes_resumed": 0, "sstables_imported": 1})
        records.leave(outcome, RestorePhase.IMPORT.value)
    assert (database.restores.reads, database.restores.writes) == (1, 3 * NODES)
    imported = [n.progress.sstables_imported for n in database.restores.rows.values()]
    assert imported == list(range(NODES))


def test_another_conductor_finds_what_was_written() -> None:
    database: Any = FakeDatabase()
    NodeRestores(database, "restore-1").enter(_member(1), RestorePhase.CENSUS.value)
    NodeRestores(database, "restore-1").leave(
        _outcome(1, TaskKind.RESTORE_CLEANUP, {}), RestorePhase.CLEANUP.value
    )
    assert database.restores.rows["host-1"].phase == "done"


def test_what_could_not_be_written_is_not_remembered() -> None:
    database: Any = FakeDatabase()
    records = NodeRestores(database, "restore-1")
    records.enter(_member(1), RestorePhase.CENSUS.value)
    database.restores.away = True
    outcome = _outcome(1, TaskKind.RESTORE_IMPORT, {"sstables": 7})
    with pytest.raises(DatabaseUnavailable):
        records.leave(outcome, RestorePhase.IMPORT.value)
    database.restores.away = False
    records.enter(_member(1), RestorePhase.IMPORT.value)
    assert database.restores.rows["host-1"].progress.sstables_imported == 0

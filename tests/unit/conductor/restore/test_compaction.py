# SPDX-License-Identifier: Apache-2.0
"""No automatic compaction of the restored tables until all parts are in; then as before.

A compaction could drop an old tombstone before the row that it hides has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.restore.records import Existing, RestoreStatus
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.tasks import NodeWork, TaskContext
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring, T, U
from tests.unit.worker import fake_changes

HELD = {**fake_changes.COMPACTION, "enabled": "false"}
OWN = {"class": "LeveledCompactionStrategy", "sstable_size_in_mb": "160"}


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    """Table t has options of its own; nodetool has switched compaction of u off on node 2."""
    for node in cluster.nodes.values():
        node.compaction[T] = OWN
    cluster.nodes[2].not_compacted.add(U)
    return Restoring(cluster)


def _as_before(restoring: Restoring) -> bool:
    nodes = restoring.cluster.nodes
    return (
        all(node.compaction.get(T) == OWN for node in nodes.values())
        and all(
            node.compaction.get(U, fake_changes.COMPACTION) == fake_changes.COMPACTION
            for node in nodes.values()
        )
        and [node.not_compacted for node in nodes.values()] == [set(), {U}, set()]
    )


def _stream(restoring: Restoring) -> None:
    nodes = restoring.cluster.nodes
    nodes[3].me = replace(nodes[3].me, tokens=(12345,))
    for node in nodes.values():
        node.members = tuple(other.me for other in nodes.values())
    restoring.cluster.report(3)


@pytest.mark.parametrize("other_ring", [False, True], ids=["import", "stream"])
def test_held_on_all_nodes_while_parts_arrive(restoring: Restoring, other_ring: bool) -> None:
    if other_ring:
        _stream(restoring)
    kind = TaskKind.RESTORE_STREAM if other_ring else TaskKind.RESTORE_IMPORT
    seen: list[bool] = []

    def look(worker_id: str, started: TaskKind) -> None:
        if started is kind:
            options = [
                n.compaction.get(t, {}) for n in restoring.cluster.nodes.values() for t in (T, U)
            ]
            seen.append(all(o.get("enabled") == "false" for o in options))

    restoring.cluster.workers.before_start = look
    restore = restoring.restore(existing=Existing.REPLACE)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert seen == [True] * 3
    assert _as_before(restoring)


def test_tables_whose_options_switch_it_off_are_not_altered(restoring: Restoring) -> None:
    for node in restoring.cluster.nodes.values():
        node.compaction[T] = HELD
    restoring.forget()
    restoring.restore(existing=Existing.REPLACE)
    assert restoring.told("cql ALTER TABLE ks.t") == []
    assert restoring.cluster.nodes[1].compaction[T] == HELD


@pytest.mark.parametrize("request_", [{"existing": Existing.MERGE}, {"node": "127.0.0.2"}], ids=str)
def test_rows_put_beside_others_are_held_too(
    restoring: Restoring, request_: dict[str, object]
) -> None:
    restoring.forget()
    restoring.restore(**request_)
    assert len(restoring.told("cql ALTER TABLE ks.t")) == 2
    assert _as_before(restoring)


def _import_fails(restoring: Restoring) -> None:
    def fail(table: TableName) -> None:
        raise CommandFailed("Cassandra says no")

    restoring.cluster.nodes[3].on_import = fail


def _import_is_cancelled(restoring: Restoring) -> None:
    def cancel(table: TableName) -> None:
        (job,) = restoring.cluster.database.jobs.unfinished()
        restoring.cluster.database.jobs.request_cancel(job.id)

    restoring.cluster.nodes[3].on_import = cancel


@pytest.mark.parametrize("act", [_import_fails, _import_is_cancelled])
def test_released_after_a_failure_and_a_cancellation(
    restoring: Restoring, act: Callable[[Restoring], None]
) -> None:
    act(restoring)
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status in (RestoreStatus.RESTORE_FAILED, RestoreStatus.CANCELLED)
    assert _as_before(restoring)
    assert "not compacted until" not in restore.error


def test_statements_of_the_record_if_it_cannot_be_released(restoring: Restoring) -> None:
    _import_fails(restoring)

    def refuse(statement: str) -> None:
        if statement.startswith("ALTER") and "false" not in statement:
            raise CommandFailed("Cassandra says no")

    for node in restoring.cluster.nodes.values():
        node.on_execute = refuse
    restore = restoring.restore(existing=Existing.REPLACE)
    statement = (
        "ALTER TABLE ks.t WITH compaction = {'class': 'LeveledCompactionStrategy', "
        "'sstable_size_in_mb': '160'};"
    )
    assert restore.tables["ks.t"].endswith(f"it is not compacted until you run: {statement}")


@pytest.mark.parametrize("kind", [TaskKind.RESTORE_CONFIRM, TaskKind.RESTORE_IMPORT])
def test_another_conductor_knows_the_options_that_tables_had(
    restoring: Restoring, kind: TaskKind
) -> None:
    """It finds the tables held, which must not pass for the operator's choice."""
    gone: list[str] = []

    def lose(worker_id: str, started: TaskKind) -> None:
        if started is kind:
            gone.append(worker_id)

    restoring.cluster.workers.before_start = lose
    restore = restoring.request(existing=Existing.REPLACE)
    restoring.run(restore, still_owner=lambda: not gone)
    ended = restoring.run(restore, owner="conductor-2")
    assert (ended.status, ended.error) == (RestoreStatus.RESTORED, "")
    assert _as_before(restoring)


class _Older:
    """The work of a worker that does not count what it stages."""

    def __init__(self, work: NodeWork) -> None:
        self._work = work

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        result = self._work.perform(kind, arguments, context)
        return {name: value for name, value in result.items() if name != "expected"}


def test_workers_of_an_older_release_are_not_asked(restoring: Restoring) -> None:
    """One of them does not know the new tasks."""
    workers = restoring.cluster.workers
    workers.restart("worker-2", _Older(restoring.cluster.work(2)))
    restore = restoring.restore(existing=Existing.REPLACE)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert not {"confirm", "hold", "keep_off"} & set(restoring.performed(restore))

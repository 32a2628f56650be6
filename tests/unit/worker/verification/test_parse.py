# SPDX-License-Identifier: Apache-2.0
"""SSTables of a node backup are verified table by table, in bounded space, and removed."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import Cancelled, NoSpace, ScratchFailed
from magnetodb_backup.repository.format.names import node_container, pack_name
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.tasks.verification import MOST_DESCRIBED, Failure
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import HOST
from tests.unit.worker.fake_scratch import FakeScratch
from tests.unit.worker.working import BACKUP, PREFIX, Working

T, U = TableName("ks", "t"), TableName("ks", "u")
JOB = "dddddddd-dddd-4ddd-8ddd-dddddddddddd"


class Parsing:
    """A node whose backup is in the store, and its scratch Cassandra."""

    def __init__(self, root: Path) -> None:
        self.scratch = FakeScratch(root / "scratch")
        self.working = Working(root, scratch=self.scratch)
        self.manifest: Any = None

    def back_up(self) -> None:
        self.working.do(TaskKind.PREPARE)
        self.working.do(TaskKind.SCHEMA, store=True)
        upload = self.working.do_all(TaskKind.SNAPSHOT, TaskKind.UPLOAD)
        self.manifest = asdict(upload.manifest)

    def parse(self, context: TaskContext | None = None, **settings: Any) -> Any:
        self.working.restart(**settings)
        return self.working.do(
            TaskKind.VERIFY_PARSE, context, job_id=JOB, source=HOST, manifest=self.manifest
        )

    def left(self) -> list[str]:
        """What is in the scratch directory beside the notes for another attempt."""
        return [name for name in self.scratch.left() if not name.startswith("parsed-")]


@pytest.fixture
def parsing(tmp_path: Path) -> Parsing:
    parsing = Parsing(tmp_path)
    parsing.back_up()
    return parsing


def test_every_sstable_is_verified_and_removed(parsing: Parsing) -> None:
    context = TaskContext()
    parsed = parsing.parse(context)
    assert (parsed.tables, parsed.sstables, parsed.version) == (2, 4, "5.0.9")
    assert (parsed.failures.count, parsed.failures.tables) == (0, ())
    assert parsing.scratch.lenient == [True]
    # Each is from another data directory.
    assert parsing.scratch.verified == [
        (T, ("nb-1-big",)), (T, ("nb-2-big",)), (U, ("nb-1-big",)), (U, ("nb-2-big",)),
    ]  # fmt: skip
    assert parsing.left() == []
    progress = context.progress
    assert isinstance(progress, Progress)
    assert progress.files_done == progress.files_total == 4
    assert progress.bytes_done == progress.bytes_total == parsed.bytes > 0


def test_refused_sstables_are_named(parsing: Parsing) -> None:
    parsing.scratch.malformed[b"1 ks.u"] = "EOFException"
    failures = parsing.parse().failures
    assert failures.described == (Failure("sstable", "ks", "u", "nb-1-big", "EOFException"),)
    assert failures.tables == (("ks", "u", "sstable nb-1-big: EOFException"),)


def test_many_failures_are_counted_and_some_described(parsing: Parsing) -> None:
    node = parsing.working.node
    for number in range(3, MOST_DESCRIBED + 10):
        node.write(node.tables[0], f"nb-{number}-big-Data.db", b"bad")
    parsing.scratch.malformed[b"bad"] = "why"
    parsing.back_up()
    failures = parsing.parse().failures
    assert (failures.count, len(failures.described)) == (MOST_DESCRIBED + 7, MOST_DESCRIBED)
    assert len(failures.tables) == 1


def test_room_bounds_what_is_fetched_at_a_time(parsing: Parsing) -> None:
    node = parsing.working.node
    for number in range(3, 9):
        node.write(node.tables[0], f"nb-{number}-big-Data.db", bytes([number]) * 400)
    node.write(node.tables[0], "nb-9-big-Data.db", bytes(1001))
    parsing.back_up()
    parsing.parse(scratch_room=1000)
    portions = [names for table, names in parsing.scratch.verified if table == T]
    assert [len(names) for names in portions] == [3, 2, 2, 1, 1]
    assert ("nb-9-big",) in portions


def test_table_that_cannot_be_created_is_not_verified(parsing: Parsing) -> None:
    parsing.scratch.refused["TABLE ks.u"] = "no such class"
    failures = parsing.parse().failures
    ((keyspace, table, detail),) = failures.tables
    assert (keyspace, table) == U
    assert "cannot be created in a scratch Cassandra: table u: no such class" in detail
    assert {t for t, _ in parsing.scratch.verified} == {T}


def test_lost_packs_spoil_their_sstables_only(parsing: Parsing) -> None:
    """The others of the same portion are verified."""
    node = parsing.working.node
    for number in (3, 5):  # a pack each
        node.write(node.tables[0], f"nb-{number}-big-Data.db", os.urandom(1000))
    parsing.back_up()
    entries = {e.name: e for e in parsing.working.cluster.node_manifest(BACKUP, HOST)}
    (extent, *_) = entries["nb-3-big-Data.db"].extents
    container = node_container(PREFIX, CLUSTER, HOST)
    parsing.working.store.delete(container, pack_name(extent.pack))
    failures = parsing.parse(scratch_room=10_000).failures
    (failure,) = failures.described
    assert (failure.table, failure.name) == ("t", "nb-3-big")
    assert "its files cannot be fetched" in failure.detail
    assert {n for t, names in parsing.scratch.verified if t == T for n in names} == {
        "nb-1-big", "nb-2-big", "nb-5-big",
    }  # fmt: skip


def test_another_attempt_continues_after_the_last_table(parsing: Parsing) -> None:
    parsing.scratch.malformed[b"1 ks.t"] = "why"

    def die(table: TableName) -> None:
        if table == U:
            raise RuntimeError("the worker dies")

    parsing.scratch.on_verify = die
    with pytest.raises(RuntimeError):
        parsing.parse()
    assert parsing.left() == []
    parsing.scratch.on_verify = lambda table: None
    parsing.scratch.verified.clear()
    context = TaskContext()
    parsed = parsing.parse(context)
    assert {table for table, _ in parsing.scratch.verified} == {U}
    assert (parsed.tables, parsed.sstables) == (2, 4)
    assert [f.table for f in parsed.failures.described] == ["t"]
    progress = context.progress
    assert isinstance(progress, Progress)
    assert progress.files_done == progress.files_total == 4


def test_finished_work_is_not_done_again(parsing: Parsing) -> None:
    """The answer may be lost, and the worker restarted."""
    first = parsing.parse()
    parsing.scratch.verified.clear()
    again = parsing.parse()
    assert parsing.scratch.verified == []
    assert (again.sstables, again.failures) == (first.sstables, first.failures)


@pytest.mark.parametrize("line", [b"", b"{", b'{"keyspace": 1}\n'])
def test_torn_notes_are_left_out(parsing: Parsing, line: bytes) -> None:
    parsing.parse()
    (notes,) = parsing.scratch.path.glob("parsed-*")
    complete = notes.read_bytes().splitlines(keepends=True)
    notes.write_bytes(complete[0] + line)
    parsing.scratch.verified.clear()
    parsing.parse()
    assert {table for table, _ in parsing.scratch.verified} == {U}


def test_cancelling_leaves_nothing(parsing: Parsing) -> None:
    context = TaskContext()
    parsing.scratch.on_verify = lambda table: context.cancel()
    with pytest.raises(Cancelled):
        parsing.parse(context)
    assert len(parsing.scratch.verified) == 1
    assert parsing.left() == []


def test_full_disk_is_named_before_anything_is_fetched(parsing: Parsing) -> None:
    with pytest.raises(NoSpace, match=r"bytes of SSTables.*set \[scratch\] directory"):
        parsing.parse(head_room_percent=100.0)
    assert parsing.scratch.verified == []
    assert parsing.left() == []


def test_scratch_that_does_not_start(parsing: Parsing) -> None:
    parsing.scratch.trouble = ScratchFailed("no Java")
    with pytest.raises(ScratchFailed, match="no Java"):
        parsing.parse()
    assert parsing.left() == []


def test_old_notes_are_removed(parsing: Parsing) -> None:
    parsing.parse()
    old = parsing.scratch.path / "parsed-x-y.jsonl"
    old.touch()
    os.utime(old, (1, 1))
    parsing.parse()
    assert not old.exists()

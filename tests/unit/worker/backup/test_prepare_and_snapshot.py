# SPDX-License-Identifier: Apache-2.0
"""The tasks of a backup on one node, but for the upload."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from magnetodb_backup.errors import (
    Cancelled,
    CassandraUnavailable,
    DataDirectoryProblem,
    InvalidValue,
    NoSpace,
    SnapshotLeft,
    UnknownTable,
    WrongNode,
)
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import HOST, member
from tests.unit.worker.working import BACKUP, TAG, Working


@pytest.fixture
def working(tmp_path: Path) -> Working:
    return Working(tmp_path)


@pytest.mark.parametrize("kind", [k for k in TaskKind if k is not TaskKind.RELEASE])
@pytest.mark.parametrize("who", ["cql", "control", "task"])
def test_no_task_works_on_another_node(working: Working, kind: TaskKind, who: str) -> None:
    other = member(2).host_id
    host_id = HOST
    if who == "cql":
        working.node.me = replace(working.node.me, host_id=other)
    elif who == "control":
        working.node.controlled_host_id = other
    else:
        host_id = other
    with pytest.raises(WrongNode, match=other):
        working.do(kind, host_id=host_id, scope={"type": "all"})
    assert not [entry for entry in working.node.log if entry != "host_id"]
    assert working.store.puts == []


def test_describe(working: Working) -> None:
    working.node.members = (working.node.me, member(2))
    described = working.do(TaskKind.DESCRIBE)
    assert described.member.ring_member() == working.node.me
    assert [m.ring_member() for m in described.ring] == [working.node.me, member(2)]
    assert described.data_directories == working.node.data.names
    assert described.mode == "NORMAL"


def test_resolve(working: Working) -> None:
    resolved = working.do(TaskKind.RESOLVE, scope={"type": "tables", "tables": ["ks.u"]})
    assert [t.table for t in resolved.selection.tables] == ["u"]


@pytest.mark.parametrize(
    ("scope", "error", "told"),
    [
        ({"type": "keyspaces", "keyspaces": ["nope"]}, UnknownTable, "'nope' does not exist"),
        ({"type": "galaxy"}, InvalidValue, "'galaxy' is not a scope type"),
        ({}, InvalidValue, "needs a type"),
    ],
)
def test_resolve_names_what_does_not_exist(
    working: Working, scope: dict[str, object], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        working.do(TaskKind.RESOLVE, scope=scope)


# Prepare.


def test_prepare_flushes_the_selection(working: Working) -> None:
    working.do(TaskKind.PREPARE)
    assert "flush ks.t,ks.u" in working.node.log
    working.repository.put_pack("0" * 64, b"", hashlib.md5(b"").hexdigest())  # container is there
    working.cluster.put_schema(BACKUP, "")


@pytest.mark.parametrize("mode", ["JOINING", "DRAINED", "LEAVING"])
def test_prepare_wants_a_normal_node(working: Working, mode: str) -> None:
    working.node.mode = mode
    with pytest.raises(CassandraUnavailable, match=f"the node is {mode}, not NORMAL"):
        working.do(TaskKind.PREPARE)


def test_prepare_wants_data_directories(working: Working) -> None:
    (working.node.data.paths[0] / "system").rmdir()
    with pytest.raises(DataDirectoryProblem, match="holds the keyspace system"):
        working.do(TaskKind.PREPARE)


def test_prepare_wants_room(tmp_path: Path) -> None:
    working = Working(tmp_path, head_room_percent=100.0)
    with pytest.raises(NoSpace, match=str(working.node.data.paths[0])):
        working.do(TaskKind.PREPARE)
    assert not [entry for entry in working.node.log if entry.startswith("flush")]


def test_cancelled_prepare_does_not_flush(working: Working) -> None:
    context = TaskContext()
    context.cancel()
    with pytest.raises(Cancelled):
        working.do(TaskKind.PREPARE, context)
    assert not [entry for entry in working.node.log if entry.startswith("flush")]


@pytest.mark.parametrize("kind", [TaskKind.PREPARE, TaskKind.SNAPSHOT])
def test_wait_for_a_command_is_activity(working: Working, kind: TaskKind) -> None:
    context = TaskContext()
    shown: list[int] = []

    def look() -> None:
        shown.extend(context.shown_activity() for _ in range(3))

    working.node.on_flush = working.node.on_snapshot = look
    working.do(kind, context)
    assert len(set(shown)) == 3
    assert context.shown_activity() == context.shown_activity()  # it is over


# Schema.


def test_schema_is_stored_on_request(working: Working) -> None:
    working.do(TaskKind.PREPARE)
    before = working.do(TaskKind.SCHEMA, store=True)
    assert working.cluster.read_schema(BACKUP) == working.node.schema
    assert before.schema.sha256 == before.sha256
    assert before.version == "schema-1"
    after = working.do(TaskKind.SCHEMA, store=False)
    assert replace(before, schema=None) == after


def test_changed_schema_has_another_digest(working: Working) -> None:
    before = working.do(TaskKind.SCHEMA)
    working.node.schema += " -- changed"
    assert working.do(TaskKind.SCHEMA).sha256 != before.sha256


def test_changed_ring_is_seen(working: Working) -> None:
    before = working.do(TaskKind.SCHEMA)
    working.node.members = (working.node.me, member(2))
    larger = working.do(TaskKind.SCHEMA)
    working.node.members = (working.node.me, replace(member(2), tokens=(-7,)))
    moved = working.do(TaskKind.SCHEMA)
    assert before.ring != larger.ring != moved.ring


def test_order_of_the_ring_is_no_change(working: Working) -> None:
    working.node.members = (working.node.me, member(2))
    before = working.do(TaskKind.SCHEMA)
    working.node.members = (member(2), working.node.me)
    assert working.do(TaskKind.SCHEMA) == before


def test_nodes_that_do_not_agree_on_the_schema(working: Working) -> None:
    working.node.members = (working.node.me, member(2, schema_version="schema-2"))
    with pytest.raises(CassandraUnavailable, match="versions schema-1, schema-2; see nodetool"):
        working.do(TaskKind.SCHEMA)


def test_absent_nodes_need_not_agree_on_the_schema(working: Working) -> None:
    """What the others know of a node that is down is as old as its absence."""
    working.node.members = (working.node.me, member(2, schema_version="schema-0"))
    schema = working.do(TaskKind.SCHEMA, absent=[member(2).host_id])
    assert schema.version == "schema-1"


# Snapshot and release.


def test_snapshot_has_a_ttl_and_is_counted(working: Working) -> None:
    result = working.do(TaskKind.SNAPSHOT)
    assert f"snapshot {TAG} 3600" in working.node.log
    assert result.files == 4
    assert result.bytes == sum(
        f.stat().st_size for s in working.node.snapshots(TAG) for f in s.iterdir()
    )
    started, finished = (datetime.fromisoformat(t) for t in (result.started_at, result.finished_at))
    assert started <= finished
    assert started.utcoffset() is not None


@pytest.mark.parametrize(
    ("version", "ttl"),
    [("4.0.19", None), ("4.1.10", 3600), ("4.1-alpha1", 3600), ("5.0.9", 3600), ("10.0", 3600)],
)
def test_snapshot_has_a_ttl_where_cassandra_knows_it(
    working: Working, version: str, ttl: int | None
) -> None:
    working.node.me = replace(working.node.me, version=version)
    working.do(TaskKind.SNAPSHOT)
    assert f"snapshot {TAG} {ttl}" in working.node.log


def test_repeated_snapshot_begins_anew(working: Working) -> None:
    working.do(TaskKind.SNAPSHOT)
    working.node.write(working.node.tables[0], "nb-9-big-Data.db", b"new")
    assert working.do(TaskKind.SNAPSHOT).files == 5


def test_snapshot_that_lacks_a_table_is_an_error(working: Working) -> None:
    """Cassandra says that it is done, but in none of our directories is anything of it."""
    for number in (0, 1):
        shutil.rmtree(working.node.data.table_directory(number, working.node.tables[1]))
    with pytest.raises(DataDirectoryProblem, match=rf"no snapshot {TAG} of ks\.u"):
        working.do(TaskKind.SNAPSHOT)


def test_release(working: Working) -> None:
    working.do(TaskKind.SNAPSHOT)
    working.do(TaskKind.RELEASE)
    assert working.node.snapshots(TAG) == []
    working.node.log.clear()
    working.do(TaskKind.RELEASE)  # nothing is left to be done, and Cassandra is not bothered
    assert working.node.log == []


def test_release_leaves_other_snapshots(working: Working) -> None:
    working.do(TaskKind.SNAPSHOT, tag=TAG + "0")
    working.do(TaskKind.SNAPSHOT)
    working.do(TaskKind.RELEASE)
    assert working.node.snapshots(TAG + "0")


def test_release_looks_whether_it_helped(working: Working) -> None:
    """Clearsnapshot says ok although nothing was done."""
    working.do(TaskKind.SNAPSHOT)
    working.node.clears_nothing = True
    with pytest.raises(SnapshotLeft, match=f"snapshot {TAG} is still on disk") as failure:
        working.do(TaskKind.RELEASE)
    assert f"snapshots/{TAG} (it is not a directory) and 3 more directories" in str(failure.value)
    assert f"-path '*/snapshots/{TAG}' -prune -exec rm -r" in str(failure.value)


def test_snapshot_below_a_symbolic_link(working: Working, tmp_path: Path) -> None:
    """Case 23: Cassandra takes it through the link of a keyspace, but does not clear it."""
    for number, directory in enumerate(working.node.data.paths):
        (directory / "ks").rename(tmp_path / f"elsewhere{number}")
        (directory / "ks").symlink_to(tmp_path / f"elsewhere{number}")
    assert working.do(TaskKind.SNAPSHOT).files == 4
    assert working.node.snapshots(TAG)
    working.do(TaskKind.RELEASE)
    assert working.node.snapshots(TAG) == []
    assert list(tmp_path.glob("elsewhere*/*/nb-*"))


def test_release_needs_no_other_proof(working: Working) -> None:
    """A snapshot of ours goes, whichever node the task thinks that this is."""
    working.do(TaskKind.SNAPSHOT)
    working.do(TaskKind.RELEASE, host_id=member(2).host_id)
    assert working.node.snapshots(TAG) == []


def test_cluster_name_is_part_of_the_container(working: Working) -> None:
    working.do(TaskKind.PREPARE)
    assert CLUSTER == "test cluster"
    assert list(working.store.list("backups.test%20cluster")) == []
    working.do(TaskKind.SCHEMA, store=True)
    assert [i.name for i in working.store.list("backups.test%20cluster")] == [
        f"backups/{BACKUP}/schema.cql",
        f"backups/{BACKUP}/schema.jsonl",
    ]

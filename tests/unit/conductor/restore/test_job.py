# SPDX-License-Identifier: Apache-2.0
"""Restores that end well, and what they do in which order."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.conductor.definition import BuildBounds
from magnetodb_backup.domain.restore.records import (
    OFFLINE_PHASES,
    Existing,
    Restore,
    RestorePhase,
    RestoreStatus,
)
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.tasks.kinds import TaskKind
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.in_process import Held
from tests.unit.conductor.restoring import Restoring, T, U
from tests.unit.worker import fake_changes

V = TableName("ks", "v")


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    return Restoring(cluster)


def test_truncated_table_comes_back(restoring: Restoring) -> None:
    restoring.truncate(T)
    restoring.forget()
    restore = restoring.restore(tables=("ks.t",))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows() == restoring.saved
    assert restore.tables == {"ks.t": "restored"}
    assert restoring.staged() == []
    assert sorted(restoring.delivered()) == ["cql TRUNCATE TABLE ks.t", *["import ks.t 2"] * 3]


def test_steps_are_done_once_and_in_order(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    restore = restoring.restore()
    assert restoring.steps(restore) == {p.value for p in set(RestorePhase) - OFFLINE_PHASES}
    performed = list(dict.fromkeys(restoring.performed(restore)))
    assert performed == [
        "census", "compare", "preflight", "download", "schema", "confirm",
        "truncate_ring", "truncate", "import_ring", "hold", "import", "release",
        "cleanup_ring", "cleanup",
    ]  # fmt: skip
    assert set(restoring.cluster.workers.starts("download").values()) == {1}
    assert restoring.job(restore).result == {"status": "RESTORED", "tables": 2}


def test_records_of_the_nodes(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    restore = restoring.restore()
    for number in restoring.cluster.nodes:
        node = restoring.node(restore, number)
        assert (node.phase, node.error, node.address) == ("done", "", f"127.0.0.{number}")
        size = sum(len(r) for (n, _), rows in restoring.saved.items() if n == number for r in rows)
        progress = node.progress
        assert (progress.files_done, progress.files_total) == (4, 4)
        assert progress.bytes_done == progress.bytes_total == progress.bytes_downloaded == size
        assert progress.bytes_resumed == 0


def test_dropped_table_comes_back(restoring: Restoring) -> None:
    tables = list(restoring.cluster.nodes[1].tables)
    restoring.drop(T)
    restoring.forget()
    restore = restoring.restore(tables=("ks.t",))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows() == restoring.saved
    # With its ID: otherwise a later restore could not tell it from another table.
    assert sorted(restoring.cluster.nodes[3].tables, key=str) == sorted(tables, key=str)
    assert len(restoring.told("cql CREATE TABLE ks.t ")) == 1


def test_replace_gives_the_backups_state(restoring: Restoring) -> None:
    restoring.add_row(2, T, b"newer")
    restoring.add_row(3, U, b"newer")
    restore = restoring.restore(existing=Existing.REPLACE)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows() == restoring.saved


def test_replace_touches_no_other_table(restoring: Restoring) -> None:
    restoring.add_row(2, T, b"newer")
    restoring.add_row(3, U, b"newer")
    before = restoring.rows(U)
    restoring.restore(existing=Existing.REPLACE, tables=("ks.t",))
    assert restoring.rows(T) == restoring.saved_rows(T)
    assert restoring.rows(U) == before
    assert restoring.told("cql TRUNCATE") == ["cql TRUNCATE TABLE ks.t"]


def test_merge_keeps_what_is_there(restoring: Restoring) -> None:
    restoring.truncate(T)
    restoring.add_row(2, T, b"newer")
    restore = restoring.restore(existing=Existing.MERGE, tables=("ks.t",))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    expected = restoring.saved_rows(T)
    expected[2, T] = sorted([*expected[2, T], b"newer"])
    assert restoring.rows(T) == expected
    assert restoring.told("cql TRUNCATE") == []
    assert restore.plan is not None
    assert any(w.startswith("merge: ") for w in restore.plan["warnings"])


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        ({"tables": ("ks.t",), "to_table": "old"}, TableName("ks", "old")),
        ({"tables": ("ks.t",), "to_keyspace": "beside"}, TableName("beside", "t")),
        ({"tables": ("ks.t",), "to_keyspace": "b", "to_table": "old"}, TableName("b", "old")),
    ],
    ids=["table", "keyspace", "both"],
)
def test_another_name(restoring: Restoring, request_: dict[str, Any], target: TableName) -> None:
    """Beside the live one, which nobody touches."""
    restoring.add_row(2, T, b"newer")
    before = restoring.rows(T, U)
    restore = restoring.restore(**request_)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows(T, U) == before
    expected = {(n, target): rows for (n, _), rows in restoring.saved_rows(T).items()}
    assert restoring.rows(target) == expected
    assert restore.tables == {f"{target.keyspace}.{target.table}": "restored"}
    ids = [t.id for t in restoring.cluster.nodes[1].tables]
    assert len(set(ids)) == len(ids)


def test_whole_keyspace_that_is_gone(restoring: Restoring) -> None:
    for node in restoring.cluster.nodes.values():
        fake_changes.drop([node], T)
        fake_changes.drop([node], U)
        node.schema = ""
    restore = restoring.restore(keyspaces=("ks",))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows() == restoring.saved


def test_nothing_is_touched_before_every_node_has_everything(restoring: Restoring) -> None:
    """The download of one node takes longer."""
    go_on = threading.Event()
    workers = restoring.cluster.workers
    workers.restart("worker-2", Held(restoring.cluster.work(2), TaskKind.RESTORE_DOWNLOAD, go_on))
    restoring.add_row(2, T, b"newer")
    restoring.drop(U)
    restoring.forget()
    restore = restoring.request(existing=Existing.REPLACE)
    thread = threading.Thread(target=restoring.run, args=(restore,))
    thread.start()
    try:
        wait_for(
            lambda: len(restoring.staged()) == 4,
            deadline=30,
            what="two nodes' staging in two data directories each",
            interval=0.01,
        )
        assert restoring.changes() == []
    finally:
        go_on.set()
        thread.join(60)
    assert restoring.rows() == restoring.saved
    log = restoring.cluster.nodes[1].log
    changes = [e for e in log if e.startswith(("cql", "imp")) and " compaction = " not in e]
    order = [e.split()[0] for e in changes]
    assert order == sorted(order)  # cql first


def test_views_are_dropped_and_built_again(cluster: Cluster) -> None:
    """An import would leave them as they are."""
    text = fake_changes.view_text(V, T)
    fake_changes.execute(list(cluster.nodes.values()), text)
    restoring = Restoring(cluster)
    restoring.add_row(2, T, b"newer")
    restoring.forget()
    restore = restoring.restore(existing=Existing.REPLACE)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    statements = [e for e in restoring.told("cql") if " VIEW " in e]
    assert statements == ["cql DROP MATERIALIZED VIEW IF EXISTS ks.v", f"cql {text}"]
    assert restoring.told("import ks.v") == []
    for node in cluster.nodes.values():
        last = max(i for i, e in enumerate(node.log) if e.startswith("import"))
        assert not any(e.startswith("cql CREATE MATERIALIZED") for e in node.log[:last])


def test_view_updates_of_all_nodes_arrive_before_the_end(cluster: Cluster) -> None:
    """A view is built before its updates on other nodes are applied; its restore is not over."""
    fake_changes.execute(list(cluster.nodes.values()), fake_changes.view_text(V, T))
    restoring = Restoring(cluster)
    cluster.nodes[2].batches = [cluster.nodes[2].now - 1]
    bounds = BuildBounds(stall=0.1)
    restore = restoring.run(restoring.request(existing=Existing.REPLACE), builds=bounds)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "127.0.0.2: not ready: view updates in the batch log" in restore.error
    cluster.nodes[2].batches = []
    assert restoring.restore(existing=Existing.REPLACE).status is RestoreStatus.RESTORED


def test_view_that_is_not_in_the_backup_is_built_again(restoring: Restoring) -> None:
    """It was made after the backup: the restore must not lose it."""
    nodes = list(restoring.cluster.nodes.values())
    fake_changes.execute(nodes, fake_changes.view_text(V, T))
    restoring.restore(existing=Existing.REPLACE)
    assert [t.name for t in nodes[1].tables if t.is_view] == [V]


def test_ring_as_it_was_needs_no_repair(restoring: Restoring) -> None:
    restoring.truncate(T)
    restoring.restore(tables=("ks.t",))
    assert restoring.told("repair") == []


class _Full:
    """A worker whose node has room for its staged files only."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def perform(self, kind: TaskKind, arguments: Any, context: Any) -> Any:
        result = self._inner.perform(kind, arguments, context)
        return {**result, "spare": 1} if kind is TaskKind.RESTORE_PREFLIGHT else result


def test_what_arrives_by_streaming_needs_room(restoring: Restoring) -> None:
    cluster = restoring.cluster
    cluster.nodes[3].me = replace(cluster.nodes[3].me, tokens=(12345,))
    for node in cluster.nodes.values():
        node.members = tuple(other.me for other in cluster.nodes.values())
    cluster.report(3)
    cluster.workers.restart("worker-1", _Full(cluster.work(1)))  # its range goes around
    restore = restoring.restore(existing=Existing.REPLACE, dry_run=True)
    (problem,) = (restore.plan or {})["problems"]
    assert problem.startswith("127.0.0.1: about 0 MiB arrive by streaming")
    assert "--source-replicas one" in problem


def test_other_ring_is_streamed_to_and_repaired(restoring: Restoring) -> None:
    nodes = restoring.cluster.nodes
    nodes[3].me = replace(nodes[3].me, tokens=(12345,))
    for node in nodes.values():
        node.members = tuple(other.me for other in nodes.values())
    restoring.cluster.report(3)
    restoring.truncate(T, U)
    restoring.forget()
    restore = restoring.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    everything = sorted(row for rows in restoring.saved_rows(T).values() for row in rows)
    assert restoring.rows(T) == {(n, T): everything for n in nodes}
    assert "view_updates" not in restoring.performed(restore)  # there is no view
    assert sorted(restoring.told("repair")) == ["repair -pr ks t u"] * 3
    assert restoring.told("import") == []
    assert restore.plan is not None
    assert restore.plan["method_by_keyspace"] == {"ks": "stream"}
    assert restore.plan["bytes_sent"] > 0


def _moved(cluster: Cluster) -> None:
    """Give a node other tokens, so that rows are streamed."""
    nodes = cluster.nodes
    nodes[3].me = replace(nodes[3].me, tokens=(12345,))
    for node in nodes.values():
        node.members = tuple(other.me for other in nodes.values())
    cluster.report(3)


def _updates_after_the_repair(restoring: Restoring, restore: Restore) -> int:
    performed = list(restoring.performed(restore))
    last = max(i for i, step in enumerate(performed) if step == "repair")
    return performed[last + 1 :].count("view_updates")


def test_view_updates_of_a_repair_are_waited_for(cluster: Cluster) -> None:
    """What a repair changes in a table with views makes view updates."""
    fake_changes.execute(list(cluster.nodes.values()), fake_changes.view_text(V, T))
    restoring = Restoring(cluster)
    _moved(cluster)
    restore = restoring.restore(existing=Existing.REPLACE)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert _updates_after_the_repair(restoring, restore) == 3


@pytest.mark.parametrize("with_view", [True, False])
def test_hints_that_wait_do_not_fail_a_repaired_restore(cluster: Cluster, with_view: bool) -> None:
    """Hints for other tables, too, ended a finished restore as RESTORE_FAILED after an hour."""
    if with_view:
        fake_changes.execute(list(cluster.nodes.values()), fake_changes.view_text(V, T))
    restoring = Restoring(cluster)
    _moved(cluster)

    def keep(worker_id: str, started: TaskKind) -> None:
        if started is TaskKind.RESTORE_REPAIR:
            cluster.nodes[2].hints = [cluster.nodes[2].now - 1]

    cluster.workers.before_start = keep
    request = restoring.request(existing=Existing.REPLACE)
    restore = restoring.run(request, builds=BuildBounds(stall=0.1))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    late = [w for w in (restore.plan or {})["warnings"] if "not ready: hints" in w]
    assert len(late) == int(with_view)
    if with_view:
        assert "127.0.0.2: not ready: hints for other nodes" in late[0]
        assert "run nodetool repair --full on the views: ks.v" in late[0]


@pytest.mark.parametrize("existing", [Existing.REFUSE, Existing.MERGE])
def test_single_node(restoring: Restoring, existing: Existing) -> None:
    """A node that was replaced gets its share back; nothing else is touched."""
    before = restoring.rows()
    for path in fake_changes.table_files(restoring.cluster.nodes[2], T):
        path.unlink()
    restoring.forget()
    restore = restoring.restore(node="127.0.0.2", existing=existing, tables=("ks.t",))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows() == before
    assert restoring.delivered() == ["import ks.t 2", "repair ks t"]
    assert restoring.staged() == []


@pytest.mark.parametrize(
    ("saved", "asked", "imported"),
    [
        ({}, {"tables": ("ks.t",)}, True),
        ({}, {"tables": ("ks.u",)}, None),  # it has no view
        ({"scope": {"type": "tables", "tables": ["ks.t"]}}, {"tables": ("ks.t",)}, False),
        ({}, {"tables": ("ks.t",), "skip": ("view=ks.v",)}, False),
    ],
)
def test_single_node_has_its_share_of_views(
    cluster: Cluster, saved: dict[str, Any], asked: dict[str, Any], imported: bool | None
) -> None:
    """Restore 23: from the backup if it has them, else from the other nodes by the repair."""
    view = TableName("ks", "v")
    fake_changes.execute(list(cluster.nodes.values()), fake_changes.view_text(view, T))
    node = cluster.nodes[2]
    (described,) = [each for each in node.tables if each.name == view]
    node.write(described, "nb-900-big-Data.db", b"a row of the view")
    restoring = Restoring(cluster, **saved)
    restoring.forget()
    restore = restoring.restore(node="127.0.0.2", existing=Existing.MERGE, **asked)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    delivered = restoring.delivered()
    assert ("import ks.v 1" in delivered) is bool(imported)
    (repair,) = [each for each in delivered if each.startswith("repair")]
    assert ("v" in repair.split()) is (imported is not None)


def test_partial_backup_that_is_allowed_is_repaired_after(cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        node.replication = {"class": "SimpleStrategy", "replication_factor": "3"}
        node.schema = fake_changes.schema_text(node.tables, node.replication)
    cluster.fall_silent(3)
    restoring = Restoring(cluster, allow_partial=True)
    cluster.workers.down.clear()
    cluster.report(3)
    restoring.truncate(T)
    restoring.forget()
    restore = restoring.restore(tables=("ks.t",), allow_partial=True)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows(T) == {**restoring.saved_rows(T), (3, T): []}
    assert restoring.told("repair") == ["repair ks t"] * 3
    assert restore.plan is not None
    assert any(cluster.nodes[3].me.host_id in w for w in restore.plan["warnings"])


def test_only_the_restores_backup_is_read(restoring: Restoring) -> None:
    """A second backup of newer rows changes nothing."""
    first = restoring.backup
    restoring.add_row(1, T, b"newer")
    restoring.cluster.backup()
    restore = restoring.run(restoring.request(first, existing=Existing.REPLACE))
    assert restore.status is RestoreStatus.RESTORED
    assert restoring.rows() == restoring.saved

# SPDX-License-Identifier: Apache-2.0
"""Offline restores: what is done, in which order, and again after deaths."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.restore.records import RestorePhase, RestoreStatus
from magnetodb_backup.domain.tables import IndexDescription, TableName
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.offline import STOPPED, Offline
from tests.unit.conductor.restoring import T, U
from tests.unit.worker import fake_changes

_P = RestorePhase


@pytest.fixture
def offline(cluster: Cluster) -> Offline:
    return Offline(cluster)


def test_everything_is_as_it_was(offline: Offline) -> None:
    restore = offline.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert offline.rows() == offline.saved
    assert set(restore.tables.values()) == {"restored"}
    assert set(restore.tables) == {"ks.t", "ks.u", "system_auth.roles"}
    assert offline.staged() == []
    for number in offline.cluster.nodes:
        assert offline.commands(number) == [*STOPPED, "start"]
        # What a drained node has in its commit log is of no account.
        assert offline.others(number) == {"commitlog"}
        assert offline.node(restore, number).phase == "done"
        assert offline.node(restore, number).progress.sstables_imported == 5
    assert restore.plan is not None
    assert set(restore.plan["method_by_keyspace"].values()) == {"place"}
    assert "roles, passwords and grants become those" in restore.plan["warnings"][-1]


def test_nothing_is_exchanged_before_all_nodes_have_stopped(offline: Offline) -> None:
    running_at_place: list[list[bool]] = []

    def before_start(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.RESTORE_PLACE:
            running_at_place.append(offline.runs())

    offline.cluster.workers.before_start = before_start
    restore = offline.restore()
    assert restore.status is RestoreStatus.RESTORED
    assert running_at_place == [[False] * 3] * 3
    performed = list(dict.fromkeys(offline.performed(restore)))
    assert performed == [
        "census", "compare", "preflight", "tables", "ready", "download", "schema", "confirm",
        "truncate_ring", "truncate", "quiesce", "stop", "place", "start", "indexes",
        "cleanup_ring", "discard", "cleanup",
    ]  # fmt: skip


def test_what_is_not_selected_stays(offline: Offline) -> None:
    restore = offline.restore(system_auth=False, tables=("ks.t",))
    assert restore.status is RestoreStatus.RESTORED
    rows = offline.rows()
    assert {k: v for k, v in rows.items() if k[1] == T} == offline.saved_rows(T)
    assert {k: v for k, v in rows.items() if k[1] != T} == {
        k: v for k, v in offline.newer.items() if k[1] != T
    }
    assert restore.plan is not None
    assert any("hints are forgotten" in w for w in restore.plan["warnings"])


def test_dropped_table_is_made_again(offline: Offline) -> None:
    offline.drop(U)
    restore = offline.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert offline.rows() == offline.saved
    assert any("CREATE TABLE ks.u" in entry for entry in offline.told("cql"))


def test_views_are_dropped_and_made_again(offline: Offline) -> None:
    text = fake_changes.view_text(TableName("ks", "v"), T)
    offline.cluster.nodes[1].connect().execute(text)
    offline.forget()
    restore = offline.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    (node,) = [n for n in offline.cluster.nodes.values() if any("VIEW" in e for e in n.log)]
    told = [e for e in node.log if "VIEW" in e or e in ("stop", "start")]
    assert told == ["cql DROP MATERIALIZED VIEW IF EXISTS ks.v", "stop", "start", f"cql {text}"]


def test_indexes_that_cassandra_does_not_build(offline: Offline) -> None:
    for node in offline.cluster.nodes.values():
        node.indexes = [
            IndexDescription(T, "legacy", "COMPOSITES"),
            IndexDescription(T, "sai", "CUSTOM", "sai"),
            IndexDescription(T, "sasi", "CUSTOM", "org.apache.cassandra.index.sasi.SASIIndex"),
            IndexDescription(T, "other", "CUSTOM", "com.example.Index"),
            IndexDescription(U, "of_u", "KEYS"),
            IndexDescription(TableName("else", "t"), "foreign", "KEYS"),
        ]
    assert offline.restore().status is RestoreStatus.RESTORED
    expected = ["rebuild ks.t legacy other", "rebuild ks.u of_u"]
    assert sorted(offline.told("rebuild")) == sorted(expected * 3)


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_data_directories(offline: Offline, count: int) -> None:
    for node in offline.cluster.nodes.values():
        more = [node.data.paths[0].with_name(f"more{n}") for n in range(count - 2)]
        for path in more:
            path.mkdir()
        node.data.paths = [*node.data.paths[:count], *more]
    restore = offline.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert offline.rows() == offline.saved
    for node in offline.cluster.nodes.values():
        used = {
            p.parents[2] for each in node.tables for p in fake_changes.table_files(node, each.name)
        }
        assert used == set(node.data.paths)


@pytest.mark.parametrize(
    "phase", [_P.DOWNLOAD, _P.TRUNCATE, _P.STOP, _P.PLACE, _P.START, _P.INDEXES, _P.REPAIR]
)
def test_another_conductor_goes_on(offline: Offline, phase: RestorePhase) -> None:
    restore = offline.request()
    assert offline.run(restore, still_owner=offline.until(restore, phase)).status is (
        RestoreStatus.RESTORING
    )
    restore = offline.run(restore, owner="conductor-2")
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert offline.rows() == offline.saved
    assert offline.staged() == []
    assert all(offline.commands(n).count("stop") == 1 for n in offline.cluster.nodes)


@pytest.mark.parametrize(
    "kind",
    [TaskKind.RESTORE_QUIESCE, TaskKind.RESTORE_STOP, TaskKind.RESTORE_PLACE,
     TaskKind.RESTORE_START, TaskKind.RESTORE_DISCARD],
)  # fmt: skip
def test_worker_is_restarted_in_the_middle(offline: Offline, kind: TaskKind) -> None:
    """The new process finds Cassandra stopped and knows it from its file."""
    restarted: list[str] = []

    def before_start(worker_id: str, started: TaskKind) -> None:
        if started is kind and worker_id == "worker-2" and not restarted:
            restarted.append(worker_id)
            offline.cluster.workers.restart(worker_id, offline.cluster.work(2))

    offline.cluster.workers.before_start = before_start
    restore = offline.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restarted
    assert offline.rows() == offline.saved
    assert offline.staged() == []


def test_rows_are_proven(cluster: Cluster) -> None:
    offline = Offline(cluster, figures=True)
    restore = offline.restore(check=True)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert list(restore.checks or {}) == ["ks.t", "ks.u"]
    assert offline.staged() == []


@pytest.mark.parametrize("everything", [True, False])
def test_writes_that_cassandra_would_finish_later(offline: Offline, everything: bool) -> None:
    """Earlier accepted proposals and batches would be applied on top of the restored rows."""
    kept = []
    for node in offline.cluster.nodes.values():
        for name in ("paxos", "batches", "local"):
            path = node.data.paths[0] / "system" / f"{name}-{7:032x}" / "nb-1-big-Data.db"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"unfinished")
            kept.append(path)
    restore = offline.restore() if everything else offline.restore(tables=("ks.t",))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    left = {p.parent.name.partition("-")[0] for p in kept if p.exists()}
    assert left == ({"local"} if everything else {"paxos", "batches", "local"})
    assert restore.plan is not None
    assert any("repair --paxos-only" in w for w in restore.plan["warnings"]) is not everything

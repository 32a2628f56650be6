# SPDX-License-Identifier: Apache-2.0
"""Offline restores: what is done in which order, what is refused, and what a failure leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.restores import Existing, Restore, RestorePhase, RestoreStatus
from magnetodb_backup.domain.tables import IndexDescription, TableName
from magnetodb_backup.domain.tasks import TaskKind
from magnetodb_backup.errors import WrongNode
from magnetodb_backup.worker.memory import NodeMemory
from tests.unit.cassandra.tree import table
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring, T, U
from tests.unit.worker import fake_changes

ROLES = TableName("system_auth", "roles")
OLD = "the files of before"
_P = RestorePhase


class Offline(Restoring):
    """Three nodes with roles and other tables, a backup of all, and newer rows."""

    def __init__(self, cluster: Cluster) -> None:
        for number, node in cluster.nodes.items():
            roles = table(ROLES.keyspace, ROLES.table, 9)
            node.tables.append(roles)
            node.write(roles, "nb-1-big-Data.db", f"{number} roles".encode())
        super().__init__(cluster, scope={"type": "all"})
        for number, node in cluster.nodes.items():
            for each in node.tables:
                path = node.data.table_directory(0, each) / "nb-1-big-Data.db"
                path.write_bytes(f"{number} newer".encode())
                node.write(each, "nb-50-big-Data.db", f"{number} newest".encode(), 1)
            others = node.data.paths[0].parent
            for name in ("hints", "saved_caches", "commitlog"):
                (others / name).mkdir()
                (others / name / f"{name}-1").write_text("old")
        self.newer = self.rows()
        self.forget()

    def request(self, *args: Any, **values: Any) -> Restore:
        return super().request(
            *args, **{"offline": True, "existing": Existing.REPLACE, "system_auth": True, **values}
        )

    def others(self, number: int) -> set[str]:
        """Return which of a node's other directories have their file."""
        root = self.cluster.nodes[number].data.paths[0].parent
        return {
            name
            for name in ("hints", "saved_caches", "commitlog")
            if (root / name / f"{name}-1").exists()
        }

    def left(self) -> list[Path]:
        return [p for p in self.staged() if p.name.startswith("aside-")]

    def commands(self, number: int) -> list[str]:
        """Return what changed a node's being."""
        words = {
            "disable_clients", "enable_clients", "replay_batches", "truncate_hints", "drain",
            "stop", "start",
        }  # fmt: skip
        return [entry for entry in self.cluster.nodes[number].log if entry in words]

    def runs(self) -> list[bool]:
        return [
            not n.cql_down and not n.control_down and n.mode == "NORMAL"
            for n in self.cluster.nodes.values()
        ]

    def go_down(self, number: int) -> None:
        """Let Cassandra on a node die, after its worker has seen it."""
        node = self.cluster.nodes[number]
        state = self.cluster._root / f"state{number}"
        node.local(memory=NodeMemory(state / "node.json")).known()
        node.cql_down = node.control_down = True
        self.cluster.report(number, problem="Cassandra does not answer CQL", down=True)
        node.log.clear()


STOPPED = ["disable_clients", "replay_batches", "truncate_hints", "drain", "stop"]


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

    def after_start(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.RESTORE_PLACE:
            running_at_place.append(offline.runs())

    offline.cluster.workers.after_start = after_start
    restore = offline.restore()
    assert restore.status is RestoreStatus.RESTORED
    assert running_at_place == [[False] * 3] * 3
    performed = list(dict.fromkeys(offline.performed(restore)))
    assert performed == [
        "census", "compare", "tables", "preflight", "ready", "download", "schema", "truncate",
        "quiesce", "stop", "place", "start", "indexes", "discard", "cleanup",
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

    def after_start(worker_id: str, started: TaskKind) -> None:
        if started is kind and worker_id == "worker-2" and not restarted:
            restarted.append(worker_id)
            offline.cluster.workers.restart(worker_id, offline.cluster.work(2))

    offline.cluster.workers.after_start = after_start
    restore = offline.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restarted
    assert offline.rows() == offline.saved
    assert offline.staged() == []


# What fails.


def test_views_are_made_again_after_a_failure(offline: Offline) -> None:
    text = fake_changes.view_text(TableName("ks", "v"), T)
    offline.cluster.nodes[1].connect().execute(text)
    schema = offline.cluster.nodes[1].schema
    offline.forget()

    def after_start(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.RESTORE_PLACE:
            offline.cluster.database.jobs.request_cancel(restore.id)

    offline.cluster.workers.after_start = after_start
    restore = offline.request()
    restore = offline.run(restore)
    assert restore.status is RestoreStatus.CANCELLED
    assert "make then" not in restore.error
    assert offline.told("cql DROP") == ["cql DROP MATERIALIZED VIEW IF EXISTS ks.v"]
    assert sorted(offline.cluster.nodes[1].schema.split()) == sorted(schema.split())


def test_stop_that_fails(offline: Offline) -> None:
    offline.cluster.nodes[3].refused.add("stop")
    restore = offline.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restore.error.startswith("node 127.0.0.3: [cassandra] stop_command ended with 1")
    # That node was drained, and cannot be of use before it is stopped: it refuses that again.
    assert "CASSANDRA MAY BE STOPPED (127.0.0.3: " in restore.error
    assert offline.runs()[:2] == [True, True]
    assert offline.rows() == offline.newer
    assert all(offline.others(n) >= {"hints", "commitlog"} for n in offline.cluster.nodes)


def test_exchange_that_fails_is_undone_everywhere(offline: Offline) -> None:
    """A supervisor starts one node again."""

    def after_status(worker_id: str, status: Any) -> None:
        if "drained" in status.result and worker_id == "worker-2":
            node = offline.cluster.nodes[2]
            node.cql_down, node.control_down, node.mode = False, False, "NORMAL"

    offline.cluster.workers.after_status = after_status
    restore = offline.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "node 127.0.0.2: Cassandra runs again, though it was stopped" in restore.error
    assert "all nodes have their files of before, and run" in restore.error
    assert offline.rows() == offline.newer
    assert offline.runs() == [True] * 3
    assert offline.staged() == []
    for number in (1, 3):
        assert offline.commands(number) == [*STOPPED, "start"]
        assert offline.others(number) == {"hints", "saved_caches", "commitlog"}


def test_cancelled_in_the_middle_of_the_exchange(offline: Offline) -> None:
    restore = offline.request()

    def after_start(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.RESTORE_PLACE:
            offline.cluster.database.jobs.request_cancel(restore.id)

    offline.cluster.workers.after_start = after_start
    restore = offline.run(restore)
    assert restore.status is RestoreStatus.CANCELLED
    assert offline.rows() == offline.newer
    assert offline.runs() == [True] * 3
    assert offline.staged() == []


def test_start_that_fails(offline: Offline) -> None:
    offline.cluster.nodes[3].refused.add("start")
    restore = offline.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "node 127.0.0.3: [cassandra] start_command ended with 1" in restore.error
    assert "CASSANDRA MAY BE STOPPED, start it (127.0.0.3: " in restore.error
    assert f"Its files of before lie in .magnetodb-backup/aside-{restore.id}" in restore.error
    assert offline.runs() == [True, True, False]
    assert offline.rows() == offline.saved
    assert {p.name for p in offline.left()} == {f"aside-{restore.id}"}
    assert len(offline.left()) == 6  # in each data directory
    kept = {p.read_bytes() for d in offline.left() for p in d.rglob("*-Data.db")}
    assert {b"3 newer", b"3 newest"} <= kept
    # The staged files are gone, those of before stay until somebody removes them.
    assert set(offline.left()) == set(offline.staged())
    offline.cluster.nodes[3].refused.clear()
    offline.cluster.nodes[3].cql_down = offline.cluster.nodes[3].control_down = False
    again = offline.restore(dry_run=True)
    assert again.plan is not None
    told = [w for w in again.plan["warnings"] if f"restore {restore.id} has left files" in w]
    assert len(told) == 3


def test_node_that_comes_back_as_another_one(offline: Offline) -> None:
    node = offline.cluster.nodes[1]

    def on_start() -> None:
        node.me = replace(node.me, tokens=(7,))

    node.on_start = on_start
    restore = offline.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "and the tokens 7; before it was" in restore.error
    assert WrongNode.__name__ == offline.cluster.database.jobs.get(restore.id).error_code


def test_cassandra_that_died_by_itself_replays_nothing(offline: Offline) -> None:
    """Undrained, its start would put newer writes on top of what is restored."""

    def after_start(worker_id: str, kind: TaskKind) -> None:
        node = offline.cluster.nodes[2]
        if kind is TaskKind.RESTORE_QUIESCE and worker_id == "worker-2":
            node.cql_down = node.control_down = True

    offline.cluster.workers.after_start = after_start
    restore = offline.restore(system_auth=False)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "does not run, and was not drained" in restore.error
    assert offline.rows() == offline.newer


# What is refused, and nodes that are down.


def _refused(offline: Offline, **request: Any) -> str:
    before = offline.rows()
    restore = offline.restore(**request)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert offline.rows() == before
    assert offline.told("stop", "drain", "disable_clients") == []
    assert offline.staged() == []
    return restore.error


def test_commands_that_are_not_set(offline: Offline) -> None:
    offline.cluster.nodes[2].has_no_commands = True
    assert "127.0.0.2: [cassandra] stop_command is not set" in _refused(offline)


def test_tables_with_rows_are_refused_by_default(offline: Offline) -> None:
    error = _refused(offline, existing=Existing.REFUSE)
    assert "ks.t, ks.u, system_auth.roles have data; say --existing replace" in error
    assert "merge" not in error


def test_ring_of_other_tokens(offline: Offline) -> None:
    nodes = offline.cluster.nodes
    nodes[2].me = replace(nodes[2].me, tokens=(222,))
    for node in nodes.values():
        node.members = tuple(n.me for n in nodes.values())
    offline.cluster.report(2)
    error = _refused(offline)
    assert "no node has the tokens, data centre and rack of 127.0.0.2" in error
    assert "no node with the tokens, data centre and rack of 127.0.0.2" in error
    assert "restore without --offline" in error


def test_nodes_that_the_ring_has_lost(offline: Offline) -> None:
    """The others keep their tokens, but have more rows than before."""
    nodes = offline.cluster.nodes
    for number in (1, 2):
        nodes[number].members = (nodes[1].me, nodes[2].me)
    offline.cluster.report(3, stopping=True)
    error = _refused(offline)
    assert "no node has the tokens, data centre and rack of 127.0.0.3. Files cannot be" in error


def test_other_replication(offline: Offline) -> None:
    for node in offline.cluster.nodes.values():
        node.replication = {**node.replication, "replication_factor": "2"}
    error = _refused(offline)
    assert "the replication of keyspace ks is" in error
    assert "ALTER KEYSPACE ks to the backup's first" in error


def test_node_that_is_down_comes_back_with_everything(offline: Offline) -> None:
    """Its commit log has newer writes, which must not be replayed."""
    offline.go_down(2)
    restore = offline.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert offline.rows() == offline.saved
    assert offline.commands(2) == ["start"]
    assert offline.others(2) == set()
    assert offline.others(1) == {"commitlog"}
    assert offline.staged() == []


@pytest.mark.parametrize("request_", [{"system_auth": False}, {"tables": ("ks.t",)}])
def test_part_of_a_node_that_is_down(offline: Offline, request_: dict[str, Any]) -> None:
    offline.go_down(2)
    error = _refused(offline, **request_)
    assert "127.0.0.2 does not run: its commit log may have newer writes" in error
    assert "start it first, or restore everything" in error


def test_schema_that_a_node_that_is_down_does_not_hear_of(offline: Offline) -> None:
    offline.drop(U)
    offline.go_down(2)
    assert "127.0.0.2 does not run, but tables have to be made" in _refused(offline)


def test_failure_leaves_a_node_down_that_was_down(offline: Offline) -> None:
    offline.go_down(2)
    offline.cluster.nodes[3].refused.add("stop")
    restore = offline.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert offline.rows() == offline.newer
    assert offline.commands(2) == []
    assert offline.runs()[:2] == [True, False]


def test_single_node(offline: Offline) -> None:
    address = offline.cluster.nodes[2].me.address
    restore = offline.restore(node=address)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    rows = offline.rows()
    assert {k: v for k, v in rows.items() if k[0] == 2} == {
        k: v for k, v in offline.saved.items() if k[0] == 2
    }
    assert {k: v for k, v in rows.items() if k[0] != 2} == {
        k: v for k, v in offline.newer.items() if k[0] != 2
    }
    assert offline.commands(1) == offline.commands(3) == []
    assert sorted(offline.told("repair")) == ["repair ks t u", "repair system_auth roles"]


def test_single_node_that_is_down(offline: Offline) -> None:
    """Its replicas have what its commit log has."""
    offline.go_down(3)
    restore = offline.restore(node=offline.cluster.nodes[3].me.host_id, tables=("ks.t",))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert offline.others(3) == {"commitlog"}
    rows = offline.rows(T)
    assert rows[3, T] == offline.saved[3, T]
    assert rows[1, T] == offline.newer[1, T]


def test_dry_run_changes_nothing(offline: Offline) -> None:
    restore = offline.restore(dry_run=True)
    assert restore.status is RestoreStatus.PLANNED
    assert restore.plan is not None
    assert restore.plan["problems"] == []
    warnings = "; ".join(restore.plan["warnings"])
    assert "Cassandra is stopped on 127.0.0.1, 127.0.0.2, 127.0.0.3" in warnings
    assert offline.rows() == offline.newer
    assert offline.told("stop", "drain", "disable_clients") == []

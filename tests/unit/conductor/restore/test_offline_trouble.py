# SPDX-License-Identifier: Apache-2.0
"""Offline restores that fail or are cancelled: what they leave behind, and say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.restore.records import RestoreStatus
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import WrongNode
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.offline import STOPPED, Offline
from tests.unit.conductor.restoring import T
from tests.unit.worker import fake_changes


@pytest.fixture
def offline(cluster: Cluster) -> Offline:
    return Offline(cluster)


def test_views_are_made_again_after_a_failure(offline: Offline) -> None:
    text = fake_changes.view_text(TableName("ks", "v"), T)
    offline.cluster.nodes[1].connect().execute(text)
    schema = offline.cluster.nodes[1].schema
    offline.forget()

    def before_start(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.RESTORE_PLACE:
            offline.cluster.database.jobs.request_cancel(restore.id)

    offline.cluster.workers.before_start = before_start
    restore = offline.request()
    restore = offline.run(restore)
    assert restore.status is RestoreStatus.CANCELLED
    assert "make then" not in restore.error
    drops = [d for d in offline.told("cql DROP") if "magnetodb_backup_creates_views" not in d]
    assert drops == ["cql DROP MATERIALIZED VIEW IF EXISTS ks.v"]
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


def test_stop_that_fails_once(offline: Offline) -> None:
    """The node, drained already, is stopped after all, and started: it serves clients by itself."""
    offline.cluster.nodes[3].refused_once.add("stop")
    restore = offline.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restore.error.startswith("node 127.0.0.3: [cassandra] stop_command ended with 1")
    assert "all nodes have their original files, and run" in restore.error
    assert offline.runs() == [True] * 3
    assert offline.rows() == offline.newer
    assert offline.commands(3) == [*STOPPED, "stop", "start"]
    assert offline.staged() == []


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
    assert "all nodes have their original files, and run" in restore.error
    assert offline.rows() == offline.newer
    assert offline.runs() == [True] * 3
    assert offline.staged() == []
    for number in (1, 3):
        assert offline.commands(number) == [*STOPPED, "start"]
        assert offline.others(number) == {"hints", "saved_caches", "commitlog"}


def test_cancelled_in_the_middle_of_the_exchange(offline: Offline) -> None:
    restore = offline.request()

    def before_start(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.RESTORE_PLACE:
            offline.cluster.database.jobs.request_cancel(restore.id)

    offline.cluster.workers.before_start = before_start
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
    assert f"Its original files are in .magnetodb-backup/aside-{restore.id}" in restore.error
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
    told = [
        w for w in again.plan["warnings"] if f"restore {restore.id} has left original files" in w
    ]
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

    def before_start(worker_id: str, kind: TaskKind) -> None:
        node = offline.cluster.nodes[2]
        if kind is TaskKind.RESTORE_QUIESCE and worker_id == "worker-2":
            node.cql_down = node.control_down = True

    offline.cluster.workers.before_start = before_start
    restore = offline.restore(system_auth=False)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "does not run, and was not drained" in restore.error
    assert offline.rows() == offline.newer


def test_files_of_before_are_kept_if_the_rows_differ(cluster: Cluster) -> None:
    offline = Offline(cluster, figures=True)
    cluster.nodes[1].on_start = lambda: offline.add_row(1, T, b"written meanwhile")
    restore = offline.restore(check=True)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restore.tables["ks.t"].startswith("restored, but its rows are not those of the backup. ")
    assert "It has the backup's files" in restore.tables["ks.t"]
    assert restore.tables["ks.u"].startswith("has the backup's files")
    assert len(offline.left()) == 6
    assert set(offline.left()) == set(offline.staged())


def _starts_at(offline: Offline, kind: TaskKind, *, after: bool) -> None:
    """Let a supervisor start Cassandra on node 2 when a task of a kind begins, or has ended."""

    def start(worker_id: str, started: TaskKind) -> None:
        if started is kind and worker_id == "worker-2":
            node = offline.cluster.nodes[2]
            node.cql_down, node.control_down, node.mode = False, False, "NORMAL"

    def after_status(worker_id: str, status: Any) -> None:
        if "sstables" in status.result:
            start(worker_id, kind)

    if after:
        offline.cluster.workers.after_status = after_status
    else:
        offline.cluster.workers.before_start = start


def test_cassandra_that_is_started_after_the_exchange(offline: Offline) -> None:
    """It may have opened some files before they were moved away."""
    _starts_at(offline, TaskKind.RESTORE_PLACE, after=True)
    restore = offline.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "node 127.0.0.2: Cassandra runs again, though it was stopped" in restore.error
    assert len(offline.left()) == 6  # the original files are kept

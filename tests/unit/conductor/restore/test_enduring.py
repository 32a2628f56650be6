# SPDX-License-Identifier: Apache-2.0
"""From the truncation on no outage ends a restore, and another one uses what it has fetched."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from magnetodb_backup.domain.restore.records import Existing, Restore, RestoreStatus
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed, WorkerUnavailable
from magnetodb_backup.tasks.kinds import TaskKind
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring, T, U
from tests.unit.worker import fake_changes

_OUTAGE = 0.2  # seconds of [conductor] outage_deadline
V = TableName("ks", "v")
LATE_KINDS = [
    TaskKind.RESTORE_TRUNCATE,
    TaskKind.RESTORE_IMPORT,
    TaskKind.RESTORE_VIEWS,
    TaskKind.RESTORE_CLEANUP,
]


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    """Table t has a view and newer rows; table u is lost."""
    fake_changes.execute(list(cluster.nodes.values()), fake_changes.view_text(V, T))
    restoring = Restoring(cluster)
    restoring.add_row(2, T, b"newer")
    restoring.drop(U)
    return restoring


def _lose(restoring: Restoring, kind: TaskKind) -> list[str]:
    """Let nobody reach a worker from the moment when it begins a task of this kind."""
    lost: list[str] = []

    def lose(worker_id: str, started: TaskKind) -> None:
        if started is kind and not lost:
            lost.append(worker_id)
            restoring.cluster.workers.down.add(worker_id)
            raise WorkerUnavailable(f"worker {worker_id} did not answer")

    restoring.cluster.workers.before_start = lose
    return lost


def _wait_longer_than_the_deadline(restoring: Restoring, restore: Restore, text: str) -> None:
    restores = restoring.cluster.database.restores
    wait_for(
        lambda: text in restores.get(restore.id).waiting_for, deadline=30, what=text, interval=0.01
    )
    until = time.monotonic() + 3 * _OUTAGE
    wait_for(lambda: time.monotonic() > until, deadline=30, what="the deadline", interval=0.01)
    assert restores.get(restore.id).status is RestoreStatus.RESTORING


@pytest.mark.parametrize("kind", LATE_KINDS, ids=lambda k: k.value)
def test_node_away_for_longer_than_the_deadline(restoring: Restoring, kind: TaskKind) -> None:
    lost = _lose(restoring, kind)
    restore = restoring.request(existing=Existing.REPLACE)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(restoring.run, restore, outage_deadline=_OUTAGE)
        step = kind.value.removeprefix("restore_")
        _wait_longer_than_the_deadline(restoring, restore, f"{step}: node 127.0.0.")
        assert "did not answer" in restoring.cluster.database.restores.get(restore.id).waiting_for
        restoring.cluster.workers.down.discard(lost[0])
        ended = running.result(timeout=60)
    assert (ended.status, ended.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows(T, U) == restoring.saved_rows(T, U)
    assert restoring.staged() + restoring.kept() == []


@pytest.mark.parametrize("kind", LATE_KINDS, ids=lambda k: k.value)
def test_waiting_restore_can_be_cancelled(restoring: Restoring, kind: TaskKind) -> None:
    lost = _lose(restoring, kind)
    restore = restoring.request(existing=Existing.REPLACE)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(restoring.run, restore, outage_deadline=_OUTAGE)
        _wait_longer_than_the_deadline(restoring, restore, "did not answer")
        restoring.cluster.database.jobs.request_cancel(restore.id)
        ended = running.result(timeout=60)
    assert ended.status is RestoreStatus.CANCELLED
    assert ended.error.startswith("cancelled on request")
    assert f"What is staged on 127.0.0.{lost[0][-1]} stays until" in ended.error


def test_the_next_restore_fetches_nothing(restoring: Restoring) -> None:
    """Though the first one had imported its files on some nodes."""

    def fail(table: TableName) -> None:
        raise CommandFailed("Cassandra says no")

    node = restoring.cluster.nodes[2]
    node.on_import = fail
    failed = restoring.restore(existing=Existing.REPLACE)
    assert failed.status is RestoreStatus.RESTORE_FAILED
    for part in (
        f"another restore of backup {failed.backup_id} does not fetch them again",
        "[worker] staging_max_age",
        f"/.magnetodb-backup/fetched-{failed.backup_id}.*",
        "to free the room now, remove these directories",
    ):
        assert part in failed.error
    assert restoring.kept() != []
    node.on_import = lambda table: None
    reads: list[str] = []
    restoring.cluster.store.before_read = reads.append
    planned = restoring.restore(existing=Existing.REPLACE, dry_run=True)
    assert planned.plan is not None
    assert planned.plan["bytes_staged"] == planned.plan["bytes"] > 0
    assert (planned.plan["requests"], planned.plan["expected_seconds"]) == (0, 0.0)
    assert all(n["bytes_staged"] == n["bytes"] > 0 for n in planned.plan["nodes"])
    restored = restoring.restore(existing=Existing.REPLACE)
    assert (restored.status, restored.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows(T, U) == restoring.saved_rows(T, U)
    assert not [name for name in reads if name.startswith("packs/")]
    assert restoring.kept() == []

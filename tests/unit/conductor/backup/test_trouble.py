# SPDX-License-Identifier: Apache-2.0
"""Backups during which workers, conductors, nodes or the store fail."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.errors import NotFound, StorageRefused, StorageUnavailable
from magnetodb_backup.repository.format.names import cluster_container, manifest_name
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus
from tests.lab.catalogue import adopt
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.in_process import Held
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import member
from tests.unit.worker.working import BACKUP_KINDS, PREFIX

PHASES = list(Phase)


def _intact(cluster: Cluster, backup_id: str) -> bool:
    backup = cluster.database.backups.get(backup_id)
    return backup.status is BackupStatus.CREATED and all(
        cluster.restored(backup, n) == cluster.contents(n) for n in cluster.nodes
    )


# Conductors.


@pytest.mark.parametrize("phase", PHASES[:-1], ids=[p.value for p in PHASES[:-1]])
def test_conductor_that_dies_after_a_step(cluster: Cluster, phase: Phase) -> None:
    """Another one adopts the job at the first unfinished step, and repeats nothing."""
    backup = cluster.request(figures=True)
    left = cluster.run(backup, still_owner=cluster.until(backup, phase))
    assert left.status is BackupStatus.CREATING
    assert cluster.steps(backup) == {p.value for p in PHASES[: PHASES.index(phase) + 1]}
    cluster.run(backup, owner="conductor-2")
    assert _intact(cluster, backup.id)
    assert cluster.did("flush") == cluster.did("snapshot") == [1, 1, 1]
    for step in ("figures_before", "figures_after", "upload"):
        assert set(cluster.workers.starts(step).values()) == {1}
    assert cluster.snapshots() == []


@pytest.mark.parametrize("kind", [TaskKind.PREPARE, TaskKind.SNAPSHOT, TaskKind.UPLOAD])
@pytest.mark.parametrize("how", ["heartbeat", "owner", "stopping"])
def test_conductor_that_dies_in_a_step(cluster: Cluster, kind: TaskKind, how: str) -> None:
    """The workers go on; the adopter finds their tasks running or done, and starts none again."""
    backup = cluster.request()
    gone = threading.Event()

    def lose(worker_id: str, started: TaskKind) -> None:
        if started is kind and not gone.is_set():
            gone.set()
            if how == "owner":
                adopt(cluster.database, cluster.job(backup).id, "conductor-2")
            elif how == "stopping":
                cluster.stopping.set()

    cluster.workers.before_start = lose
    left = cluster.run(backup, still_owner=lambda: how != "heartbeat" or not gone.is_set())
    assert left.status is BackupStatus.CREATING
    assert kind.value not in cluster.steps(backup)
    cluster.stopping.clear()
    cluster.run(backup, owner="conductor-2")
    assert _intact(cluster, backup.id)
    assert set(cluster.workers.starts(kind.value).values()) == {1}
    assert cluster.workers.cancelled == []


def test_conductor_that_dies_between_commit_and_end(cluster: Cluster) -> None:
    """The backup is what its record says; the job has nothing more to do."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.RELEASE))
    cluster.database.backups.set_status(backup.id, BackupStatus.CREATED)
    puts = list(cluster.store.puts)
    cluster.run(backup, owner="conductor-2")
    assert cluster.job(backup).status is JobStatus.DONE
    assert cluster.store.puts == puts
    assert cluster.database.backups.get(backup.id).status is BackupStatus.CREATED


# Workers.


@pytest.mark.parametrize("kind", BACKUP_KINDS, ids=[k.value for k in BACKUP_KINDS])
def test_worker_that_is_restarted_in_a_task(cluster: Cluster, kind: TaskKind) -> None:
    """Its new process knows nothing of the task, which is begun anew."""
    restarted: list[str] = []

    def restart(worker_id: str, started: TaskKind) -> None:
        if started is kind and not restarted:
            restarted.append(worker_id)
            cluster.workers.restart(worker_id, cluster.work(int(worker_id[-1])))

    cluster.workers.after_start = restart
    backup = cluster.backup(figures=True)
    assert restarted
    assert backup.figures
    assert _intact(cluster, backup.id)
    assert cluster.snapshots() == []


def test_worker_and_conductor_that_are_restarted_during_the_upload(cluster: Cluster) -> None:
    """One node is done and has dropped its snapshot; nobody remembers, but its worker's disk."""
    done, never = threading.Event(), threading.Event()
    for number in (2, 3):
        held = Held(cluster.work(number), TaskKind.UPLOAD, never)
        cluster.workers.restart(f"worker-{number}", held)

    def note(worker_id: str, status: TaskStatus) -> None:
        if status.state is TaskState.DONE and "manifest" in status.result:
            done.set()

    cluster.workers.after_status = note
    backup = cluster.request()
    cluster.run(backup, still_owner=lambda: not done.is_set())
    assert "upload" not in cluster.steps(backup)
    assert [len(node.snapshots("mdbb-*")) > 0 for node in cluster.nodes.values()] == [
        False, True, True,
    ]  # fmt: skip
    for number in cluster.nodes:
        cluster.workers.restart(f"worker-{number}", cluster.work(number))
    cluster.run(backup, owner="conductor-2")
    assert _intact(cluster, backup.id)


def test_worker_that_is_lost_for_a_while(cluster: Cluster) -> None:
    lost: list[str] = []

    def lose(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.UPLOAD and worker_id == "worker-2" and not lost:
            lost.append(worker_id)
            cluster.workers.down.add(worker_id)
            threading.Timer(0.3, cluster.workers.down.clear).start()

    cluster.workers.before_start = lose
    backup = cluster.backup()
    assert lost
    assert _intact(cluster, backup.id)
    assert cluster.workers.starts("upload")["worker-2"] == 1


@pytest.mark.parametrize("kind", [TaskKind.PREPARE, TaskKind.SNAPSHOT, TaskKind.UPLOAD])
def test_worker_that_is_lost_for_good(cluster: Cluster, kind: TaskKind) -> None:
    cluster.lose(2, kind)
    backup = cluster.run(cluster.request(), outage_deadline=0.15)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "node 127.0.0.2: worker worker-2 did not answer" in backup.error
    assert "[conductor] outage_deadline = 0.15 s" in backup.error
    assert cluster.job(backup).error_code == "StillUnavailable"
    reachable = [p for n in (1, 3) for p in cluster.nodes[n].snapshots("mdbb-*")]
    assert reachable == []  # the lost worker removes its own when it reports again
    with pytest.raises(NotFound):
        cluster.repository.read_backup(backup.id)


class _Waited(threading.Event):
    """Is called each time that a job waits, which it does not do for long."""

    def __init__(self, on_wait: Callable[[], None]) -> None:
        super().__init__()
        self._on_wait = on_wait

    def wait(self, timeout: float | None = None) -> bool:
        self._on_wait()
        return super().wait(min(timeout or 0.01, 0.01))


@pytest.mark.parametrize("allow_partial", [False, True])
@pytest.mark.parametrize("silent", [(1, 2, 3), (2,)])
def test_workers_that_are_silent_when_the_backup_begins(
    cluster: Cluster, silent: tuple[int, ...], allow_partial: bool
) -> None:
    """Finding 19: a broker that restarted at that moment failed the nightly backup."""
    cluster.clock.now += 5
    for number in cluster.nodes:
        if number not in silent:
            cluster.report(number)
    began = time.monotonic()

    def on_wait() -> None:
        if time.monotonic() - began > 0.5:  # ten times the time for workers that never reported
            for number in silent:
                cluster.report(number)

    cluster.stopping = _Waited(on_wait)
    backup = cluster.run(cluster.request(allow_partial=allow_partial))
    assert (backup.status, backup.error) == (BackupStatus.CREATED, "")


def test_worker_that_was_stopped_is_not_waited_for(cluster: Cluster) -> None:
    """It said so; it may be stopped for days."""
    cluster.report(2, stopping=True)
    started = time.monotonic()
    backup = cluster.run(cluster.request(), outage_deadline=3600.0)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "ring members without a usable worker" in backup.error
    assert time.monotonic() - started < 60


def test_worker_that_never_reported(cluster: Cluster) -> None:
    cluster.database.nodes.forget("worker-3")
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    host_id = cluster.nodes[3].me.host_id
    assert f"127.0.0.3 (host ID {host_id}, dc1): no worker has ever reported it" in backup.error
    assert "ask for --allow-partial" in backup.error
    assert cluster.did("flush") == [0, 0, 0]


def test_no_worker_at_all(cluster: Cluster) -> None:
    cluster.clock.now += 1000
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "cluster 'test cluster' has no usable worker (machine-1: no report since" in backup.error


def test_two_workers_for_one_node(cluster: Cluster) -> None:
    cluster.report(2, worker_id="worker-x", hostname="elsewhere")
    backup = cluster.backup()
    assert "127.0.0.2" in backup.error
    assert "worker-x on elsewhere" in backup.error


# Nodes and the store.


def _wrong_directories(cluster: Cluster) -> None:
    cluster.nodes[2].data.paths[0].joinpath("system").rmdir()


def _wrong_node(cluster: Cluster) -> None:
    cluster.nodes[2].controlled_host_id = member(1).host_id


@pytest.mark.parametrize("spoil", [_wrong_directories, _wrong_node])
def test_permanent_error_on_one_node_ends_the_backup(
    cluster: Cluster, spoil: Callable[[Cluster], None]
) -> None:
    spoil(cluster)
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert backup.error.startswith("node 127.0.0.2: ")
    assert cluster.did("snapshot") == [0, 0, 0]
    assert cluster.node_backup(backup, 2).phase == "failed"
    assert cluster.node_backup(backup, 2).error == backup.error


def test_error_in_the_upload_drops_all_snapshots(cluster: Cluster) -> None:
    refused = cluster.packs(2)

    def fail(name: str) -> None:
        if name.startswith("packs/") and not refused.packs():
            raise StorageRefused("the account is closed")

    cluster.store.before_put = fail
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "the account is closed" in backup.error
    assert cluster.did("snapshot") == [1, 1, 1]
    assert cluster.snapshots() == []
    cluster.store.before_put = lambda name: None
    assert _intact(cluster, cluster.backup().id)


def test_passing_trouble_is_waited_for(cluster: Cluster) -> None:
    troubles: list[str] = []

    def fail(name: str) -> None:
        if len(troubles) < 5:
            troubles.append(name)
            raise StorageUnavailable("503")

    cluster.store.before_put = fail
    assert _intact(cluster, cluster.backup().id)


def test_store_that_fails_at_the_commit(cluster: Cluster) -> None:
    """The conductor itself meets the outage, and waits for its end."""
    troubles: list[str] = []

    def fail(name: str) -> None:
        if name.endswith("manifest.json") and len(troubles) < 3:
            troubles.append(name)
            raise StorageUnavailable("503")

    cluster.store.before_put = fail
    assert _intact(cluster, cluster.backup().id)
    assert len(troubles) == 3


def test_store_that_stays_away_at_the_commit(cluster: Cluster) -> None:
    def fail(name: str) -> None:
        if name.endswith("manifest.json"):
            raise StorageUnavailable("503")

    cluster.store.before_put = fail
    backup = cluster.run(cluster.request(), outage_deadline=0.15)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert backup.error == "503 (for longer than [conductor] outage_deadline = 0.15 s)"


def test_worker_lost_at_the_release_costs_no_backup(cluster: Cluster) -> None:
    """Everything is stored by then; what is left of the snapshot goes when the worker reports."""
    cluster.lose(2, TaskKind.RELEASE)
    backup = cluster.run(cluster.request(), outage_deadline=0.1)
    assert backup.status is BackupStatus.CREATED
    assert cluster.node_backup(backup, 2).phase == "done"
    assert _intact(cluster, backup.id)


def test_manifest_of_a_backup_that_failed_is_withdrawn(cluster: Cluster) -> None:
    """A commit whose answer got lost must not show a backup that its record calls cancelled."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.RELEASE))
    name = manifest_name(backup.id)
    body = b"{}"
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    cluster.store.put(cluster_container(PREFIX, CLUSTER), name, body, size=len(body), md5=md5)
    cluster.database.jobs.request_cancel(cluster.job(backup).id)
    ended = cluster.run(backup, owner="conductor-2")
    assert ended.status is BackupStatus.CANCELLED
    with pytest.raises(NotFound, match=backup.id):
        cluster.repository.read_backup(backup.id)

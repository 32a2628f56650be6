# SPDX-License-Identifier: Apache-2.0
"""Conductors that share the jobs by what each owns in the database."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable

import pytest

from magnetodb_backup.conductor.ownership import Ownership
from magnetodb_backup.conductor.runner import JobRunner
from magnetodb_backup.conductor.waiting import NO_SLOT
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Fence, Job, JobKind, JobStatus, Resource, Subject
from magnetodb_backup.domain.restore.records import RestoreRequest, RestoreStatus
from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.tasks.kinds import TaskKind
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.conductors import Start
from tests.unit.conductor.in_process import Held
from tests.unit.worker.fake_cql import CLUSTER

CREATED = BackupStatus.CREATED


def _finished(cluster: Cluster, *backups: Backup) -> list[BackupStatus]:
    """Wait until the jobs of these backups have ended."""
    wait_for(
        lambda: all(cluster.job(b).status.finished for b in backups),
        deadline=30,
        what="the end of the jobs",
        interval=0.02,
    )
    return [cluster.database.backups.get(b.id).status for b in backups]


def _hold_uploads(cluster: Cluster) -> threading.Event:
    """Let uploads wait for this event."""
    go_on = threading.Event()
    for number in cluster.nodes:
        held = Held(cluster.work(number), TaskKind.UPLOAD, go_on)
        cluster.workers.restart(f"worker-{number}", held)
    return go_on


def _wait_uploading(cluster: Cluster) -> None:
    wait_for(
        lambda: len(cluster.workers.starts("upload")) == len(cluster.nodes),
        deadline=20,
        what="uploads",
        interval=0.02,
    )


def _wait_looked(cluster: Cluster, conductors: int) -> None:
    """Wait until so many conductors have begun another look for jobs."""
    cluster.clock.now += 1
    for number in cluster.nodes:
        cluster.report(number)
    wait_for(
        lambda: len(cluster.database.nodes.conductors(0.5)) == conductors,
        deadline=20,
        what="looks for jobs",
        interval=0.02,
    )


def test_conductor_finds_and_runs_a_job(cluster: Cluster, start: Start) -> None:
    start()
    backup = cluster.request()
    assert _finished(cluster, backup) == [CREATED]
    assert cluster.job(backup).owner == "conductor-1"


def test_waking_it_is_quicker_than_waiting(cluster: Cluster, start: Start) -> None:
    conductor = start(poll_interval=3600)
    backup = cluster.request()
    conductor.loop.wake()
    assert _finished(cluster, backup) == [CREATED]


def test_two_conductors_run_a_job_once(cluster: Cluster, start: Start) -> None:
    start("conductor-1")
    start("conductor-2")
    backup = cluster.request()
    assert _finished(cluster, backup) == [CREATED]
    assert cluster.did("flush") == cluster.did("snapshot") == [1, 1, 1]
    assert set(cluster.workers.starts("upload").values()) == {1}


def test_second_conductor_adopts_what_the_first_leaves(cluster: Cluster, start: Start) -> None:
    go_on = _hold_uploads(cluster)
    first = start("conductor-1")
    backup = cluster.request()
    _wait_uploading(cluster)
    second = start("conductor-2")
    assert cluster.job(backup).owner == "conductor-1"
    first.stop()
    wait_for(
        lambda: cluster.job(backup).owner == "conductor-2",
        deadline=20,
        what="the adoption",
        interval=0.02,
    )
    go_on.set()
    assert _finished(cluster, backup) == [CREATED]
    assert cluster.did("snapshot") == [1, 1, 1]
    assert set(cluster.workers.starts("upload").values()) == {1}
    second.stop()


def test_second_conductor_adopts_what_a_silent_one_owned(cluster: Cluster, start: Start) -> None:
    """A conductor that was killed releases nothing."""
    backup = cluster.request()
    dead = Ownership(cluster.database, "conductor-1", timeout=0.5)
    assert dead.claim(cluster.job(backup), exclusive=True) is not None
    start("conductor-2", timeout=0.5)
    assert _finished(cluster, backup) == [CREATED]
    assert cluster.job(backup).owner == "conductor-2"


def test_live_conductor_keeps_what_it_owns(cluster: Cluster, start: Start) -> None:
    """For longer than a silent one would."""

    def heartbeat() -> float:
        with cluster.database._engine.begin() as connection:
            found = connection.exec_driver_sql("SELECT max(heartbeat) FROM ownerships").scalar()
        return float(found or 0)

    go_on = _hold_uploads(cluster)
    start("conductor-1", timeout=4)
    backup = cluster.request()
    _wait_uploading(cluster)
    start("conductor-2", timeout=4)
    later = heartbeat() + 4.5
    wait_for(lambda: heartbeat() > later, deadline=60, what="heartbeats", interval=0.1)
    assert cluster.job(backup).owner == "conductor-1"
    go_on.set()
    assert _finished(cluster, backup) == [CREATED]
    assert cluster.job(backup).owner == "conductor-1"


def test_one_backup_of_a_cluster_at_a_time(cluster: Cluster, start: Start) -> None:
    go_on = _hold_uploads(cluster)
    start("conductor-1")
    start("conductor-2")
    first = cluster.request()
    _wait_uploading(cluster)
    second = cluster.request()
    for _ in range(2):  # the second look begins when the first one is over
        _wait_looked(cluster, 2)
    assert cluster.steps(second) == set()
    assert cluster.job(second).status is JobStatus.PENDING
    go_on.set()
    assert _finished(cluster, first, second) == [CREATED, CREATED]
    assert cluster.did("snapshot") == [2, 2, 2]


def test_restore_shows_which_backup_it_waits_for(cluster: Cluster, start: Start) -> None:
    """A dry run too needs the cluster for itself."""
    backup = cluster.backup()
    release = _hold_uploads(cluster)
    running = cluster.request()
    start("conductor-1")
    _wait_uploading(cluster)
    request = RestoreRequest(backup.id, cluster=CLUSTER, dry_run=True)
    restore = cluster.database.restores.create(request, str(uuid.uuid4()), CLUSTER, CLUSTER)
    text = f"waits for backup {running.id} of this cluster"
    restores = cluster.database.restores
    wait_for(lambda: restores.get(restore.id).waiting_for == text, deadline=5, what="the text")
    release.set()
    wait_for(
        lambda: restores.get(restore.id).status is RestoreStatus.PLANNED,
        deadline=10, what="the plan",
    )  # fmt: skip
    assert restores.get(restore.id).waiting_for == restores.get(restore.id).error == ""


def test_backup_shows_what_it_waits_for(cluster: Cluster, start: Start) -> None:
    """And no longer once it begins, nor after a cancellation while it waits."""
    release, backups = _hold_uploads(cluster), cluster.database.backups
    start("conductor-1")
    start("conductor-2")
    running = cluster.request()
    _wait_uploading(cluster)
    second, third = cluster.request(), cluster.request()
    text = f"waits for backup {running.id} of this cluster"
    wait_for(
        lambda: {backups.get(b.id).waiting_for for b in (second, third)} == {text},
        deadline=20,
        what="the texts",
    )
    assert backups.get(running.id).waiting_for == ""
    cluster.database.jobs.request_cancel(cluster.job(third).id)
    assert _finished(cluster, third) == [BackupStatus.CANCELLED]
    assert backups.get(third.id).waiting_for == ""
    release.set()
    assert _finished(cluster, running, second) == [CREATED, CREATED]
    assert backups.get(second.id).waiting_for == ""


def test_backup_that_has_begun_waits_for_nothing(cluster: Cluster) -> None:
    backup = cluster.request()
    cluster.database.jobs.show_waiting(cluster.job(backup).id, "waits")
    assert cluster.database.backups.get(backup.id).waiting_for == "waits"
    begun = cluster.run(backup, still_owner=cluster.until(backup, "census"))
    assert (begun.status, begun.waiting_for) == (BackupStatus.CREATING, "")


def test_backup_shows_that_it_waits_for_a_slot(cluster: Cluster, start: Start) -> None:
    release, backups = _hold_uploads(cluster), cluster.database.backups
    start("conductor-1", concurrent_jobs=1)
    running = cluster.request()
    _wait_uploading(cluster)
    other = backups.create(BackupRequest({"type": "all"}), str(uuid.uuid4()), "another cluster")
    wait_for(lambda: backups.get(other.id).waiting_for == NO_SLOT, deadline=20, what="the text")
    cluster.database.jobs.request_cancel(cluster.job(other).id)
    release.set()
    assert _finished(cluster, running, other) == [CREATED, BackupStatus.CANCELLED]


def test_work_beside_the_jobs_does_not_keep_them_waiting(
    cluster: Cluster, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    conductor, looks = start(), []

    def fail() -> None:
        looks.append(1)
        raise RuntimeError("a bug")

    conductor.loop.also(fail)
    assert _finished(cluster, cluster.request()) == [CREATED]
    wait_for(lambda: len(looks) > 2, deadline=20, what="looks")
    assert "looking for jobs failed" in caplog.text


def test_backup_that_waits_for_another_one_can_be_cancelled(cluster: Cluster, start: Start) -> None:
    go_on = _hold_uploads(cluster)
    start()
    first = cluster.request()
    _wait_uploading(cluster)
    second = cluster.request()
    cluster.database.jobs.request_cancel(cluster.job(second).id)
    assert _finished(cluster, second) == [BackupStatus.CANCELLED]
    assert not cluster.job(first).status.finished
    go_on.set()
    assert _finished(cluster, first) == [CREATED]
    assert cluster.did("snapshot") == [1, 1, 1]


def test_other_jobs_run_beside_a_backup(cluster: Cluster, start: Start) -> None:
    done = cluster.backup()
    go_on = _hold_uploads(cluster)
    start()
    running = cluster.request()
    _wait_uploading(cluster)
    cluster.database.jobs.create(
        JobKind.VERIFICATION, Subject.backup(done.id), CLUSTER, {"read_data": True}
    )
    wait_for(
        lambda: cluster.job(done, JobKind.VERIFICATION).status is JobStatus.DONE,
        deadline=20,
        what="the verification",
        interval=0.02,
    )
    assert not cluster.job(running).status.finished
    go_on.set()
    assert _finished(cluster, running) == [CREATED]


def test_verifications_keep_no_backup_waiting(cluster: Cluster, start: Start) -> None:
    """Finding 28: as many of them as jobs may run at once took days."""
    backups = [cluster.backup() for _ in range(3)]
    go_on, reading = threading.Event(), threading.Semaphore(0)

    def wait(name: str) -> None:
        if name.startswith("packs/"):
            reading.release()
            go_on.wait(30)

    cluster.store.before_read = wait
    parameters = {"read_data": True}
    for backup in backups:
        subject = Subject.backup(backup.id)
        cluster.database.jobs.create(JobKind.VERIFICATION, subject, CLUSTER, parameters)
    start(concurrent_jobs=2)
    assert reading.acquire(timeout=20)
    assert _finished(cluster, cluster.request()) == [CREATED]
    running = [cluster.job(b, JobKind.VERIFICATION).status for b in backups]
    assert running == [JobStatus.RUNNING, JobStatus.PENDING, JobStatus.PENDING]
    go_on.set()
    wait_for(
        lambda: all(cluster.job(b, JobKind.VERIFICATION).status.finished for b in backups),
        deadline=30,
        what="the verifications",
        interval=0.02,
    )


def test_what_a_conductor_owned_is_released(cluster: Cluster, start: Start) -> None:
    conductor = start()
    backup = cluster.request()
    _finished(cluster, backup)
    conductor.stop()
    whole = [Resource.job(cluster.job(backup).id), Resource.cluster(CLUSTER)]
    assert cluster.database.ownership.claim(whole, "other", timeout=3600) is not None


def test_outage_of_the_database_is_outlived(
    cluster: Cluster, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with cluster.database_away() as failures:
        start()
        wait_for(lambda: len(failures) > 3, deadline=10, what="several looks", interval=0.02)
    backup = cluster.request()
    assert _finished(cluster, backup) == [CREATED]
    assert caplog.text.count("cannot look for jobs: the database does not answer") == 1


def test_job_that_cannot_be_run_is_not_tried_without_a_pause(
    cluster: Cluster, start: Start
) -> None:
    tries: list[float] = []

    class Broken(JobRunner):
        def run(self, job: Job, fence: Fence, still_owner: Callable[[], bool]) -> None:
            tries.append(time.monotonic())
            raise RuntimeError("a bug")

    cluster.request()
    runner = cluster.runner()
    runner.__class__ = Broken
    start(runner=runner, poll_interval=0.2)
    wait_for(lambda: len(tries) >= 4, deadline=20, what="several tries", interval=0.02)
    assert tries[3] - tries[0] >= 0.5


def test_reports_are_recorded_and_answered(cluster: Cluster, start: Start) -> None:
    """The answer names the backups whose snapshots must stay."""
    go_on = _hold_uploads(cluster)
    conductor = start()
    backup = cluster.request()
    _wait_uploading(cluster)
    report = NodeReport("worker-9", CLUSTER, "machine-9", None, (), "nodetool", "Cassandra is down")
    assert conductor.loop.take_report(report) == (backup.id,)
    other = NodeReport("worker-8", "another cluster", "machine-8", None, (), "nodetool")
    assert conductor.loop.take_report(other) == ()
    known = {n.report.worker_id for n in cluster.database.nodes.list(live_within=60)}
    assert {"worker-8", "worker-9"} <= known
    go_on.set()
    _finished(cluster, backup)
    assert conductor.loop.take_report(report) == ()


def test_service_starts_and_stops_its_parts(cluster: Cluster, start: Start) -> None:
    conductor = start()
    conductor.stop()
    assert conductor.server.log == ["start", "stop", "wait"]
    assert not [t for t in threading.enumerate() if t.name.startswith("job-loop")]

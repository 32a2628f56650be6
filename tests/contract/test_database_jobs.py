# SPDX-License-Identifier: Apache-2.0
"""What the records of jobs, workers and conductors promise, on every database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from magnetodb_backup.database import Database, connect
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Fence, Job, JobKind, JobStatus, Subject
from magnetodb_backup.domain.restore.records import RestoreRequest
from magnetodb_backup.errors import Conflict, NotFound
from tests.lab.catalogue import MISSING, Clock, job_of, recorded
from tests.unit.domain.samples import MEMBER, REPORT


def create(database: Database, cluster: str = "c") -> tuple[Backup, Job]:
    """Make a backup; return it and its job."""
    backup = database.backups.create(BackupRequest({"type": "all"}), str(uuid.uuid4()), cluster)
    return backup, job_of(database, backup.id)


def claim(
    database: Database, job: Job, owner: str, *, exclusive: bool = False
) -> tuple[Job, Fence]:
    """Claim a job that has no live owner."""
    claimed = database.jobs.claim(job.id, owner, timeout=3600, exclusive=exclusive)
    assert claimed is not None
    return claimed


def created(database: Database) -> Backup:
    """Make a backup that is CREATED, with a finished job."""
    backup, job = create(database)
    database.jobs.finish(job.id, JobStatus.DONE)
    return database.backups.set_status(backup.id, BackupStatus.CREATED)


def test_life_of_a_job(database: Database) -> None:
    _, job = create(database)
    assert database.jobs.unfinished() == (job,)
    claimed, fence = claim(database, job, "conductor-1")
    assert (claimed.status, claimed.owner) == (JobStatus.RUNNING, "conductor-1")
    assert database.jobs.claim(job.id, "conductor-2", timeout=3600) is None
    assert database.jobs.unfinished() == (claimed,)
    database.ownership.release(fence)
    adopted, fence = claim(database, job, "conductor-2")
    assert adopted.owner == "conductor-2"
    assert database.jobs.unfinished() == (adopted,)
    result = {"objects": 2**40, "names": ["ß"], "none": None}
    ended = database.fenced(fence).jobs.finish(
        job.id, JobStatus.FAILED, result=result, error="x" * 200_000, error_code="NoSpace"
    )
    assert database.jobs.get(job.id) == ended
    assert (ended.status, ended.result, ended.error_code) == (JobStatus.FAILED, result, "NoSpace")
    assert len(ended.error) == 200_000
    assert database.jobs.unfinished() == ()
    assert not database.ownership.holds(fence)
    with pytest.raises(Conflict, match=f"{job.id} is already FAILED"):
        database.jobs.claim(job.id, "conductor-3", timeout=0)


@pytest.mark.parametrize("other", ["c", "another"])
def test_one_exclusive_job_of_a_cluster_at_a_time(database: Database, other: str) -> None:
    first, second = create(database)[1], create(database, other)[1]
    _, fence = claim(database, first, "conductor-1", exclusive=True)
    beside = database.jobs.claim(second.id, "conductor-2", timeout=3600, exclusive=True)
    assert (beside is None) == (other == "c")
    if beside is None:
        assert database.jobs.get(second.id) == second  # nothing of the claim stays behind
        database.ownership.release(fence)
        assert claim(database, second, "conductor-2", exclusive=True)[0].owner == "conductor-2"


def test_job_that_is_not_exclusive_needs_no_cluster(database: Database) -> None:
    first, second = create(database)[1], create(database)[1]
    claim(database, first, "conductor-1", exclusive=True)
    assert claim(database, second, "conductor-1")[0].status is JobStatus.RUNNING


def test_unfinished_ones_come_oldest_first(database: Database) -> None:
    made = [create(database)[1].id for _ in range(5)]
    database.jobs.finish(made[2], JobStatus.CANCELLED)
    assert [job.id for job in database.jobs.unfinished()] == made[:2] + made[3:]


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.RUNNING])
def test_one_job_of_a_backup_at_a_time(database: Database, status: JobStatus) -> None:
    backup = created(database)
    first = database.jobs.create(
        JobKind.VERIFICATION, Subject.backup(backup.id), "c", {"read_data": True}
    )
    assert first.parameters == {"read_data": True}
    if status is JobStatus.RUNNING:
        claim(database, first, "conductor")
    with pytest.raises(Conflict, match=f"a verification of backup {backup.id} is {status.value}"):
        database.jobs.create(JobKind.VERIFICATION, Subject.backup(backup.id), "c", {})
    database.jobs.finish(first.id, JobStatus.DONE)
    second = database.jobs.create(JobKind.VERIFICATION, Subject.backup(backup.id), "c", {})
    assert database.jobs.latest(Subject.backup(backup.id), JobKind.VERIFICATION) == second


def test_deletion_begins_with_its_job(database: Database) -> None:
    backup = created(database)
    job = database.backups.request_deletion(backup.id)
    assert database.backups.get(backup.id).status is BackupStatus.DELETING
    with pytest.raises(Conflict, match=r"a deletion of backup .* is PENDING"):
        database.backups.request_deletion(backup.id)
    database.backups.set_status(backup.id, BackupStatus.DELETE_FAILED, error="no access")
    database.jobs.finish(job.id, JobStatus.FAILED)
    database.backups.request_deletion(backup.id)
    again = database.backups.get(backup.id)
    assert (again.status, again.error) == (BackupStatus.DELETING, "")


def test_deletion_cancels_what_runs(database: Database) -> None:
    backup, running = create(database)
    claim(database, running, "conductor")
    deletion = database.backups.request_deletion(backup.id)
    assert database.jobs.get(running.id).cancel_requested
    assert not deletion.cancel_requested
    assert database.backups.get(backup.id).status is BackupStatus.CREATING
    assert [job.id for job in database.jobs.unfinished()] == [running.id, deletion.id]


def test_deleted_backup_has_no_new_deletion(database: Database) -> None:
    backup = created(database)
    job = database.backups.request_deletion(backup.id)
    database.backups.set_status(backup.id, BackupStatus.DELETED)
    database.jobs.finish(job.id, JobStatus.DONE)
    with pytest.raises(Conflict, match="is DELETED"):
        database.backups.request_deletion(backup.id)
    assert database.jobs.unfinished() == ()


def test_steps_belong_to_a_round(database: Database) -> None:
    _, job = create(database)
    database.jobs.save_step(job.id, 1, "census", {"nodes": ["ß"]})
    database.jobs.save_step(job.id, 1, "schema", {})
    database.jobs.save_step(job.id, 1, "census", {"nodes": ["the first one stays"]})
    assert database.jobs.step_results(job.id, 1) == {"census": {"nodes": ["ß"]}, "schema": {}}
    assert database.jobs.next_round(job.id).round == 2
    assert database.jobs.step_results(job.id, 2) == {}
    database.jobs.save_step(job.id, 2, "census", {"nodes": []})
    assert database.jobs.step_results(job.id, 2) == {"census": {"nodes": []}}
    assert len(database.jobs.step_results(job.id, 1)) == 2


def test_cancelling_is_recorded(database: Database) -> None:
    _, job = create(database)
    assert not job.cancel_requested
    assert database.jobs.request_cancel(job.id).cancel_requested
    assert claim(database, job, "conductor")[0].cancel_requested


def test_missing_things_are_named(database: Database) -> None:
    jobs = database.jobs
    for call in (jobs.get, jobs.request_cancel, jobs.next_round):
        with pytest.raises(NotFound, match=MISSING):
            call(MISSING)
    with pytest.raises(NotFound, match=MISSING):
        jobs.create(JobKind.VERIFICATION, Subject.backup(MISSING), "c", {})
    assert jobs.latest(Subject.backup(MISSING), JobKind.BACKUP) is None


# Workers and conductors, by a clock that the tests move


@pytest.fixture
def timed(database_url: str, clock: Clock) -> Iterator[Database]:
    database = connect(database_url, clock)
    database.sync()
    yield database
    database.close()


def test_reports_are_kept_whole(timed: Database, clock: Clock) -> None:
    first = replace(REPORT, worker_id="w1", problem="Cassandra ß does not answer")
    timed.nodes.report(replace(REPORT, worker_id="w2", member=None, cluster=""))
    timed.nodes.report(first)
    clock.now += 10.5
    latest = replace(first, problem="", member=replace(MEMBER, tokens=(-(2**63), 2**63 - 1)))
    timed.nodes.report(latest)
    unnamed, node = timed.nodes.list(live_within=5)
    assert (unnamed.report.member, unnamed.live) == (None, False)
    assert (node.report, node.live) == (latest, True)
    assert node.last_seen.timestamp() == clock.now
    assert (node.last_seen - node.first_seen).total_seconds() == 10.5


def test_who_is_live(timed: Database, clock: Clock) -> None:
    for worker, cluster in (("w1", "Prod"), ("w2", "prod"), ("w3", "Prod")):
        timed.nodes.report(replace(REPORT, worker_id=worker, cluster=cluster))
        clock.now += 10
    assert [n.live for n in timed.nodes.list(live_within=20)] == [False, True, True]
    assert [n.report.worker_id for n in timed.nodes.list(live_within=1, cluster="prod")] == ["w2"]
    assert timed.nodes.clusters(15) == ("Prod",)
    assert timed.nodes.clusters(25) == ("Prod", "prod")
    timed.nodes.forget("w3")
    timed.nodes.forget("w3")
    assert timed.nodes.clusters(15) == ()
    assert len(timed.nodes.list(live_within=1)) == 2


def test_conductors(timed: Database, clock: Clock) -> None:
    timed.nodes.conductor_seen("host:1")
    clock.now += 30
    timed.nodes.conductor_seen("host:2")
    assert timed.nodes.conductors(30) == ("host:1", "host:2")
    assert timed.nodes.conductors(29) == ("host:2",)
    clock.now += 86400
    timed.nodes.conductor_seen("host:2")
    assert timed.nodes.conductors(10**6) == ("host:2",)  # the silent one is forgotten


def test_only_a_job_without_an_owner_shows_what_it_waits_for(database: Database) -> None:
    """Another conductor may claim it between the look and the text."""
    complete = recorded(database, "c", BackupStatus.CREATED)
    restore = database.restores.create(RestoreRequest(complete.id), str(uuid.uuid4()), "c", "c")
    backup = recorded(database, "c")
    verification = database.jobs.create(
        JobKind.VERIFICATION, Subject.cluster("c"), "c", {}
    )  # without a record that could show it
    jobs = (restore.id, job_of(database, backup.id).id, verification.id)

    def shown() -> tuple[str, str]:
        return (
            database.restores.get(restore.id).waiting_for,
            database.backups.get(backup.id).waiting_for,
        )

    for job in jobs:
        database.jobs.show_waiting(job, "ß" * 100_000)
    assert shown() == ("ß" * 100_000,) * 2
    for job in jobs[:2]:
        database.jobs.show_waiting(job, "")
        assert database.jobs.claim(job, "one", timeout=30) is not None
        database.jobs.show_waiting(job, "too late")
    assert shown() == ("", "")
    assert database.backups.get(complete.id).waiting_for == ""

# SPDX-License-Identifier: Apache-2.0
"""What the runs of schedules start, and how they end, on every database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.sample import Sample, sample_of
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, Subject
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.actions import Action, Verifying
from magnetodb_backup.domain.schedule.records import RunStatus, Schedule, ScheduleRun
from magnetodb_backup.errors import Conflict, NotFound
from tests.contract.test_database_schedules import WHOLE, make_due
from tests.lab.catalogue import job_of, recorded
from tests.lab.schedules import BODY, runs_of, scheduled

CLUSTER = "c"
S = BackupStatus


def of_action(database: Database, action: str, **fields: Any) -> Schedule:
    """Record a schedule of an action whose last minute is due."""
    values = {"name": action, "cron": "* * * * *", "scope": {}, "action": action, **fields}
    schedule = scheduled(database, CLUSTER, **values)
    make_due(database, schedule)
    return schedule


def advance(database: Database, schedule: Schedule) -> ScheduleRun:
    """Begin the run that is due, also if this minute has one already."""
    number = len(runs_of(database, schedule)) + 1
    with database._engine.begin() as connection:
        for table in ("schedule_runs", "schedule_jobs"):
            statement = f"UPDATE {table} SET planned_at = :at WHERE planned_at > :at"
            connection.execute(text(statement), {"at": f"2024-01-{number:02} 00:00:00.000000"})
    make_due(database, schedule)
    run = database.scheduling.advance(schedule.id)
    assert run is not None
    return run


def jobs_of(database: Database, run: ScheduleRun) -> list[Job]:
    return [database.jobs.get(job) for job in run.jobs]


def finish(database: Database, run: ScheduleRun, **result: Any) -> None:
    for job in run.jobs:
        database.jobs.finish(job, JobStatus.DONE, result=result)


def test_all_fields_are_kept(database: Database) -> None:
    verify = Verifying(("read-data", "parse"), 3.34, 30)
    whole = replace(WHOLE, action=Action.VERIFY, verify=verify, retention=Policy(daily=7, floor=2))
    made = database.schedules.create(whole, "ß")
    assert database.schedules.get(made.id) == made
    assert made.as_request() == whole
    back = database.schedules.update(made.id, replace(whole, verify=None, retention=None))
    assert (back.verify, back.retention) == (None, None)


@pytest.mark.parametrize(
    ("action", "kind", "parameters"),
    [
        ("collect", JobKind.COLLECTION, {"dry_run": False, "grace": None}),
        ("expire", JobKind.RETENTION, {}),
    ],
)
def test_a_job_about_the_cluster(
    database: Database, action: str, kind: str, parameters: dict[str, Any]
) -> None:
    database.retention.put(CLUSTER, Policy(daily=7))
    schedule = of_action(database, action)
    run = advance(database, schedule)
    (job,) = jobs_of(database, run)
    assert (run.status, run.backup_id) == (RunStatus.RUNNING, "")
    assert (job.kind, job.subject, job.parameters) == (kind, Subject.cluster(CLUSTER), parameters)
    # A planned time is claimed once, and its job is waited for.
    make_due(database, schedule)
    assert database.scheduling.advance(schedule.id) is None
    assert database.schedules.state(schedule.id).waiting_for == job.id
    with pytest.raises(Conflict, match=f"job {job.id} of the cluster is not finished"):
        database.scheduling.run_now(schedule.id)
    ended = database.jobs.finish(job.id, JobStatus.DONE, result={"left": [{"why": "x"}]})
    (found,) = runs_of(database, schedule)
    assert (found.status, found.finished_at, found.jobs) == (
        RunStatus.DONE, ended.updated_at, (job.id,),
    )  # fmt: skip
    assert ("1 deletion was refused" in found.reason) == (action == "expire")
    (state,) = database.schedules.list()
    assert (state.waiting_for, state.last_run) == ("", found)


def test_overlapping_runs_are_left_out_if_asked(database: Database) -> None:
    schedule = of_action(database, "collect", overlap="skip")
    job = database.jobs.create(JobKind.COLLECTION, Subject.cluster(CLUSTER), CLUSTER, {})
    run = database.scheduling.advance(schedule.id)
    assert run is not None
    assert (run.status, run.jobs) == (RunStatus.SKIPPED, ())
    assert run.reason.startswith(f"job {job.id} of the cluster was not finished")


@pytest.mark.parametrize("end", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_job_that_does_not_end_well(database: Database, end: JobStatus) -> None:
    schedule = of_action(database, "collect")
    (job,) = advance(database, schedule).jobs
    database.jobs.finish(job, end, error="no worker 🐘")
    (run,) = runs_of(database, schedule)
    assert run.status.value == end.value
    assert run.reason.endswith(f"the collection is {end.value}: no worker 🐘")


@pytest.mark.parametrize(
    ("action", "reason"),
    [("verify", "has no CREATED backup to verify"), ("expire", "has a retention policy")],
)
def test_nothing_to_do_is_no_failure(database: Database, action: str, reason: str) -> None:
    recorded(database, CLUSTER, S.PARTIAL)
    run = advance(database, of_action(database, action))
    assert (run.status, run.jobs) == (RunStatus.SKIPPED, ())
    assert run.reason.endswith(reason)
    assert run.finished_at == run.decided_at


def test_the_newest_complete_backup_is_verified(database: Database) -> None:
    recorded(database, CLUSTER, S.CREATED)
    newest = recorded(database, CLUSTER, S.CREATED)
    recorded(database, CLUSTER, S.PARTIAL)
    recorded(database, "other", S.CREATED)
    schedule = of_action(database, "verify", verify=["read-data", "schema"], sample=40.0)
    samples = []
    for _ in range(3):
        run = advance(database, schedule)
        (job,) = jobs_of(database, run)
        assert (job.subject, job.parameters["rungs"]) == (
            Subject.backup(newest.id), ["read-data", "schema"],
        )  # fmt: skip
        samples.append(sample_of(job.parameters))
        finish(database, run)
    first = samples[0]
    assert first is not None
    assert samples == [first, first.next(), first.next().next()]


def test_damage_is_a_failure_of_the_run(database: Database) -> None:
    backup = recorded(database, CLUSTER, S.CREATED)
    schedule = of_action(database, "verify")
    run = advance(database, schedule)
    (job,) = jobs_of(database, run)
    assert job.parameters == {"read_data": False, "rungs": ["exists"]}
    finish(database, run, problem_count=2)
    (found,) = runs_of(database, schedule)
    assert found.status is RunStatus.FAILED
    assert f"the verification of backup {backup.id} found 2 problems" in found.reason


def test_all_backups_are_read_in_turns(database: Database) -> None:
    """A sample that was not read by all is repeated: no part is left out of a round."""
    backups = {recorded(database, CLUSTER, S.CREATED).id for _ in range(3)}
    schedule = of_action(database, "verify", each_in=2)
    wanted = replace(schedule.as_request(), verify=Verifying((), 50.0, 2))
    schedule = database.schedules.update(schedule.id, wanted)
    seeds = []
    for end in (JobStatus.DONE, JobStatus.FAILED, JobStatus.DONE, JobStatus.DONE):
        run = advance(database, schedule)
        jobs = jobs_of(database, run)
        assert {job.backup_id for job in jobs} == backups
        (sample,) = {sample_of(job.parameters) for job in jobs}
        assert sample == Sample(50.0, sample.seed if sample else -1)
        seeds.append(sample.seed if sample else -1)
        for number, job in enumerate(jobs):
            assert runs_of(database, schedule)[0].status is RunStatus.RUNNING
            last = number == len(jobs) - 1
            database.jobs.finish(job.id, end if last else JobStatus.DONE)
        assert runs_of(database, schedule)[0].status.value == end.value
    assert seeds == [0, 1, 1, 2]


def test_a_run_that_is_late_is_cancelled(database: Database) -> None:
    for _ in range(2):
        recorded(database, CLUSTER, S.CREATED)
    schedule = of_action(database, "verify", each_in=7, finish_within=60)
    run = advance(database, schedule)
    assert len(run.jobs) == 2
    database.jobs.finish(run.jobs[0], JobStatus.DONE)
    with database._engine.begin() as connection:
        connection.execute(text("UPDATE schedule_runs SET finish_by = '2024-01-01 00:00:00'"))
    assert set(database.scheduling.cancel_late()) == set(run.jobs)
    requested = [job.cancel_requested for job in jobs_of(database, run)]
    assert requested == [False, True]
    assert database.scheduling.cancel_late() == ()


def test_a_backup_that_is_complete_is_verified(database: Database) -> None:
    schedule = of_action(database, "backup", scope=BODY["scope"], verify=["read-data"], sample=5.0)
    run = database.scheduling.run_now(schedule.id)
    assert database.jobs.latest(Subject.backup(run.backup_id), JobKind.VERIFICATION) is None
    for _ in range(2):  # a conductor that adopts the job repeats it
        database.backups.set_status(run.backup_id, S.CREATED)
    job = job_of(database, run.backup_id, JobKind.VERIFICATION)
    assert (job.parameters["rungs"], job.parameters["sample"]["percent"]) == (["read-data"], 5.0)
    database.jobs.finish(job_of(database, run.backup_id).id, JobStatus.DONE)
    database.jobs.finish(job.id, JobStatus.DONE, result={"problem_count": 1})
    (found,) = runs_of(database, schedule)
    assert (found.status, found.jobs) == (RunStatus.CREATED, (job.id,))
    assert "found 1 problem," in found.reason


@pytest.mark.parametrize("status", [S.PARTIAL, S.CREATE_FAILED, S.CANCELLED])
def test_no_other_backup_is_verified(database: Database, status: BackupStatus) -> None:
    schedule = of_action(database, "backup", scope=BODY["scope"], verify=["exists"])
    run = database.scheduling.run_now(schedule.id)
    database.backups.set_status(run.backup_id, status)
    recorded(database, CLUSTER, S.CREATED)  # made by no schedule
    assert {job.kind for job in database.jobs.unfinished()} == {JobKind.BACKUP}


def made_by(database: Database, schedule: Schedule) -> str:
    """Let a run of the schedule make a backup; return its ID."""
    run = database.scheduling.run_now(schedule.id)
    database.backups.set_status(run.backup_id, S.CREATED)
    database.jobs.finish(job_of(database, run.backup_id).id, JobStatus.DONE)
    return run.backup_id


def test_the_policy_of_a_schedule_is_for_its_backups(database: Database) -> None:
    own = of_action(database, "backup", scope=BODY["scope"], retention={"redundancy": 1})
    other = of_action(database, "backup", name="other", scope=BODY["scope"])
    assert database.retention.covered() == (CLUSTER,)
    old, by_hand, by_other, new = (
        made_by(database, own),
        recorded(database, CLUSTER, S.CREATED).id,
        made_by(database, other),
        made_by(database, own),
    )
    plan = database.retention.plan(CLUSTER)
    assert plan.policy is None
    kept = {d.candidate.id: (d.kept, plan.schedule_of(d)) for d in plan.decisions}
    assert kept == {
        old: (False, "backup"), new: (True, "backup"), by_hand: (True, ""), by_other: (True, ""),
    }  # fmt: skip
    database.retention.put(CLUSTER, Policy(redundancy=1))
    refused = database.backups.expire(CLUSTER, [old, by_hand, by_other, new])
    assert set(refused) == {by_other, new}
    with pytest.raises(Conflict, match=r"0 of 1 .* keyspaces of schedule 'backup' would remain"):
        database.backups.request_deletion(new)
    with pytest.raises(Conflict, match="0 of 1 restorable backups of all keyspaces would remain"):
        database.backups.request_deletion(by_other)
    # Without the schedule its backups are judged by the policy of the cluster.
    database.retention.remove(CLUSTER)
    database.schedules.delete(own.id)
    with pytest.raises(NotFound, match="no retention policy"):
        database.retention.plan(CLUSTER)
    database.backups.request_deletion(new)


def test_a_deleted_schedule_leaves_its_jobs(database: Database) -> None:
    schedule = of_action(database, "collect")
    (job,) = advance(database, schedule).jobs
    database.schedules.delete(schedule.id)
    assert database.jobs.finish(job, JobStatus.DONE).status is JobStatus.DONE

# SPDX-License-Identifier: Apache-2.0
"""What is removed by its age, and what never is, on every database."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from magnetodb_backup.database import Database
from magnetodb_backup.database.models import BackupRow, JobRow, NodeRow, RestoreRow
from magnetodb_backup.database.setting_models import ScheduleRunRow
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, Subject, SubjectKind
from magnetodb_backup.domain.restore.records import RestoreRequest, RestoreStatus
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.records import RunStatus
from magnetodb_backup.errors import NotFound
from tests.lab.catalogue import job_of, recorded
from tests.lab.schedules import scheduled
from tests.unit.domain.samples import NODE_BACKUP, REPORT

S = BackupStatus
DAY = 86400.0
AGE = 400 * DAY
RECORDED = Path(__file__).parents[1] / "unit" / "tasks" / "recorded" / "steps.json"
GONE = (S.DELETED,)
ENDED_WITHOUT = (S.CREATE_FAILED, S.CANCELLED)


class Old:
    """Makes jobs and records that have ended long ago."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def age(self, row: Any, id_: str, days: float) -> None:
        then = datetime.now(timezone.utc) - timedelta(days=days)
        names = {"updated_at", "finished_at", "created_at"} & set(row.__mapper__.columns.keys())
        with self.database._engine.begin() as connection:
            values = dict.fromkeys(names, then)
            connection.execute(update(row).where(row.id == id_).values(values))

    def backup(self, status: BackupStatus, days: float = 401) -> Backup:
        backup = recorded(self.database, "c", status)
        self.database.backups.put_node_backup(_node(backup))
        self.age(BackupRow, backup.id, days)
        job = job_of(self.database, backup.id)
        self.database.jobs.save_step(job.id, 1, "census", {"nodes": []})
        self.age(JobRow, job.id, days)
        return self.database.backups.get(backup.id)

    def job(self, subject: Subject, days: float, status: JobStatus = JobStatus.DONE) -> Job:
        job = self.database.jobs.create(JobKind.VERIFICATION, subject, "c", {})
        self.database.jobs.save_step(job.id, 1, "parse", {"report": 1})
        if status.finished:
            self.database.jobs.finish(job.id, status)
        self.age(JobRow, job.id, days)
        return self.database.jobs.get(job.id)

    def restore(self, status: RestoreStatus, days: float = 401) -> str:
        backup = recorded(self.database, "c", S.CREATED)
        restores = self.database.restores
        made = restores.create(RestoreRequest(backup.id), str(uuid.uuid4()), "c", "c")
        if status is not RestoreStatus.RESTORING:
            restores.set_status(made.id, status)
            self.database.jobs.finish(made.id, JobStatus.DONE)
        self.age(RestoreRow, made.id, days)
        self.age(JobRow, made.id, days)
        return made.id

    def rows(self, table: str) -> int:
        with self.database._engine.begin() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def _node(backup: Backup) -> Any:
    return type(NODE_BACKUP)(**{**vars(NODE_BACKUP), "backup_id": backup.id})


@pytest.fixture
def old(database: Database) -> Old:
    return Old(database)


def test_steps_go_by_the_age_of_their_job(old: Old) -> None:
    database, subject = old.database, Subject.backup(recorded(old.database, "c", S.CREATED).id)
    gone, young = old.job(subject, 31), old.job(subject, 29)
    running = old.job(subject, 31, JobStatus.PENDING)
    assert database.pruning.steps(30 * DAY, 10) == 1
    assert database.pruning.steps(30 * DAY, 10) == 0
    assert database.jobs.step_results(gone.id, 1) == {}
    assert database.jobs.get(gone.id) == gone  # the job itself stays
    for job in (young, running):
        assert set(database.jobs.step_results(job.id, 1)) == {"parse"}


def test_a_batch_has_a_bound(old: Old) -> None:
    for _ in range(5):
        old.job(Subject.cluster(str(uuid.uuid4())), 31)
    pruning = old.database.pruning
    assert [pruning.steps(30 * DAY, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert old.rows("job_steps") == 0


def test_the_newest_job_of_its_kind_stays(old: Old) -> None:
    """It says how the last verification of a backup ended, for years."""
    backup = old.backup(S.CREATED, 900)
    subject = Subject.backup(backup.id)
    first, second, last = (old.job(subject, days) for days in (800, 700, 600))
    other = old.job(Subject.cluster("c"), 800)
    assert old.database.pruning.jobs(AGE, 10) == 2
    for job in (first, second):
        with pytest.raises(NotFound):
            old.database.jobs.get(job.id)
    assert old.database.jobs.latest(subject, JobKind.VERIFICATION) == last
    assert job_of(old.database, backup.id).id
    assert old.database.jobs.get(other.id) == other
    assert old.database.pruning.jobs(AGE, 10) == 0


@pytest.mark.parametrize("status", list(BackupStatus))
def test_records_of_backups_that_are_gone(old: Old, status: BackupStatus) -> None:
    """No age removes the record of a backup that may have a manifest in the store."""
    backup, young = old.backup(status), old.backup(status, 399)
    assert old.database.pruning.backups(AGE, 10) == (1 if status in GONE else 0)
    assert old.database.backups.get(young.id) == young
    if status in GONE:
        with pytest.raises(NotFound):
            old.database.backups.get(backup.id)
        assert [old.rows(t) for t in ("backups", "node_backups", "jobs", "job_steps")] == [1] * 4
    else:
        assert old.database.backups.get(backup.id) == backup
        assert old.rows("node_backups") == 2


@pytest.mark.parametrize("status", ENDED_WITHOUT)
def test_records_of_backups_that_no_node_took_part_in(old: Old, status: BackupStatus) -> None:
    """Any node may have stored a manifest, which only a deletion of the backup removes."""
    took_part, never_begun = old.backup(status), recorded(old.database, "c", status)
    old.age(BackupRow, never_begun.id, 401)
    assert old.database.pruning.backups(AGE, 10) == 1
    assert old.database.backups.get(took_part.id) == took_part
    with pytest.raises(NotFound):
        old.database.backups.get(never_begun.id)


@pytest.mark.parametrize(
    ("until", "purged", "gone"),
    [
        (-1, None, False),  # it is to be purged yet, or the purge was interrupted
        (None, None, False),
        (1, None, False),
        (None, 399, False),
        (None, 401, True),
    ],
)
def test_what_an_undeletion_or_a_purge_needs_stays(
    old: Old, until: float | None, purged: float | None, gone: bool
) -> None:
    now = old.database.deletions.now()
    backup = old.backup(S.DELETED, 900)
    values: dict[str, Any] = {
        "deleted_at": now - timedelta(days=900),
        "undelete_until": None if until is None else now + timedelta(days=until),
        "purged_at": None if purged is None else now - timedelta(days=purged),
    }
    with old.database._engine.begin() as connection:
        connection.execute(update(BackupRow).where(BackupRow.id == backup.id).values(values))
    assert old.database.pruning.backups(AGE, 10) == int(gone)
    assert old.rows("node_backups") == int(not gone)


def test_the_newest_survey_of_each_cluster_stays(old: Old) -> None:
    """Surveys have no subject."""
    jobs = [
        old.database.jobs.create(JobKind.SURVEY, Subject(SubjectKind.NONE), cluster, {})
        for cluster in ("c", "c", "d")
    ]
    for days, job in zip((900, 800, 850), jobs, strict=True):
        old.database.jobs.finish(job.id, JobStatus.DONE)
        old.age(JobRow, job.id, days)
    assert old.database.pruning.jobs(AGE, 10) == 1
    for job in jobs[1:]:
        assert old.database.jobs.get(job.id).cluster == job.cluster


def test_a_record_that_a_job_works_on_stays(old: Old) -> None:
    backup = recorded(old.database, "c", S.CREATE_FAILED)
    old.database.backups.request_deletion(backup.id)
    with old.database._engine.begin() as connection:  # as if the job were still to begin
        connection.execute(update(BackupRow).values(status=S.CREATE_FAILED.value))
    old.age(BackupRow, backup.id, 500)
    assert old.database.pruning.backups(AGE, 10) == 0
    assert old.database.pruning.jobs(AGE, 10) == 0
    assert len(old.database.jobs.unfinished()) == 1


@pytest.mark.parametrize("status", list(RestoreStatus))
def test_records_of_restores_that_ended(old: Old, status: RestoreStatus) -> None:
    gone, young = old.restore(status), old.restore(status, 399)
    ended = status is not RestoreStatus.RESTORING
    assert old.database.pruning.restores(AGE, 10) == (1 if ended else 0)
    assert old.database.restores.get(young).id == young
    if ended:
        with pytest.raises(NotFound):
            old.database.restores.get(gone)
        with pytest.raises(NotFound):
            old.database.jobs.get(gone)
    else:
        assert old.database.restores.get(gone).id == gone


def test_several_conductors_remove_it_once(old: Old) -> None:
    ids = [old.backup(S.DELETED).id for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: old.database.pruning.backups(AGE, 3), range(12)))
    assert sum(counts) >= len(ids)
    assert [old.rows(t) for t in ("backups", "node_backups", "jobs", "job_steps")] == [0] * 4


def test_steps_that_release_db9c3bf_recorded_are_removed(old: Old) -> None:
    """With all its kinds of steps, and the rounds of a job; those of a running job stay."""
    steps = json.loads(RECORDED.read_text())
    assert len(steps) == 28
    jobs = [old.job(Subject.cluster(name), 31, status) for name, status in
            (("a", JobStatus.FAILED), ("b", JobStatus.RUNNING))]  # fmt: skip
    for job in jobs:
        for number, (step, samples) in enumerate(steps.items(), 1):
            old.database.jobs.save_step(job.id, number, step.partition(":")[2], samples[0])
    assert old.database.pruning.steps(30 * DAY, 10) == 1
    assert old.rows("job_steps") == 29
    assert old.database.jobs.step_results(jobs[1].id, 1) != {}


def test_the_clock_of_the_database_decides(database: Database) -> None:
    """Rows are as young as the database says; a fresh one is never old."""
    backup = recorded(database, "c", S.DELETED)
    assert database.pruning.backups(60, 10) == 0
    assert database.backups.get(backup.id).status is S.DELETED


def _run(
    old: Old,
    schedule_id: str,
    days: float,
    status: RunStatus = RunStatus.CREATED,
    backup_id: str = "",
) -> None:
    """Record a run that was planned, and ended, so many days ago."""
    at = datetime.now(timezone.utc) - timedelta(days=days)
    ended = None if status is RunStatus.RUNNING else at
    row = ScheduleRunRow(
        schedule_id=schedule_id, planned_at=at, due_at=at, status=status.value, decided_at=at,
        finished_at=ended, backup_id=backup_id,
    )  # fmt: skip
    with Session(old.database._engine) as session, session.begin():
        session.add(row)


def test_runs_of_schedules_go_by_their_age(old: Old) -> None:
    """Also those that were skipped; the newest one says how the schedule was last decided."""
    for days in (900, 800, 401, 399, 1):
        _run(old, "daily", days)
    _run(old, "daily", 700, RunStatus.SKIPPED)
    _run(old, "daily", 600, RunStatus.RUNNING)
    _run(old, "paused", 900)
    _run(old, "paused", 800, RunStatus.CREATE_FAILED)
    assert old.database.pruning.schedule_runs(AGE, 2) == 2
    assert old.database.pruning.schedule_runs(AGE, 10) == 3
    assert old.database.pruning.schedule_runs(AGE, 10) == 0
    assert old.rows("schedule_runs") == 4
    with Session(old.database._engine) as session:
        left = set(session.scalars(select(ScheduleRunRow.status)))
    assert left == {"CREATED", "RUNNING", "CREATE_FAILED"}


def test_run_of_a_backup_that_has_a_record_stays(old: Old) -> None:
    """The retention policy of its schedule decides about that backup."""
    kept = old.backup(BackupStatus.CREATED, 900)
    for days, backup_id in ((900, kept.id), (800, str(uuid.uuid4())), (1, "")):
        _run(old, "daily", days, backup_id=backup_id)
    assert old.database.pruning.schedule_runs(AGE, 10) == 1
    with Session(old.database._engine) as session:
        assert set(session.scalars(select(ScheduleRunRow.backup_id))) == {kept.id, ""}


def test_reports_of_workers_that_are_gone(old: Old) -> None:
    database = old.database
    for number, days in enumerate((91, 100, 89, 0)):
        worker_id = f"worker-{number}"
        database.nodes.report(replace(REPORT, worker_id=worker_id))
        statement = update(NodeRow).where(NodeRow.worker_id == worker_id)
        with database._engine.begin() as connection:
            values = {"last_seen": NodeRow.last_seen - days * DAY}
            connection.execute(statement.values(values))
    assert database.pruning.workers(90 * DAY, 1) == 1
    assert database.pruning.workers(90 * DAY, 10) == 1
    assert database.pruning.workers(90 * DAY, 10) == 0
    left = {node.report.worker_id for node in database.nodes.list(live_within=1)}
    assert left == {"worker-2", "worker-3"}


def test_clusters_of_which_nothing_is_left(old: Old) -> None:
    database = old.database
    for name in ("deleted", "undeletable", "complete", "failed", "node", "policy", "job"):
        status = {"complete": S.CREATED, "failed": S.CREATE_FAILED}.get(name, S.DELETED)
        backup = recorded(database, name, status)
        if name == "undeletable":
            now = datetime.now(timezone.utc)
            database.deletions.record(backup.id, now, undelete_until=now + timedelta(days=1))
    recorded(database, "scheduled", S.DELETED)
    scheduled(database, "scheduled")
    database.nodes.report(replace(REPORT, worker_id="w", cluster="node"))
    database.retention.put("policy", Policy(redundancy=1))
    database.jobs.create(JobKind.COLLECTION, Subject.cluster("job"), "job", {})
    ended = database.jobs.create(JobKind.COLLECTION, Subject.cluster("ended"), "ended", {})
    database.jobs.finish(ended.id, JobStatus.DONE)
    assert database.clusters.retired() == ("deleted", "ended")

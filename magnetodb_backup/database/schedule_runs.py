# SPDX-License-Identifier: Apache-2.0
"""The runs of schedules, and how they end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timezone

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.models import BackupRow, JobRow
from magnetodb_backup.database.setting_models import ScheduleJobRow, ScheduleRunRow
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobStatus
from magnetodb_backup.domain.schedule.outcome import problem_of, remark_of, status_of
from magnetodb_backup.domain.schedule.records import RunStatus, Schedule, ScheduleRun

_PLANNED = "%Y%m%dT%H%M%SZ"
_FIELDS = tuple(f.name for f in fields(ScheduleRun) if f.name != "jobs")


def run_record(row: ScheduleRunRow, jobs: Iterable[str] = ()) -> ScheduleRun:
    """Return a row and the IDs of its jobs as a record."""
    values = {name: getattr(row, name) for name in _FIELDS}
    return ScheduleRun(**{**values, "status": RunStatus(row.status)}, jobs=tuple(jobs))


def record_outcome(
    session: Session, backup_id: str, status: BackupStatus, error: str, at: datetime
) -> ScheduleRunRow | None:
    """Record the status in which a backup ended in the run that began it; return that run.

    Only the first end counts: a later deletion of the backup does not change how its run ended,
    and no run is returned for it.
    """
    query = select(ScheduleRunRow).where(
        ScheduleRunRow.backup_id == backup_id, ScheduleRunRow.status == RunStatus.RUNNING.value
    )
    row = session.scalars(query).first()
    if row is not None:
        row.status, row.finished_at = RunStatus(status.value).value, at
        row.reason = _joined(row.reason, error)
    return row


def backup_name(schedule_name: str, planned_at: datetime) -> str:
    """Return the name of a run's backup."""
    return f"{schedule_name}-{planned_at:{_PLANNED}}"


def bring_back_runs(session: Session, schedule: Schedule) -> None:
    """Record the runs that made backups of the schedule's cluster, by the names of the backups.

    For a schedule that comes back from the store, which has no runs: its own retention policy is
    that of the backups of its runs. Backups of a time when it had another name are not found.
    """
    prefix = f"{schedule.name}-"
    known = select(ScheduleRunRow.backup_id).where(ScheduleRunRow.schedule_id == schedule.id)
    query = select(BackupRow).where(
        BackupRow.cluster == schedule.cluster,
        BackupRow.name.startswith(prefix, autoescape=True),
        BackupRow.id.not_in(known),
    )
    for made in session.scalars(query):
        try:
            planned = datetime.strptime(made.name.removeprefix(prefix), _PLANNED)
        except ValueError:
            continue  # a name that a user has chosen
        planned = planned.replace(tzinfo=timezone.utc)
        if session.get(ScheduleRunRow, (schedule.id, planned)) is None:
            session.add(
                ScheduleRunRow(
                    schedule_id=schedule.id, planned_at=planned, due_at=planned,
                    status=_run_status(made), decided_at=made.created_at, backup_id=made.id,
                    reason="from a rebuild of the catalogue", manual=False,
                    finished_at=made.finished_at,
                )
            )  # fmt: skip
            session.flush()


def _run_status(made: BackupRow) -> str:
    """Return how the run of a backup ended; a backup that was deleted had been complete."""
    ends = {status.value for status in RunStatus}
    return made.status if made.status in ends else RunStatus.CREATED.value


def add_job(session: Session, run: ScheduleRunRow, job: JobRow) -> None:
    """Record that a run has started a job."""
    session.add(job)
    session.add(
        ScheduleJobRow(
            job_id=job.id,
            schedule_id=run.schedule_id,
            planned_at=run.planned_at,
            status=job.status,
            problem="",
        )
    )


def record_job_outcome(session: Session, job: Job, at: datetime) -> None:
    """Record how a job ended in the run that started it, if there is one.

    The run ends with the last of its jobs; one that is the backup of a schedule has ended before,
    and only gets the problem.
    """
    row = session.get(ScheduleJobRow, job.id, with_for_update=True)
    if row is None or JobStatus(row.status).finished:
        return
    row.status, row.problem = job.status.value, problem_of(job)
    run = session.get(ScheduleRunRow, (row.schedule_id, row.planned_at), with_for_update=True)
    if run is None:
        return
    session.flush()
    run.reason = _joined(run.reason, row.problem or remark_of(job))
    jobs = _jobs_of_run(session, run)
    if run.status == RunStatus.RUNNING.value and not run.backup_id:
        ends = [(JobStatus(job.status), job.problem) for job in jobs]
        if all(status.finished for status, _ in ends):
            run.status, run.finished_at = status_of(ends).value, at


def jobs_of(session: Session, run: ScheduleRunRow) -> tuple[str, ...]:
    """Return the IDs of the jobs of a run."""
    return tuple(job.job_id for job in _jobs_of_run(session, run))


def newest_runs(session: Session, schedule_id: str, limit: int) -> tuple[ScheduleRun, ...]:
    """Return the newest runs of a schedule, latest first."""
    query = select(ScheduleRunRow).where(ScheduleRunRow.schedule_id == schedule_id)
    newest = query.order_by(ScheduleRunRow.planned_at.desc()).limit(limit)
    rows = list(session.scalars(newest))
    return _with_jobs(session, rows)


def last_runs(session: Session, schedule_ids: Sequence[str]) -> dict[str, ScheduleRun]:
    """Return the newest run of each schedule that has one."""
    newest = (
        select(ScheduleRunRow.schedule_id, func.max(ScheduleRunRow.planned_at).label("newest"))
        .where(ScheduleRunRow.schedule_id.in_(schedule_ids))
        .group_by(ScheduleRunRow.schedule_id)
        .subquery()
    )
    same = and_(
        ScheduleRunRow.schedule_id == newest.c.schedule_id,
        ScheduleRunRow.planned_at == newest.c.newest,
    )
    rows = list(session.scalars(select(ScheduleRunRow).join(newest, same)))
    return {run.schedule_id: run for run in _with_jobs(session, rows)}


def _with_jobs(session: Session, rows: Sequence[ScheduleRunRow]) -> tuple[ScheduleRun, ...]:
    """Return rows as records; one query reads the jobs of all."""
    found: dict[tuple[str, datetime], list[str]] = {}
    if rows:
        query = select(ScheduleJobRow).where(
            ScheduleJobRow.schedule_id.in_({row.schedule_id for row in rows}),
            ScheduleJobRow.planned_at >= min(row.planned_at for row in rows),
        )
        for job in session.scalars(query.order_by(ScheduleJobRow.job_id)):
            found.setdefault((job.schedule_id, job.planned_at), []).append(job.job_id)
    return tuple(run_record(row, found.get((row.schedule_id, row.planned_at), ())) for row in rows)


def _jobs_of_run(session: Session, run: ScheduleRunRow) -> list[ScheduleJobRow]:
    query = select(ScheduleJobRow).where(
        ScheduleJobRow.schedule_id == run.schedule_id,
        ScheduleJobRow.planned_at == run.planned_at,
    )
    return list(session.scalars(query.order_by(ScheduleJobRow.job_id)))


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)

# SPDX-License-Identifier: Apache-2.0
"""What a run of a schedule starts, in the transaction that claims its planned time."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.backup_rows import (
    add_backup,
    as_backup,
    named_backups,
    unfinished_about,
)
from magnetodb_backup.database.models import BackupRow, JobRow
from magnetodb_backup.database.records import now
from magnetodb_backup.database.retention_guard import policies_of
from magnetodb_backup.database.schedule_runs import add_job, backup_name
from magnetodb_backup.database.setting_models import ScheduleJobRow, ScheduleRow, ScheduleRunRow
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.sample import MOST_SEED, Sample
from magnetodb_backup.domain.backup.sampling import (
    LOOKED_AT,
    choose_sample,
    parameters_of,
    series_of,
)
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.domain.schedule.actions import Action, Verifying
from magnetodb_backup.domain.schedule.records import Schedule

_CREATED = BackupStatus.CREATED.value


def nothing_to_do(session: Session, schedule: Schedule) -> str:
    """Return why a run of the schedule has nothing to start, empty if it has."""
    if schedule.action is Action.VERIFY and not _targets(session, schedule):
        return f"cluster {schedule.cluster!r} has no CREATED backup to verify"
    if schedule.action is Action.EXPIRE and not policies_of(session, schedule.cluster):
        return f"neither cluster {schedule.cluster!r} nor a schedule of it has a retention policy"
    return ""


def begin(session: Session, schedule: Schedule, run: ScheduleRunRow) -> None:
    """Record the backup or the jobs of a run.

    The transaction is serializable, and nothing that the run waits for is unfinished.
    """
    if schedule.action is Action.BACKUP:
        run.backup_id = _add_backup(session, schedule, run)
    elif schedule.action is Action.VERIFY:
        turn = _take_turn(session, schedule)
        verify = schedule.verify or Verifying()
        for backup in _targets(session, schedule):
            if not unfinished_about(session, Subject.backup(backup.id)):
                sample, series = _sample(session, verify, backup, schedule.id, turn)
                parameters = parameters_of(verify.wanted, sample, series)
                add_job(session, run, _verification(backup, parameters))
    else:
        cluster = schedule.cluster
        collects = schedule.action is Action.COLLECT
        parameters = {"dry_run": False, "grace": None} if collects else {}
        subject = Subject.cluster(cluster)
        add_job(session, run, _job(schedule.action.job_kind, subject, cluster, parameters))


def verify_made(session: Session, run: ScheduleRunRow, made: BackupRow) -> None:
    """Record the verification of a backup that a run has made, if its schedule asks for one."""
    row = session.get(ScheduleRow, run.schedule_id)
    if row is None or row.action != Action.BACKUP.value or row.verify is None:
        return
    verify, backup = Verifying.from_json(row.verify), as_backup(made)
    sample, series = _sample(session, verify, backup, row.id, 0)
    add_job(session, run, _verification(backup, parameters_of(verify.wanted, sample, series)))


def _add_backup(session: Session, schedule: Schedule, run: ScheduleRunRow) -> str:
    name = backup_name(schedule.name, run.planned_at)
    if named_backups(session, name):
        name = ""  # a user has taken it: no reason to leave the backup out
    request = replace(schedule.backup, name=name)
    return add_backup(session, request, str(uuid.uuid4()), schedule.cluster).id


def _targets(session: Session, schedule: Schedule) -> Sequence[Backup]:
    """Return the backups that a run verifies, the newest first, locked."""
    query: Select[Any] = select(BackupRow).where(
        BackupRow.cluster == schedule.cluster, BackupRow.status == _CREATED
    )
    query = query.order_by(BackupRow.created_at.desc(), BackupRow.id.desc())
    if schedule.verify is None or schedule.verify.each_in is None:
        query = query.limit(1)
    return [as_backup(row) for row in session.scalars(query.with_for_update())]


def _take_turn(session: Session, schedule: Schedule) -> int:
    """Return the number of the next sample: it is repeated until all its jobs have read theirs."""
    row = session.get(ScheduleRow, schedule.id)
    assert row is not None  # the transaction has locked it
    query = select(ScheduleJobRow).where(ScheduleJobRow.schedule_id == schedule.id)
    last = session.scalars(query.order_by(ScheduleJobRow.planned_at.desc()).limit(1)).first()
    if last is not None:
        of_run = query.where(ScheduleJobRow.planned_at == last.planned_at)
        if all(job.status == JobStatus.DONE.value for job in session.scalars(of_run)):
            row.turn = (row.turn + 1) % (MOST_SEED + 1)
    return row.turn


def _sample(
    session: Session, verify: Verifying, backup: Backup, schedule_id: str, turn: int
) -> tuple[Sample | None, str]:
    """Return the sample of a verification, None to read all data, and its series."""
    if verify.sample is None:
        return None, ""
    if verify.each_in is not None:
        return Sample.of(verify.sample, turn), f"schedule {schedule_id}"
    query = select(JobRow.parameters).where(
        JobRow.kind == JobKind.VERIFICATION, JobRow.cluster == backup.cluster
    )
    newest = query.order_by(JobRow.created_at.desc(), JobRow.id).limit(LOOKED_AT)
    series = series_of(backup, verify.sample)
    earlier = list(session.scalars(newest))
    return choose_sample(verify.sample, None, series, earlier, _draw), series


def _draw() -> int:
    return secrets.randbelow(MOST_SEED // 2)


def _verification(backup: Backup, parameters: dict[str, Any]) -> JobRow:
    return _job(JobKind.VERIFICATION, Subject.backup(backup.id), backup.cluster, parameters)


def _job(kind: str, subject: Subject, cluster: str, parameters: dict[str, Any]) -> JobRow:
    return JobRow.pending(
        str(uuid.uuid4()), kind, subject, cluster, created_at=now(), parameters=parameters
    )

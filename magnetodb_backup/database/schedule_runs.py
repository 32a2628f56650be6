# SPDX-License-Identifier: Apache-2.0
"""The runs of schedules, and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.models import ScheduleRunRow
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.schedule.records import RunStatus, ScheduleRun

_FIELDS = tuple(f.name for f in fields(ScheduleRun))


def run_record(row: ScheduleRunRow) -> ScheduleRun:
    """Return a row as a record."""
    values = {name: getattr(row, name) for name in _FIELDS}
    return ScheduleRun(**{**values, "status": RunStatus(row.status)})


def record_outcome(
    session: Session, backup_id: str, status: BackupStatus, error: str, at: datetime
) -> None:
    """Record the status in which a backup ended in the run that began it, if there is one.

    Only the first end counts: a later deletion of the backup does not change how its run ended.
    """
    query = select(ScheduleRunRow).where(
        ScheduleRunRow.backup_id == backup_id, ScheduleRunRow.status == RunStatus.RUNNING.value
    )
    for row in session.scalars(query):
        row.status, row.finished_at = RunStatus(status.value).value, at
        row.reason = "; ".join(text for text in (row.reason, error) if text)


def newest_runs(session: Session, schedule_id: str, limit: int) -> tuple[ScheduleRun, ...]:
    """Return the newest runs of a schedule, latest first."""
    query = select(ScheduleRunRow).where(ScheduleRunRow.schedule_id == schedule_id)
    rows = session.scalars(query.order_by(ScheduleRunRow.planned_at.desc()).limit(limit))
    return tuple(run_record(row) for row in rows)


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
    rows = session.scalars(select(ScheduleRunRow).join(newest, same))
    return {row.schedule_id: run_record(row) for row in rows}

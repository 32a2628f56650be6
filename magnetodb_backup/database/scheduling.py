# SPDX-License-Identifier: Apache-2.0
"""Decides the planned times of schedules: each once, whichever conductors look at them.

A planned time is claimed by the row of its run, whose key is schedule and planned time, in the
transaction that records the backup and its job. What is due is decided by the database's clock.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from sqlalchemy import select
from sqlalchemy.orm import Session

from magnetodb_backup.database.backup_rows import add_backup, named_backups, unfinished_about
from magnetodb_backup.database.models import ScheduleRow, ScheduleRunRow
from magnetodb_backup.database.schedule_runs import run_record
from magnetodb_backup.database.schedules import SCHEDULES, busy_backup, schedule_record, time_in
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.jobs import JobKind, Subject
from magnetodb_backup.domain.schedule.decision import Decision, decide
from magnetodb_backup.domain.schedule.records import (
    RunStatus,
    Schedule,
    ScheduleRun,
    ScheduleStatus,
)


@dataclass(frozen=True)
class Survey:
    """The active schedules, and by cluster the backup that is CREATING, at a moment."""

    now: datetime
    schedules: tuple[Schedule, ...]
    busy: dict[str, str]


class SchedulingStore:
    """Begins the runs of schedules; each method is one transaction.

    Tests set another ``clock``, in seconds since the epoch.
    """

    def __init__(self, transactions: Transactions, clock: Callable[[], float] | None) -> None:
        self._transactions, self._clock = transactions, clock

    def survey(self) -> Survey:
        """Return what a conductor needs to know to decide; it locks nothing."""

        def work(session: Session) -> Survey:
            query = select(ScheduleRow).where(ScheduleRow.status == ScheduleStatus.ACTIVE.value)
            rows = session.scalars(query.order_by(ScheduleRow.created_at, ScheduleRow.id))
            schedules = tuple(schedule_record(row) for row in rows)
            busy = {name: busy_backup(session, name) for name in {s.cluster for s in schedules}}
            return Survey(time_in(session, self._clock), schedules, busy)

        return self._transactions.run(work)

    def advance(self, schedule_id: str) -> ScheduleRun | None:
        """Decide the schedule's latest planned time that is due; record its run and its backup.

        Returns None if no time is due, if its run waits, or if another conductor decided it.

        :raises NotFound: if there is no such schedule.
        :raises InvalidValue: if its expression or its zone is not valid.
        """

        def work(session: Session) -> ScheduleRun | None:
            row = SCHEDULES.get(session, schedule_id, lock=True)
            if row.status != ScheduleStatus.ACTIVE.value:
                return None
            now = time_in(session, self._clock)
            if row.planned_until > now:
                # The clock was set back. Times that it passes again have their runs.
                row.planned_until = now
                return None
            schedule = schedule_record(row)
            decision = decide(schedule, now, busy_backup(session, row.cluster))
            if decision is None:
                return None
            row.planned_until = decision.planned_at
            if session.get(ScheduleRunRow, (schedule_id, decision.planned_at)) is not None:
                return None
            return run_record(_add_run(session, schedule, decision, now))

        return self._transactions.write(work, serializable=True)

    def run_now(self, schedule_id: str) -> ScheduleRun:
        """Record a run that begins now, beside those that are planned, and its backup.

        :raises NotFound: if there is no such schedule.
        """

        def work(session: Session) -> ScheduleRun:
            schedule = schedule_record(SCHEDULES.get(session, schedule_id, lock=True))
            now = time_in(session, self._clock)
            while session.get(ScheduleRunRow, (schedule_id, now)) is not None:
                now += timedelta(microseconds=1)
            decision = Decision(RunStatus.RUNNING, now, now)
            return run_record(_add_run(session, schedule, decision, now, manual=True))

        return self._transactions.write(work, serializable=True)

    def cancel_late(self) -> tuple[str, ...]:
        """Ask for the end of backups that are not complete in time; return their IDs."""

        def work(session: Session) -> tuple[str, ...]:
            now = time_in(session, self._clock)
            query = select(ScheduleRunRow).where(
                ScheduleRunRow.finish_by < now, ScheduleRunRow.status == RunStatus.RUNNING.value
            )
            late = list(session.scalars(query.with_for_update()))
            for row in late:
                assert row.finish_by is not None
                limit = f"{row.finish_by:%Y-%m-%d %H:%M:%S} UTC"
                notes = [row.reason, f"cancelled because it was not complete by {limit}"]
                row.reason, row.finish_by = "; ".join(text for text in notes if text), None
                for job in unfinished_about(session, Subject.backup(row.backup_id)):
                    if job.kind == JobKind.BACKUP:
                        job.cancel_requested, job.updated_at = True, datetime.now(timezone.utc)
            return tuple(row.backup_id for row in late)

        return self._transactions.write(work)


def _add_run(
    session: Session, schedule: Schedule, decision: Decision, now: datetime, *, manual: bool = False
) -> ScheduleRunRow:
    row = ScheduleRunRow(
        schedule_id=schedule.id,
        planned_at=decision.planned_at,
        due_at=decision.due_at,
        status=decision.status.value,
        decided_at=now,
        backup_id="",
        reason=decision.reason,
        manual=manual,
    )
    if decision.status is RunStatus.RUNNING:
        row.backup_id = _add_backup(session, schedule, decision.planned_at).id
        within = schedule.timing.finish_within
        # A run that began late has its whole time, too.
        begun = max(decision.due_at, now)
        row.finish_by = None if within is None else begun + timedelta(seconds=within)
    else:
        row.finished_at = now
    session.add(row)
    session.flush()
    return row


def _add_backup(session: Session, schedule: Schedule, planned: datetime) -> Backup:
    name = f"{schedule.name}-{planned:%Y%m%dT%H%M%SZ}"
    if named_backups(session, name):
        name = ""  # a user has taken it: no reason to leave the backup out
    request = replace(schedule.backup, name=name)
    return add_backup(session, request, str(uuid.uuid4()), schedule.cluster)

# SPDX-License-Identifier: Apache-2.0
"""Decides the planned times of schedules: each once, whichever conductors look at them.

A planned time is claimed by the row of its run, whose key is schedule and planned time, in the
transaction that records the backup or the jobs. What is due is decided by the database's clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from sqlalchemy import select
from sqlalchemy.orm import Session

from magnetodb_backup.database.backup_rows import UNFINISHED, unfinished_about
from magnetodb_backup.database.models import JobRow
from magnetodb_backup.database.schedule_actions import begin, nothing_to_do
from magnetodb_backup.database.schedule_runs import jobs_of, run_record
from magnetodb_backup.database.schedules import SCHEDULES, Busy, schedule_record, time_in
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.database.setting_models import ScheduleRow, ScheduleRunRow
from magnetodb_backup.domain.jobs import JobKind, Subject
from magnetodb_backup.domain.schedule.actions import Action
from magnetodb_backup.domain.schedule.decision import Decision, decide
from magnetodb_backup.domain.schedule.records import (
    RunStatus,
    Schedule,
    ScheduleRun,
    ScheduleStatus,
)
from magnetodb_backup.errors import Conflict


@dataclass(frozen=True)
class Survey:
    """The active schedules at a moment, and by their IDs what their runs wait for."""

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
            busy = Busy(session)
            waits = {schedule.id: busy.of(schedule) for schedule in schedules}
            return Survey(time_in(session, self._clock), schedules, waits)

        return self._transactions.run(work)

    def advance(self, schedule_id: str) -> ScheduleRun | None:
        """Decide the schedule's latest planned time that is due; record its run and its work.

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
            decision = decide(schedule, now, Busy(session).of(schedule))
            if decision is None:
                return None
            if decision.status is RunStatus.RUNNING and (why := nothing_to_do(session, schedule)):
                decision = replace(decision, status=RunStatus.SKIPPED, reason=why)
            row.planned_until = decision.planned_at
            if session.get(ScheduleRunRow, (schedule_id, decision.planned_at)) is not None:
                return None
            return _add_run(session, schedule, decision, now)

        return self._transactions.write(work, serializable=True)

    def run_now(self, schedule_id: str) -> ScheduleRun:
        """Record a run that begins now, beside those that are planned, and its work.

        :raises NotFound: if there is no such schedule.
        :raises Conflict: unless the run makes a backup, if there is nothing to start, or if work of
            the same kind on the cluster is not finished.
        """

        def work(session: Session) -> ScheduleRun:
            schedule = schedule_record(SCHEDULES.get(session, schedule_id, lock=True))
            now = time_in(session, self._clock)
            while session.get(ScheduleRunRow, (schedule_id, now)) is not None:
                now += timedelta(microseconds=1)
            if why := nothing_to_do(session, schedule):
                raise Conflict(f"schedule {schedule.name!r} cannot run: {why}")
            if schedule.action is not Action.BACKUP and (busy := Busy(session).of(schedule)):
                raise Conflict(
                    f"schedule {schedule.name!r} cannot run: job {busy} of the cluster is not "
                    "finished; wait for its end or cancel it"
                )
            decision = Decision(RunStatus.RUNNING, now, now)
            return _add_run(session, schedule, decision, now, manual=True)

        return self._transactions.write(work, serializable=True)

    def cancel_late(self) -> tuple[str, ...]:
        """Ask for the end of work that is not complete in time.

        Return the IDs of the backups and of the other jobs.
        """

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
                for job in _unfinished_of(session, row):
                    job.cancel_requested, job.updated_at = True, datetime.now(timezone.utc)
            return tuple(
                id_
                for row in late
                for id_ in ([row.backup_id] if row.backup_id else jobs_of(session, row))
            )

        return self._transactions.write(work)


def _add_run(
    session: Session, schedule: Schedule, decision: Decision, now: datetime, *, manual: bool = False
) -> ScheduleRun:
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
        begin(session, schedule, row)
        if not row.backup_id and not jobs_of(session, row):
            row.status, row.reason = RunStatus.SKIPPED.value, "all backups are in other jobs' use"
            row.finished_at = now
        within = schedule.timing.finish_within
        # A run that began late has its whole time, too.
        begun = max(decision.due_at, now)
        row.finish_by = None if within is None else begun + timedelta(seconds=within)
    else:
        row.finished_at = now
    session.add(row)
    session.flush()
    return run_record(row, jobs_of(session, row))


def _unfinished_of(session: Session, run: ScheduleRunRow) -> list[JobRow]:
    """Return the jobs that make the backup of a run, or that it has started, locked."""
    if run.backup_id:
        about = unfinished_about(session, Subject.backup(run.backup_id))
        return [job for job in about if job.kind == JobKind.BACKUP]
    query = select(JobRow).where(
        JobRow.id.in_(jobs_of(session, run)), JobRow.status.in_(UNFINISHED)
    )
    return list(session.scalars(query.with_for_update()))

# SPDX-License-Identifier: Apache-2.0
"""Schedules: finding, listing and changing them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Double, delete, literal, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.backup_rows import UNFINISHED
from magnetodb_backup.database.clock import DatabaseTime
from magnetodb_backup.database.models import BackupRow, JobRow
from magnetodb_backup.database.records import Page, Rows
from magnetodb_backup.database.schedule_runs import last_runs, newest_runs
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.database.setting_changes import record_change
from magnetodb_backup.database.setting_models import ScheduleJobRow, ScheduleRow, ScheduleRunRow
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, SubjectKind
from magnetodb_backup.domain.retention.policy import policy_from_json
from magnetodb_backup.domain.schedule.actions import Action, Verifying
from magnetodb_backup.domain.schedule.decision import state_of
from magnetodb_backup.domain.schedule.records import (
    BACKUP_FIELDS,
    Missed,
    Overlap,
    Schedule,
    ScheduleRequest,
    ScheduleState,
    ScheduleStatus,
    Timing,
)
from magnetodb_backup.domain.settings.records import SettingKind
from magnetodb_backup.errors import Conflict

SCHEDULES = Rows(ScheduleRow, "schedule", ScheduleStatus, frozenset())
_COLUMNS = ("id", "name", "cluster", "planned_until", "created_at", "updated_at")


def schedule_record(row: ScheduleRow) -> Schedule:
    """Return a row as a record; fields of a request that a newer version stored are left out."""
    timing = Timing(
        row.cron, row.zone, row.jitter, row.begin_within, row.finish_within,
        Overlap(row.overlap), Missed(row.missed),
    )  # fmt: skip
    stored = {name: value for name, value in row.backup.items() if name in BACKUP_FIELDS}
    stored["data_centers"] = tuple(stored.get("data_centers", ()))
    backup = BackupRequest(**stored, cluster=row.cluster)
    values = {name: getattr(row, name) for name in _COLUMNS}
    return Schedule(
        **values,
        status=ScheduleStatus(row.status),
        timing=timing,
        backup=backup,
        action=Action(row.action),
        verify=None if row.verify is None else Verifying.from_json(row.verify),
        retention=None if row.retention is None else policy_from_json(row.retention),
    )


def busy_with(session: Session, cluster: str, action: Action) -> str:
    """Return the ID of what a run with this action waits for, empty if there is nothing.

    It is the oldest backup of the cluster that is CREATING, for another action the oldest job of
    the kind that it starts. A verification also waits for the job whose backup is CREATED already.
    """
    if action is Action.BACKUP:
        creating = select(BackupRow.id).where(
            BackupRow.cluster == cluster, BackupRow.status == BackupStatus.CREATING.value
        )
        oldest = creating.order_by(BackupRow.created_at, BackupRow.id).limit(1)
        return session.scalars(oldest).first() or ""
    unfinished = select(JobRow.id).where(JobRow.cluster == cluster, JobRow.status.in_(UNFINISHED))
    jobs = [unfinished.where(JobRow.kind == action.job_kind)]
    if action is Action.VERIFY:
        created = select(BackupRow.id).where(
            BackupRow.cluster == cluster, BackupRow.status == BackupStatus.CREATED.value
        )
        jobs.append(
            unfinished.where(
                JobRow.kind == JobKind.BACKUP,
                JobRow.subject_kind == SubjectKind.BACKUP.value,
                JobRow.subject_id.in_(created),
            )
        )
    for query in jobs:
        if found := session.scalars(query.order_by(JobRow.created_at, JobRow.id).limit(1)).first():
            return found
    return ""


class Busy:
    """What runs wait for, read once for each cluster and action."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._found: dict[tuple[str, Action], str] = {}

    def of(self, schedule: Schedule) -> str:
        """Return the ID of what a run of the schedule waits for, empty if there is nothing."""
        key = (schedule.cluster, schedule.action)
        if key not in self._found:
            self._found[key] = busy_with(self._session, *key)
        return self._found[key]


def time_in(session: Session, clock: Callable[[], float] | None) -> datetime:
    """Return the time by the database's clock, or by ``clock`` if there is one."""
    now = DatabaseTime() if clock is None else literal(clock(), Double())
    return datetime.fromtimestamp(float(session.scalars(select(now)).one()), timezone.utc)


def columns_of(request: ScheduleRequest) -> Mapping[str, Any]:
    """Return the columns of what a user asks for, by name."""
    stored = asdict(request.backup)
    return {
        "name": request.name,
        **request.timing.as_json(),
        "backup": {name: stored[name] for name in BACKUP_FIELDS},
        "action": request.action.value,
        "verify": None if request.verify is None else request.verify.as_json(),
        "retention": None if request.retention is None else asdict(request.retention),
    }


class ScheduleStore:
    """Reads and writes schedules; each method is one transaction.

    Times are by the database's clock. Tests set another ``clock``, in seconds since the epoch.
    """

    def __init__(self, transactions: Transactions, clock: Callable[[], float] | None) -> None:
        self._transactions, self._clock = transactions, clock

    def create(self, request: ScheduleRequest, cluster: str) -> Schedule:
        """Record a schedule; planned times from now on count.

        :raises Conflict: if a schedule has the name.
        """

        def work(session: Session) -> Schedule:
            refuse_name(session, request.name, "")
            now = time_in(session, self._clock)
            status = ScheduleStatus.PAUSED if request.paused else ScheduleStatus.ACTIVE
            row = ScheduleRow(
                id=str(uuid.uuid4()), cluster=cluster, status=status.value, created_at=now,
                updated_at=now, planned_until=now, **columns_of(request),
            )  # fmt: skip
            session.add(row)
            record_change(session, SettingKind.SCHEDULE, row.id, cluster)
            session.flush()
            return schedule_record(row)

        return self._transactions.write(work)

    def get(self, schedule_id: str) -> Schedule:
        """Return the schedule with exactly this ID; NotFound otherwise."""
        return self._transactions.run(lambda s: schedule_record(SCHEDULES.get(s, schedule_id)))

    def find(self, id_or_name: str) -> Schedule:
        """Return the schedule by ID, by name, or by 8 or more digits of its ID.

        :raises NotFound: if there is none.
        :raises Conflict: if several match, naming them.
        """

        def work(session: Session) -> Schedule:
            query = select(ScheduleRow).where(ScheduleRow.name == id_or_name)
            return schedule_record(
                SCHEDULES.find(session, id_or_name, lambda: session.scalars(query).all())
            )

        return self._transactions.run(work)

    def state(self, schedule_id: str, *, runs: int = 20) -> ScheduleState:
        """Return a schedule with its newest ``runs``, and when it runs next.

        :raises NotFound: if there is no such schedule.
        """

        def work(session: Session) -> ScheduleState:
            schedule = schedule_record(SCHEDULES.get(session, schedule_id))
            return state_of(
                schedule,
                time_in(session, self._clock),
                Busy(session).of(schedule),
                newest_runs(session, schedule_id, max(1, runs)),
            )

        return self._transactions.run(work)

    def list(
        self,
        *,
        limit: int | None = None,
        marker: str | None = None,
        status: str | None = None,
        cluster: str | None = None,
    ) -> tuple[ScheduleState, ...]:
        """Return schedules, the newest first, each with its last run and its next.

        :raises InvalidValue: for a status or marker that does not exist, or a limit below 1.
        """
        page = Page(limit, marker, status, cluster)
        SCHEDULES.check_page(page)

        def work(session: Session) -> tuple[ScheduleState, ...]:
            rows = SCHEDULES.page(session, page, key="created_at", descending=True)
            schedules = [schedule_record(row) for row in rows]
            now = time_in(session, self._clock)
            busy = Busy(session)
            last = last_runs(session, [s.id for s in schedules])
            return tuple(
                state_of(s, now, busy.of(s), (last[s.id],) if s.id in last else ())
                for s in schedules
            )

        return self._transactions.run(work)

    def update(self, schedule_id: str, request: ScheduleRequest) -> Schedule:
        """Change a schedule to ``request``, except whether it is paused.

        With other planned times, those from now on count.

        :raises NotFound: if there is no such schedule.
        :raises Conflict: if another schedule has the name.
        """

        def work(session: Session) -> Schedule:
            row = SCHEDULES.get(session, schedule_id, lock=True)
            refuse_name(session, request.name, schedule_id)
            now, timing = time_in(session, self._clock), request.timing
            if (row.cron, row.zone, row.jitter) != (timing.cron, timing.zone, timing.jitter):
                row.planned_until = now
            for name, value in columns_of(request).items():
                setattr(row, name, value)
            row.updated_at = now
            record_change(session, SettingKind.SCHEDULE, row.id, row.cluster)
            session.flush()
            return schedule_record(row)

        return self._transactions.write(work)

    def set_status(self, schedule_id: str, status: ScheduleStatus) -> Schedule:
        """Pause or resume a schedule. Planned times of the pause do not count as missed.

        :raises NotFound: if there is no such schedule.
        :raises Conflict: if it has the status.
        """

        def work(session: Session) -> Schedule:
            row = SCHEDULES.get(session, schedule_id, lock=True)
            if row.status == status.value:
                raise Conflict(f"schedule {row.name!r} is already {row.status}")
            now = time_in(session, self._clock)
            row.status, row.updated_at = status.value, now
            if status is ScheduleStatus.ACTIVE:
                row.planned_until = now
            record_change(session, SettingKind.SCHEDULE, row.id, row.cluster)
            session.flush()
            return schedule_record(row)

        return self._transactions.write(work)

    def delete(self, schedule_id: str) -> None:
        """Remove a schedule and the records of its runs; its backups stay.

        :raises NotFound: if there is no such schedule.
        """

        def work(session: Session) -> None:
            row = SCHEDULES.get(session, schedule_id, lock=True)
            record_change(session, SettingKind.SCHEDULE, row.id, row.cluster)
            session.delete(row)
            for made in (ScheduleRunRow, ScheduleJobRow):
                session.execute(delete(made).where(made.schedule_id == schedule_id))

        self._transactions.write(work)


def refuse_name(session: Session, name: str, own_id: str) -> None:
    """Raise Conflict if another schedule than ``own_id`` has the name."""
    query = select(ScheduleRow.id).where(ScheduleRow.name == name, ScheduleRow.id != own_id)
    if other := session.scalars(query).first():
        raise Conflict(f"schedule {other} already has the name {name!r}")

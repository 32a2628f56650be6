# SPDX-License-Identifier: Apache-2.0
"""Removes what jobs, schedules and workers leave in the database, by its age."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from magnetodb_backup.database.backup_rows import UNFINISHED
from magnetodb_backup.database.clock import DatabaseTime
from magnetodb_backup.database.models import (
    AffectedBackupRow,
    BackupRow,
    BackupTableRow,
    JobRow,
    JobStepRow,
    NodeBackupRow,
    NodeRestoreRow,
    NodeRow,
    ProofRow,
    RestoreRow,
)
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.database.setting_models import ScheduleJobRow, ScheduleRunRow, SettingCopyRow
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobStatus, SubjectKind
from magnetodb_backup.domain.restore.records import RestoreStatus
from magnetodb_backup.domain.schedule.records import RunStatus

_ENDED = tuple(s.value for s in JobStatus if s.finished)
_UNSYNCHRONIZED = {"synchronize_session": False}
_ENDED_WITHOUT = (BackupStatus.CREATE_FAILED.value, BackupStatus.CANCELLED.value)


class PruningStore:
    """Removes old rows; each method is one transaction for at most ``limit`` things.

    Ages are in seconds by the database's clock, so that a conductor whose clock is wrong removes
    nothing early. Several conductors may call these methods at the same time. Nothing of a job
    that is not finished is removed, nor of what such a job is about.
    """

    def __init__(self, transactions: Transactions, clock: Callable[[], float] | None) -> None:
        self._transactions, self._clock = transactions, clock

    def steps(self, age: float, limit: int) -> int:
        """Remove the steps of jobs that ended ``age`` seconds ago; return of how many jobs."""

        def work(session: Session) -> int:
            ids = select(JobRow.id).where(
                JobRow.status.in_(_ENDED),
                JobRow.updated_at < self._before(session, age),
                exists().where(JobStepRow.job_id == JobRow.id),
            )
            found = list(session.scalars(ids.order_by(JobRow.updated_at).limit(limit)))
            _remove(session, JobStepRow.job_id, found)
            return len(found)

        return self._transactions.write(work)

    def jobs(self, age: float, limit: int) -> int:
        """Remove jobs that ended ``age`` seconds ago; return how many.

        The newest job of each kind about a subject stays: it says how the last backup,
        verification or deletion of it ended.
        """
        newer = aliased(JobRow)

        def work(session: Session) -> int:
            ids = select(JobRow.id).where(
                JobRow.status.in_(_ENDED),
                JobRow.updated_at < self._before(session, age),
                exists().where(
                    newer.subject_kind == JobRow.subject_kind,
                    newer.subject_id == JobRow.subject_id,
                    newer.kind == JobRow.kind,
                    newer.cluster == JobRow.cluster,  # a survey has no subject
                    or_(
                        newer.created_at > JobRow.created_at,
                        and_(newer.created_at == JobRow.created_at, newer.id > JobRow.id),
                    ),
                ),
            )
            found = list(session.scalars(ids.order_by(JobRow.updated_at).limit(limit)))
            _remove_jobs(session, found)
            return len(found)

        return self._transactions.write(work)

    def backups(self, age: float, limit: int) -> int:
        """Remove the records of backups that are gone since ``age`` seconds; return how many.

        These are DELETED ones that are purged, and CREATE_FAILED and CANCELLED ones that no node
        took part in. Others may have manifests in the store: an undeletion needs them, or their
        deletion has still to remove them, so that a collection can free their packs.
        """

        def work(session: Session) -> int:
            before = self._before(session, age)
            found = _old(
                session,
                BackupRow,
                SubjectKind.BACKUP,
                before,
                or_(_purged(before), _never_begun()),
                ~exists().where(RestoreRow.backup_id == BackupRow.id),
            )
            ids = list(session.scalars(found.limit(limit)))
            columns = (
                NodeBackupRow.backup_id, ProofRow.backup_id, AffectedBackupRow.backup_id,
                BackupTableRow.backup_id,
                SettingCopyRow.subject, BackupRow.id,
            )  # fmt: skip
            for column in columns:
                _remove(session, column, ids)
            _remove_jobs_about(session, SubjectKind.BACKUP, ids)
            return len(ids)

        return self._transactions.write(work)

    def restores(self, age: float, limit: int) -> int:
        """Remove the records of restores that ended ``age`` seconds ago; return how many."""

        def work(session: Session) -> int:
            found = _old(
                session,
                RestoreRow,
                SubjectKind.RESTORE,
                self._before(session, age),
                RestoreRow.status != RestoreStatus.RESTORING.value,
            )
            ids = list(session.scalars(found.limit(limit)))
            for column in (NodeRestoreRow.restore_id, RestoreRow.id):
                _remove(session, column, ids)
            _remove_jobs_about(session, SubjectKind.RESTORE, ids)
            return len(ids)

        return self._transactions.write(work)

    def schedule_runs(self, age: float, limit: int) -> int:
        """Remove the runs of schedules that ended ``age`` seconds ago; return how many.

        The newest run of each schedule stays, and each that is not finished or whose backup has a
        record: the retention policy of its schedule decides about that backup.
        """

        def work(session: Session) -> int:
            newer = aliased(ScheduleRunRow)
            query = select(ScheduleRunRow.schedule_id, ScheduleRunRow.planned_at).where(
                ScheduleRunRow.status != RunStatus.RUNNING.value,
                func.coalesce(ScheduleRunRow.finished_at, ScheduleRunRow.decided_at)
                < self._before(session, age),
                exists().where(
                    newer.schedule_id == ScheduleRunRow.schedule_id,
                    newer.planned_at > ScheduleRunRow.planned_at,
                ),
                ~exists().where(BackupRow.id == ScheduleRunRow.backup_id),
            )
            found = session.execute(query.order_by(ScheduleRunRow.planned_at).limit(limit)).all()
            for schedule_id, planned_at in found:
                same = (ScheduleRunRow.schedule_id == schedule_id) & (
                    ScheduleRunRow.planned_at == planned_at
                )
                of_jobs = (ScheduleJobRow.schedule_id == schedule_id) & (
                    ScheduleJobRow.planned_at == planned_at
                )
                for statement in (
                    delete(ScheduleRunRow).where(same),
                    delete(ScheduleJobRow).where(of_jobs),
                ):
                    session.execute(statement, execution_options=_UNSYNCHRONIZED)
            return len(found)

        return self._transactions.write(work)

    def workers(self, age: float, limit: int) -> int:
        """Remove the reports of workers that were silent for ``age`` seconds; return how many.

        A worker that starts again reports again.
        """

        def work(session: Session) -> int:
            silent = NodeRow.last_seen < self._before(session, age).timestamp()
            query = select(NodeRow.worker_id).where(silent).order_by(NodeRow.last_seen)
            found = list(session.scalars(query.limit(limit)))
            # One that has reported since it was read stays.
            removed = delete(NodeRow).where(NodeRow.worker_id.in_(found), silent)
            session.execute(removed, execution_options=_UNSYNCHRONIZED)
            return len(found)

        return self._transactions.write(work)

    def _before(self, session: Session, age: float) -> datetime:
        clock = self._clock
        now = float(clock() if clock else session.execute(select(DatabaseTime())).scalar_one())
        return datetime.fromtimestamp(now, timezone.utc) - timedelta(seconds=age)


def _purged(before: datetime) -> ColumnElement[bool]:
    """Choose deleted backups that left nothing but packs; older releases kept nothing else."""
    return and_(
        BackupRow.status == BackupStatus.DELETED.value,
        or_(BackupRow.purged_at < before, BackupRow.deleted_at.is_(None)),
    )


def _never_begun() -> ColumnElement[bool]:
    """Choose backups that ended before a node took part, which may have stored a manifest."""
    return and_(
        BackupRow.status.in_(_ENDED_WITHOUT),
        ~exists().where(NodeBackupRow.backup_id == BackupRow.id),
    )


def _old(
    session: Session,
    row: type[BackupRow | RestoreRow],
    subject: SubjectKind,
    before: datetime,
    *conditions: ColumnElement[bool],
) -> Any:
    """Return a query for the IDs of records that ended earlier and that no job works on.

    The rows are locked: a status that changes meanwhile is seen.
    """
    ended: ColumnElement[datetime] = func.coalesce(row.finished_at, row.updated_at)
    works = exists().where(
        JobRow.subject_kind == subject.value,
        JobRow.subject_id == row.id,
        JobRow.status.in_(UNFINISHED),
    )
    query = select(row.id).where(*conditions, ended < before, ~works)
    return query.order_by(row.id).with_for_update()


def _remove(session: Session, column: InstrumentedAttribute[str], ids: Collection[str]) -> None:
    """Remove the rows of the column's table that have one of these values in it."""
    if ids:
        statement = delete(column.class_).where(column.in_(ids))
        session.execute(statement, execution_options=_UNSYNCHRONIZED)


def _remove_jobs(session: Session, ids: Collection[str]) -> None:
    for column in (JobStepRow.job_id, JobRow.id):
        _remove(session, column, ids)


def _remove_jobs_about(session: Session, kind: SubjectKind, subjects: Collection[str]) -> None:
    if subjects:
        query = select(JobRow.id).where(
            JobRow.subject_kind == kind.value, JobRow.subject_id.in_(subjects)
        )
        _remove_jobs(session, list(session.scalars(query)))

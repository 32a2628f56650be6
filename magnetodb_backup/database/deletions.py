# SPDX-License-Identifier: Apache-2.0
"""What happens to the records of deleted backups: undeletion and purge."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timezone

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.backup_rows import BACKUPS, as_backup, unfinished_about
from magnetodb_backup.database.clock import DatabaseTime
from magnetodb_backup.database.findings import forget_objects
from magnetodb_backup.database.models import BackupRow, JobRow
from magnetodb_backup.database.proofs import forget_proofs
from magnetodb_backup.database.records import now
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.backup.deletion import check_undeletable, is_due
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus, check_transition
from magnetodb_backup.domain.jobs import Job, JobKind, Subject
from magnetodb_backup.errors import Conflict


class DeletionStore:
    """Reads and writes the deletion of backups; each method is one transaction.

    Times are by the database's clock: those of the conductors may differ. Tests set another
    ``clock``, which returns seconds since the epoch.
    """

    def __init__(self, transactions: Transactions, clock: Callable[[], float] | None) -> None:
        self._transactions, self._clock = transactions, clock

    def _time(self, session: Session) -> datetime:
        if self._clock is not None:
            seconds = self._clock()
        else:
            seconds = float(session.scalars(select(DatabaseTime())).one())
        return datetime.fromtimestamp(seconds, timezone.utc)

    def now(self) -> datetime:
        """Return the time of the database."""
        return self._transactions.run(self._time)

    def record(
        self,
        backup_id: str,
        deleted_at: datetime,
        *,
        undelete_until: datetime | None = None,
        purged_at: datetime | None = None,
    ) -> Backup:
        """Record that a backup is DELETED, and until when it can be undeleted; may be repeated.

        :raises Conflict: if the backup is not DELETING.
        """

        def work(session: Session) -> Backup:
            row = BACKUPS.get(session, backup_id, lock=True)
            check_transition(backup_id, BackupStatus(row.status), BackupStatus.DELETED)
            row.status, row.error = BackupStatus.DELETED.value, ""
            BACKUPS.set(
                row,
                {
                    "deleted_at": deleted_at,
                    "undelete_until": undelete_until,
                    "purged_at": purged_at,
                },
            )
            row.finished_at = row.finished_at or row.updated_at
            forget_proofs(session, backup_id)
            forget_objects(session, backup_id)
            session.flush()
            return as_backup(row)

        return self._transactions.write(work)

    def request_undeletion(self, backup_id: str) -> Job:
        """Record the job that undeletes a backup; the backup stays DELETED until then.

        :raises NotFound: if there is no such backup.
        :raises Conflict: if the backup is not deleted, if its undelete period is over, if it is
            purged, or if another job about it is not finished.
        """

        def work(session: Session) -> Job:
            row = BACKUPS.get(session, backup_id, lock=True)  # serialises requests about one backup
            for other in unfinished_about(session, Subject.backup(backup_id)):
                if other.kind == JobKind.UNDELETION:
                    raise Conflict(
                        f"an undeletion of backup {backup_id} is {other.status}; wait for its end"
                    )
            check_undeletable(as_backup(row), self._time(session))
            job = JobRow.pending(
                str(uuid.uuid4()), JobKind.UNDELETION, Subject.backup(backup_id), row.cluster,
                created_at=now(), parameters={},
            )  # fmt: skip
            session.add(job)
            session.flush()
            return job.record()

        return self._transactions.write(work)

    def undone(self, backup_id: str, status: BackupStatus, finished_at: datetime) -> Backup:
        """Record that a deleted backup is ``status`` again; ``finished_at`` is its commit's time.

        May be repeated.

        :raises Conflict: if the backup is not deleted.
        """

        def work(session: Session) -> Backup:
            row = BACKUPS.get(session, backup_id, lock=True)
            check_transition(backup_id, BackupStatus(row.status), status)
            row.status, row.error = status.value, ""
            BACKUPS.set(row, {"deleted_at": None, "undelete_until": None, "purged_at": None})
            row.finished_at = finished_at
            session.flush()
            return as_backup(row)

        return self._transactions.write(work)

    def due(self, cluster: str) -> tuple[str, ...]:
        """Return the IDs of the cluster's deleted backups that are to be purged."""

        def work(session: Session) -> tuple[str, ...]:
            now = self._time(session)
            query = select(BackupRow.id).where(
                BackupRow.cluster == cluster,
                BackupRow.status == BackupStatus.DELETED.value,
                BackupRow.deleted_at.is_not(None),
                BackupRow.purged_at.is_(None),
                or_(BackupRow.undelete_until.is_(None), BackupRow.undelete_until <= now),
            )
            return tuple(session.scalars(query.order_by(BackupRow.deleted_at, BackupRow.id)))

        return self._transactions.run(work)

    def begin_purge(self, backup_id: str) -> bool:
        """Return whether a backup is to be purged; no undeletion is accepted from then on.

        False if its undelete period is not over, if it is purged, or while it is being undeleted.
        """

        def work(session: Session) -> bool:
            row = BACKUPS.get(session, backup_id, lock=True)
            if not is_due(as_backup(row), self._time(session)):
                return False
            jobs = unfinished_about(session, Subject.backup(backup_id))
            if any(job.kind == JobKind.UNDELETION for job in jobs):
                return False
            BACKUPS.set(row, {"undelete_until": None})
            return True

        return self._transactions.write(work)

    def purged(self, backup_id: str) -> None:
        """Record that nothing of a deleted backup is in the store but packs; may be repeated."""

        def work(session: Session) -> None:
            row = BACKUPS.get(session, backup_id, lock=True)
            if row.status == BackupStatus.DELETED.value and row.purged_at is None:
                BACKUPS.set(row, {"undelete_until": None, "purged_at": self._time(session)})

        self._transactions.write(work)

# SPDX-License-Identifier: Apache-2.0
"""Which clusters the service has known, and which of them nothing is left of."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.backup_rows import UNFINISHED
from magnetodb_backup.database.models import BackupRow, JobRow, NodeRow
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.database.setting_models import RetentionPolicyRow, ScheduleRow
from magnetodb_backup.domain.backup.status import BackupStatus


class ClusterStore:
    """Reads clusters; each method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def retired(self) -> tuple[str, ...]:
        """Return the names of the clusters of which only old jobs or deleted backups are known.

        They have no backup, also none that can be undeleted, no worker's report, no schedule, no
        retention policy, and no job that is not finished.
        """
        left = or_(
            BackupRow.status != BackupStatus.DELETED.value,
            BackupRow.undelete_until.is_not(None) & BackupRow.purged_at.is_(None),
        )
        in_use = (
            select(BackupRow.cluster).where(left),
            select(NodeRow.cluster),
            select(ScheduleRow.cluster),
            select(RetentionPolicyRow.cluster),
            select(JobRow.cluster).where(JobRow.status.in_(UNFINISHED)),
        )

        def work(session: Session) -> tuple[str, ...]:
            known = {
                name
                for query in (select(BackupRow.cluster), select(JobRow.cluster))
                for name in session.scalars(query.distinct())
            }
            used = {name for query in in_use for name in session.scalars(query.distinct())}
            return tuple(sorted(known - used - {""}))

        return self._transactions.run(work)

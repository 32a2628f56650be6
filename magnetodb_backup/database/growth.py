# SPDX-License-Identifier: Apache-2.0
"""What each backup added to the store, by table, and the growth that follows from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.models import BackupRow, BackupTableRow, JobRow
from magnetodb_backup.database.retention_guard import database_now
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.backup.growth import DAYS, Added, Growth, Stored, TableBytes, growth
from magnetodb_backup.domain.jobs import JobKind, JobStatus

_AT_ONCE = 1000  # rows
_LOOKS = 10  # newest jobs, of which one may have looked at all nodes


class GrowthStore:
    """Reads and writes the bytes of tables; each method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def record(self, backup_id: str, tables: Collection[TableBytes]) -> None:
        """Record what a backup has of its tables, in place of what was recorded of it."""

        def work(session: Session) -> None:
            session.execute(delete(BackupTableRow).where(BackupTableRow.backup_id == backup_id))
            rows = (
                {
                    "backup_id": backup_id,
                    "keyspace": each.keyspace,
                    "table_name": each.table,
                    "bytes": each.bytes,
                    "bytes_new": each.new,
                }
                for each in tables
            )
            while batch := list(islice(rows, _AT_ONCE)):
                session.execute(insert(BackupTableRow), batch)

        self._transactions.write(work)

    def growth(self, cluster: str, capacity: int | None = None) -> Growth:
        """Return how a cluster's backups grow.

        :raises InvalidValue: for a capacity below 1.
        """

        def work(session: Session) -> Growth:
            # Before the rows: MariaDB takes no statement while it sends the result of another one.
            until, stored = database_now(session), _stored(session, cluster)
            query = (
                select(BackupRow.id, BackupRow.finished_at, BackupTableRow)
                .join(BackupTableRow, BackupTableRow.backup_id == BackupRow.id)
                .where(
                    BackupRow.cluster == cluster,
                    BackupRow.finished_at > until - timedelta(days=DAYS),
                )
                .order_by(BackupRow.finished_at, BackupRow.id)
                .execution_options(yield_per=_AT_ONCE)
            )
            added = (
                Added(id_, ended, TableBytes(of.keyspace, of.table_name, of.bytes, of.bytes_new))
                for id_, ended, of in session.execute(query)
                if ended is not None
            )
            return growth(cluster, until, added, stored, capacity)

        return self._transactions.run(work)


def _stored(session: Session, cluster: str) -> Stored | None:
    """Return what the newest survey or collection that looked at all nodes has found."""
    query = (
        select(JobRow)
        .where(
            JobRow.cluster == cluster,
            JobRow.kind.in_((JobKind.SURVEY, JobKind.COLLECTION)),
            JobRow.status == JobStatus.DONE.value,
        )
        .order_by(JobRow.updated_at.desc())
        .limit(_LOOKS)
    )
    for row in session.scalars(query):
        if row.result and not any(_errors(row.result)):
            total = row.result["total"]
            stored = total["bytes"] - total["freed_bytes"]
            return Stored(row.updated_at, stored, row.result.get("quota"))
    return None


def _errors(result: Mapping[str, Any]) -> Iterator[str]:
    return (node["error"] for node in result["nodes"].values())

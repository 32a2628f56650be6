# SPDX-License-Identifier: Apache-2.0
"""Restores and each target node's part of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy.orm import Session

from magnetodb_backup.database.backup_rows import BACKUPS
from magnetodb_backup.database.models import JobRow, NodeRestoreRow, RestoreRow
from magnetodb_backup.database.records import NodeParts, Page, Rows, now
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.backup.status import BackupStatus, check_restorable
from magnetodb_backup.domain.jobs import JobKind, Subject
from magnetodb_backup.domain.restore.records import (
    NodeRestore,
    Restore,
    RestoreProgress,
    RestoreRequest,
    RestoreStatus,
    check_restore_transition,
)

RESTORES = Rows(
    RestoreRow,
    "restore",
    RestoreStatus,
    frozenset({"phase", "waiting_for", "plan", "tables", "checks"}),
)


_LONG = frozenset({"plan", "tables", "checks"})


def _restore(row: Any, without: Collection[str] = ()) -> Restore:
    """Return a row, or its columns except those ``without``, as a record."""
    values = {f.name: getattr(row, f.name) for f in fields(Restore) if f.name not in without}
    values["waiting_for"] = row.waiting_for or ""
    status, request = RestoreStatus(row.status), RestoreRequest.from_json(row.request)
    return Restore(**{**values, "status": status, "request": request})


def _node_restore(record: Mapping[str, Any]) -> NodeRestore:
    return NodeRestore(**{**record, "progress": RestoreProgress(**record["progress"])})


class RestoreStore:
    """Reads and writes restores; each method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._nodes = NodeParts(transactions, NodeRestoreRow, "restore_id", _node_restore)

    def create(
        self, request: RestoreRequest, restore_id: str, source_cluster: str, cluster: str
    ) -> Restore:
        """Record a restore that is RESTORING, and its job. A backup may have several.

        :raises NotFound: if there is no such backup.
        :raises Conflict: if the backup is neither CREATED nor PARTIAL.
        """

        def work(session: Session) -> Restore:
            backup = BACKUPS.get(session, request.backup_id, lock=True)  # against its deletion
            check_restorable(backup.id, BackupStatus(backup.status))
            created = now()
            row = RestoreRow(
                id=restore_id,
                backup_id=backup.id,
                source_cluster=source_cluster,
                cluster=cluster,
                status=RestoreStatus.RESTORING.value,
                request=request.as_record(),
                created_at=created,
                updated_at=created,
                phase="", error="", tables={},
            )  # fmt: skip
            job = JobRow.pending(
                restore_id, JobKind.RESTORE, Subject.restore(restore_id), cluster,
                created_at=created, parameters=request.as_record(),
            )  # fmt: skip
            session.add_all((row, job))
            session.flush()
            return _restore(row)

        return self._transactions.write(work)

    def get(self, restore_id: str) -> Restore:
        """Return the restore with exactly this ID; NotFound otherwise."""
        return self._transactions.run(lambda s: _restore(RESTORES.get(s, restore_id)))

    def find(self, text: str) -> Restore:
        """Return the restore by its ID or by 8 or more digits of it.

        :raises NotFound: if there is none.
        :raises Conflict: if several match, naming them.
        """
        return self._transactions.run(lambda s: _restore(RESTORES.find(s, text)))

    def list(
        self,
        *,
        limit: int | None = None,
        marker: str | None = None,
        status: str | None = None,
        cluster: str | None = None,
    ) -> tuple[Restore, ...]:
        """Return restores, newest first, after the restore ``marker``.

        They have neither plan, tables nor checks: those of a page may name a million tables.

        :raises InvalidValue: for a status or marker that does not exist, or a limit below 1.
        """
        page = Page(limit, marker, status, cluster)
        RESTORES.check_page(page)

        def work(session: Session) -> tuple[Restore, ...]:
            rows = RESTORES.page(session, page, key="created_at", descending=True, without=_LONG)
            return tuple(_restore(row, _LONG) for row in rows)

        return self._transactions.run(work)

    def update(self, restore_id: str, **values: Any) -> Restore:
        """Set ``phase``, ``waiting_for``, ``plan``, ``tables`` or ``checks``."""
        RESTORES.check_updatable(values)

        def work(session: Session) -> Restore:
            row = RESTORES.get(session, restore_id, lock=True)
            RESTORES.set(row, values)
            session.flush()
            return _restore(row)

        return self._transactions.write(work)

    def set_status(self, restore_id: str, status: RestoreStatus, error: str = "") -> Restore:
        """Move the restore to ``status``; staying is no error.

        :raises Conflict: if the transition table does not know it.
        """

        def work(session: Session) -> Restore:
            row = RESTORES.get(session, restore_id, lock=True)
            check_restore_transition(restore_id, RestoreStatus(row.status), status)
            row.status, row.error, row.updated_at = status.value, error, now()
            if status is not RestoreStatus.RESTORING:
                row.waiting_for = ""
                row.finished_at = row.finished_at or row.updated_at
            session.flush()
            return _restore(row)

        return self._transactions.write(work)

    def node_restores(self, restore_id: str) -> tuple[NodeRestore, ...]:
        """Return the nodes' parts of the restore, by host ID."""
        return self._nodes.of(restore_id)

    def put_node_restore(self, node: NodeRestore) -> None:
        """Write a node's part over the stored one."""
        self._nodes.put(node)

    def live_ids(self, cluster: str) -> tuple[str, ...]:
        """Return the IDs of the restores into the cluster that are RESTORING."""
        return self._transactions.run(lambda s: RESTORES.ids(s, cluster, RestoreStatus.RESTORING))

# SPDX-License-Identifier: Apache-2.0
"""Restores and each target node's part of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.backups import now, row_of
from magnetodb_backup.database.models import JobRow, NodeRestoreRow, RestoreRow
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
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound

_UPDATABLE = frozenset({"phase", "error", "plan", "tables", "checks"})


def _restore(row: RestoreRow) -> Restore:
    values = {f.name: getattr(row, f.name) for f in fields(Restore)}
    status, request = RestoreStatus(row.status), RestoreRequest.from_json(row.request)
    return Restore(**{**values, "status": status, "request": request})


def _node_restore(record: Mapping[str, Any]) -> NodeRestore:
    return NodeRestore(**{**record, "progress": RestoreProgress(**record["progress"])})


def _row(session: Session, restore_id: str, *, lock: bool = False) -> RestoreRow:
    row = session.get(RestoreRow, restore_id, with_for_update=lock or None)
    if row is None:
        raise NotFound(f"there is no restore {restore_id!r}; see restore list")
    return row


class RestoreStore:
    """Reads and writes restores; each method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def create(
        self, request: RestoreRequest, restore_id: str, source_cluster: str, cluster: str
    ) -> Restore:
        """Record a restore that is RESTORING, and its job. A backup may have several.

        :raises NotFound: if there is no such backup.
        :raises Conflict: if the backup is neither CREATED nor PARTIAL.
        """

        def work(session: Session) -> Restore:
            backup = row_of(session, request.backup_id, lock=True)  # against its deletion
            check_restorable(backup.id, BackupStatus(backup.status))
            created = now()
            row = RestoreRow(
                id=restore_id,
                backup_id=backup.id,
                source_cluster=source_cluster,
                cluster=cluster,
                status=RestoreStatus.RESTORING.value,
                request=request.as_json(),
                created_at=created,
                updated_at=created,
                phase="", error="", tables={},
            )  # fmt: skip
            job = JobRow.pending(
                restore_id, JobKind.RESTORE, Subject.restore(restore_id), cluster,
                created_at=created, parameters=request.as_json(),
            )  # fmt: skip
            session.add_all((row, job))
            session.flush()
            return _restore(row)

        return self._transactions.write(work)

    def get(self, restore_id: str) -> Restore:
        """Return the restore with exactly this ID; NotFound otherwise."""
        return self._transactions.run(lambda s: _restore(_row(s, restore_id)))

    def find(self, text: str) -> Restore:
        """Return the restore by its ID or by 8 or more digits of it.

        :raises NotFound: if there is none.
        :raises Conflict: if several match, naming them.
        """

        def work(session: Session) -> Restore:
            row = session.get(RestoreRow, text)
            rows = [row] if row else []
            if not rows and re.fullmatch("[0-9a-f-]{8,36}", text):
                query = select(RestoreRow).where(RestoreRow.id.startswith(text, autoescape=True))
                rows = list(session.scalars(query))
            if len(rows) > 1:
                ids = ", ".join(r.id for r in rows)
                raise Conflict(f"{text!r} may be any of {ids}; name one of them")
            return _restore(rows[0] if rows else _row(session, text))

        return self._transactions.run(work)

    def list(
        self,
        *,
        limit: int | None = None,
        marker: str | None = None,
        status: str | None = None,
        cluster: str | None = None,
    ) -> tuple[Restore, ...]:
        """Return restores, newest first, after the restore ``marker``.

        :raises InvalidValue: for a status or marker that does not exist, or a limit below 1.
        """
        if limit is not None and limit < 1:
            raise InvalidValue(f"limit is {limit}; use 1 or more")
        if status is not None and status not in set(RestoreStatus):
            known = ", ".join(s.value for s in RestoreStatus)
            raise InvalidValue(f"status is {status!r}; use one of {known}")

        def work(session: Session) -> tuple[Restore, ...]:
            query, created = select(RestoreRow), RestoreRow.created_at
            if status is not None:
                query = query.where(RestoreRow.status == status)
            if cluster is not None:
                query = query.where(RestoreRow.cluster == cluster)
            if marker is not None:
                last = session.get(RestoreRow, marker)
                if last is None:
                    raise InvalidValue(f"marker {marker!r} is no restore; use the last one's ID")
                same_time = and_(created == last.created_at, RestoreRow.id < last.id)
                query = query.where(or_(created < last.created_at, same_time))
            query = query.order_by(created.desc(), RestoreRow.id.desc())
            return tuple(_restore(row) for row in session.scalars(query.limit(limit)))

        return self._transactions.run(work)

    def update(self, restore_id: str, **values: Any) -> Restore:
        """Set ``phase``, ``error``, ``plan``, ``tables`` or ``checks``."""
        unknown = set(values) - _UPDATABLE
        if unknown:
            raise InvalidValue(f"not to be set this way: {', '.join(sorted(unknown))}")

        def work(session: Session) -> Restore:
            row = _row(session, restore_id, lock=True)
            for name, value in values.items():
                setattr(row, name, value)
            row.updated_at = now()
            session.flush()
            return _restore(row)

        return self._transactions.write(work)

    def set_status(self, restore_id: str, status: RestoreStatus, error: str = "") -> Restore:
        """Move the restore to ``status``; staying is no error.

        :raises Conflict: if the transition table does not know it.
        """

        def work(session: Session) -> Restore:
            row = _row(session, restore_id, lock=True)
            check_restore_transition(restore_id, RestoreStatus(row.status), status)
            row.status, row.error, row.updated_at = status.value, error, now()
            if status is not RestoreStatus.RESTORING:
                row.finished_at = row.finished_at or row.updated_at
            session.flush()
            return _restore(row)

        return self._transactions.write(work)

    def node_restores(self, restore_id: str) -> tuple[NodeRestore, ...]:
        """Return the nodes' parts of the restore, by host ID."""

        def work(session: Session) -> tuple[NodeRestore, ...]:
            query = select(NodeRestoreRow).where(NodeRestoreRow.restore_id == restore_id)
            rows = session.scalars(query.order_by(NodeRestoreRow.host_id))
            return tuple(_node_restore(row.record) for row in rows)

        return self._transactions.run(work)

    def put_node_restore(self, node: NodeRestore) -> None:
        """Write a node's part over what was there."""

        def work(session: Session) -> None:
            key = {"restore_id": node.restore_id, "host_id": node.host_id}
            session.merge(NodeRestoreRow(**key, record=asdict(node)))

        self._transactions.write(work)

    def live_ids(self, cluster: str) -> tuple[str, ...]:
        """Return the IDs of the restores into the cluster that are RESTORING."""

        def work(session: Session) -> tuple[str, ...]:
            restoring = RestoreStatus.RESTORING.value
            query = select(RestoreRow.id)
            query = query.where(RestoreRow.cluster == cluster, RestoreRow.status == restoring)
            return tuple(session.scalars(query))

        return self._transactions.run(work)

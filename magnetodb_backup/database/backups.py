# SPDX-License-Identifier: Apache-2.0
"""Backups and node backups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.backup_rows import (
    BACKUPS,
    FIELDS,
    add_backup,
    as_backup,
    named_backups,
)
from magnetodb_backup.database.deletion_requests import expire_backups, record_deletion
from magnetodb_backup.database.findings import forget_objects
from magnetodb_backup.database.models import BackupRow, NodeBackupRow
from magnetodb_backup.database.proofs import forget_proofs
from magnetodb_backup.database.records import NodeParts, Page
from magnetodb_backup.database.retention_guard import lock_policies, refuse_loss
from magnetodb_backup.database.schedule_actions import verify_made
from magnetodb_backup.database.schedule_runs import record_outcome
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.backup.collection import KnownManifest, NodeManifests
from magnetodb_backup.domain.backup.records import (
    Backup,
    BackupOutline,
    BackupRequest,
    CommittedBackup,
    NodeBackup,
    Progress,
    check_backup_name,
)
from magnetodb_backup.domain.backup.status import BackupStatus, check_transition
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.errors import InvalidValue

_SORT_KEYS = ("created_at", "updated_at", "name", "status")
_COMMITTED = (BackupStatus.CREATED.value, BackupStatus.PARTIAL.value)
_LONG = frozenset({"selection", "scope", "coverage", "notes", "error"})
_ENDS = frozenset(BackupStatus) - {BackupStatus.CREATING, BackupStatus.DELETING}


def _node_backup(record: Mapping[str, Any]) -> NodeBackup:
    return NodeBackup(
        **{
            **record,
            "progress": Progress(**record["progress"]),
            "corrupt_files": tuple(record["corrupt_files"]),
        }
    )


class BackupStore:
    """Reads and writes backups; each method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._nodes = NodeParts(transactions, NodeBackupRow, "backup_id", _node_backup)

    def create(self, request: BackupRequest, backup_id: str, cluster: str) -> Backup:
        """Record a backup that is CREATING, and its job.

        :raises InvalidValue: if the name is too long or has invisible characters.
        :raises Conflict: if a backup that is not deleted has the name.
        """
        check_backup_name(request.name)

        def work(session: Session) -> Backup:
            return add_backup(session, request, backup_id, cluster)

        return self._transactions.write(work, serializable=True)

    def learn(self, backup: Backup, nodes: Sequence[NodeBackup]) -> bool:
        """Record one backup as ``learn_all`` does; return whether it was new."""
        return bool(self.learn_all([(backup, nodes)]))

    def learn_all(self, found: Sequence[tuple[Backup, Sequence[NodeBackup]]]) -> frozenset[str]:
        """Record backups that the store has, without jobs, unless there is a record of their ID.

        Return the IDs of those that were new. An existing record is not changed, with any status.
        A name may be that of another backup too, because no user chooses it now.

        :raises InvalidValue: if the database cannot store one of them; then it stores none.
        """
        for backup, _ in found:
            check_backup_name(backup.name)

        def work(session: Session) -> frozenset[str]:
            ids = [backup.id for backup, _ in found]
            known = set(session.scalars(select(BackupRow.id).where(BackupRow.id.in_(ids))))
            new = {backup.id: (backup, nodes) for backup, nodes in found if backup.id not in known}
            rows = [
                {**{name: getattr(b, name) for name in FIELDS}, "status": b.status.value}
                for b, _ in new.values()
            ]
            if rows:
                session.execute(insert(BackupRow), rows)
                self._nodes.replace(session, {id_: nodes for id_, (_, nodes) in new.items()})
            return frozenset(new)

        return self._transactions.write(work, serializable=True)

    def outlines(self, cluster: str) -> dict[str, BackupOutline]:
        """Return what identifies the cluster's backups of any status, by ID."""

        def work(session: Session) -> dict[str, BackupOutline]:
            columns = [getattr(BackupRow, f.name) for f in fields(BackupOutline)]
            rows = session.execute(select(*columns).where(BackupRow.cluster == cluster))
            return {
                row.id: BackupOutline(**{**row._mapping, "status": BackupStatus(row.status)})
                for row in rows
            }

        return self._transactions.run(work)

    def clusters(self) -> tuple[str, ...]:
        """Return the names of the clusters that have complete backups."""

        def work(session: Session) -> tuple[str, ...]:
            query = select(BackupRow.cluster).where(BackupRow.status.in_(_COMMITTED))
            return tuple(session.scalars(query.distinct().order_by(BackupRow.cluster)))

        return self._transactions.run(work)

    def get(self, backup_id: str) -> Backup:
        """Return the backup with exactly this ID; NotFound otherwise."""
        return self._transactions.run(lambda s: as_backup(BACKUPS.get(s, backup_id)))

    def find(self, id_or_name: str) -> Backup:
        """Return the backup by ID, by name (not deleted), or by 8 or more digits of its ID.

        :raises NotFound: if there is none.
        :raises Conflict: if several match, naming them.
        """

        def work(session: Session) -> Backup:
            def named() -> list[BackupRow]:
                return named_backups(session, id_or_name) if id_or_name else []

            return as_backup(BACKUPS.find(session, id_or_name, named))

        return self._transactions.run(work)

    def list(
        self,
        *,
        limit: int | None = None,
        marker: str | None = None,
        status: str | None = None,
        cluster: str | None = None,
        sort: str = "created_at:desc",
        include_deleted: bool = False,
        brief: bool = False,
    ) -> tuple[Backup, ...]:
        """Return backups, sorted by ``key`` or ``key:asc|desc``, after the backup ``marker``.

        They have no selection: those of a page may name a million tables. ``brief`` ones have
        neither scope, coverage, notes nor error, which may name many tables or nodes too.

        :raises InvalidValue: for a sort key, status or marker that does not exist, or a limit
            below 1.
        """
        page = Page(limit, marker, status, cluster)
        BACKUPS.check_page(page)
        key, _, direction = sort.partition(":")
        if key not in _SORT_KEYS or direction not in ("", "asc", "desc"):
            raise InvalidValue(
                f"sort is {sort!r}; use one of {', '.join(_SORT_KEYS)}, with :asc or :desc"
            )
        hidden = status is None and not include_deleted
        others = [BackupRow.status != BackupStatus.DELETED.value] if hidden else []
        without = _LONG if brief else frozenset({"selection"})

        def work(session: Session) -> tuple[Backup, ...]:
            rows = BACKUPS.page(
                session,
                page,
                *others,
                key=key,
                descending=direction == "desc",
                without=without,
            )
            return tuple(as_backup(row, without) for row in rows)

        return self._transactions.run(work)

    def set_status(
        self, backup_id: str, status: BackupStatus, *, error: str = "", **values: Any
    ) -> Backup:
        """Move the backup to ``status`` and set ``values`` as ``update()`` does, both or neither.

        Staying in a status is no error.

        :raises Conflict: if the transition table does not have it.
        """
        BACKUPS.check_updatable(values)

        def work(session: Session) -> Backup:
            row = BACKUPS.get(session, backup_id, lock=True)
            check_transition(backup_id, BackupStatus(row.status), status)
            row.status, row.error = status.value, error
            BACKUPS.set(row, values)
            if status in _ENDS:  # a deletion is no other end of the backup
                row.finished_at, row.waiting_for = row.finished_at or row.updated_at, ""
                run = record_outcome(session, backup_id, status, error, row.updated_at)
                if run is not None and status is BackupStatus.CREATED:
                    verify_made(session, run, row)
            if status is BackupStatus.DELETED:
                forget_proofs(session, backup_id)
                forget_objects(session, backup_id)
            session.flush()
            return as_backup(row)

        return self._transactions.write(work)

    def update(self, backup_id: str, **values: Any) -> Backup:
        """Set fields that carry no state."""
        BACKUPS.check_updatable(values)

        def work(session: Session) -> Backup:
            row = BACKUPS.get(session, backup_id, lock=True)
            BACKUPS.set(row, values)
            session.flush()
            return as_backup(row)

        return self._transactions.write(work)

    def request_deletion(self, backup_id: str, *, allow_loss: bool = False) -> Job:
        """Record the job that deletes a backup; the backup's other jobs are to be cancelled.

        The backup becomes DELETING, unless it is still CREATING and has to be cancelled first.
        With ``allow_loss`` it may be one that the retention policy needs or that is to be kept.

        :raises NotFound: if there is no such backup.
        :raises Conflict: if a restore or a verification reads the backup, naming it, if a deletion
            or an undeletion is not finished, if the backup is deleted, or if the deletion loses
            what retention keeps.
        """
        cluster = self.get(backup_id).cluster

        def work(session: Session) -> Job:
            # Where a policy exists, of the cluster or a schedule, one deletion follows the other.
            policies = lock_policies(session, cluster)
            return record_deletion(
                session,
                backup_id,
                lambda backup: refuse_loss(session, backup, policies, allow_loss=allow_loss),
            )

        return self._transactions.write(work)

    def expire(self, cluster: str, backup_ids: Sequence[str]) -> dict[str, str]:
        """Record the deletion of those of the cluster's backups that expire now.

        Returns by ID why others are not deleted. Those that are deleted already are left out.

        :raises NotFound: if neither the cluster nor a schedule of it has a policy.
        """
        return self._transactions.write(
            lambda session: expire_backups(session, cluster, backup_ids)
        )

    def node_backups(self, backup_id: str) -> tuple[NodeBackup, ...]:
        """Return the backup's node backups, by host ID."""
        return self._nodes.of(backup_id)

    def put_node_backup(self, node: NodeBackup) -> None:
        """Write a node backup over the stored one."""
        self._nodes.put(node)

    def change_notes(
        self, backup_id: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]
    ) -> None:
        """Replace the notes of a backup by what ``change`` returns for them."""

        def work(session: Session) -> None:
            row = BACKUPS.get(session, backup_id, lock=True)
            before = tuple(row.notes or ())
            after = change(before)
            if after != before:
                BACKUPS.set(row, {"notes": after})

        self._transactions.write(work)

    def noted(self, cluster: str) -> dict[str, tuple[str, ...]]:
        """Return the notes of the cluster's complete backups that have any, by ID."""

        def work(session: Session) -> dict[str, tuple[str, ...]]:
            query = select(BackupRow.id, BackupRow.notes).where(
                BackupRow.cluster == cluster,
                BackupRow.status.in_(_COMMITTED),
                BackupRow.notes.is_not(None),
            )
            return {id_: tuple(notes) for id_, notes in session.execute(query) if notes}

        return self._transactions.run(work)

    def newest_committed(self, cluster: str, limit: int) -> tuple[CommittedBackup, ...]:
        """Return the cluster's newest complete backups."""

        def work(session: Session) -> tuple[CommittedBackup, ...]:
            query = select(BackupRow.id, BackupRow.manifest_sha256).where(
                BackupRow.cluster == cluster, BackupRow.status.in_(_COMMITTED)
            )
            rows = session.execute(query.order_by(BackupRow.created_at.desc()).limit(limit))
            return tuple(CommittedBackup(id_, sha256) for id_, sha256 in rows)

        return self._transactions.run(work)

    def manifests_of(self, cluster: str, host_id: str) -> NodeManifests:
        """Return what the catalogue knows of the manifests of one node.

        Those of complete backups are required, and of deleted ones that can be undeleted. What
        other deleted backups may still have is found in the store.
        """

        def work(session: Session) -> NodeManifests:
            of_node = (NodeBackupRow.backup_id == BackupRow.id) & (NodeBackupRow.host_id == host_id)
            query = (
                select(
                    BackupRow.id, BackupRow.status, BackupRow.undelete_until, NodeBackupRow.record
                )
                .outerjoin(NodeBackupRow, of_node)
                .where(BackupRow.cluster == cluster)
                .where(
                    (BackupRow.status != BackupStatus.DELETED.value)
                    | BackupRow.undelete_until.is_not(None)
                )
            )
            known, absent = [], []
            for id_, status, undelete_until, record in session.execute(query):
                required = status in _COMMITTED or undelete_until is not None
                sha256 = record["manifest_sha256"] if record else ""
                if sha256:
                    known.append(KnownManifest(id_, record["manifest_size"], sha256, required))
                elif required:
                    absent.append(id_)
            return NodeManifests(tuple(known), tuple(absent))

        return self._transactions.run(work)

    def live_ids(self, cluster: str) -> tuple[str, ...]:
        """Return the IDs of the cluster's backups that are CREATING."""
        return self._transactions.run(lambda s: BACKUPS.ids(s, cluster, BackupStatus.CREATING))

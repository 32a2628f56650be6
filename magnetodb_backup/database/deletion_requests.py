# SPDX-License-Identifier: Apache-2.0
"""Requests for deletions, within a transaction: what refuses them, and what they record."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from magnetodb_backup.database.backup_rows import (
    BACKUPS,
    unfinished_about,
)
from magnetodb_backup.database.models import BackupRow, JobRow, RestoreRow
from magnetodb_backup.database.records import now
from magnetodb_backup.database.retention_guard import decisions_now, lock_policies
from magnetodb_backup.domain.backup.status import BackupStatus, check_transition
from magnetodb_backup.domain.jobs import Job, JobKind, Subject
from magnetodb_backup.domain.restore.records import RestoreStatus
from magnetodb_backup.errors import Conflict

_NO_READERS = (JobKind.BACKUP, JobKind.DELETION, JobKind.UNDELETION)


def _refuse_while_read(session: Session, backup_id: str, jobs: Iterable[JobRow]) -> None:
    query = select(RestoreRow.id).where(
        RestoreRow.backup_id == backup_id, RestoreRow.status == RestoreStatus.RESTORING.value
    )
    readers = [f"restore {id_}" for id_ in session.scalars(query.order_by(RestoreRow.id))]
    readers += [f"{job.kind} {job.id}" for job in jobs if job.kind not in _NO_READERS]
    if readers:
        raise Conflict(
            f"backup {backup_id} is read by {', '.join(readers)}; wait for the end or cancel it"
        )


def _expired(why: str, backup: BackupRow) -> dict[str, Any]:
    """Return the parameters of the job that deletes an expired backup."""
    return {"expired": why}


def record_deletion(
    session: Session, backup_id: str, check: Callable[[BackupRow], dict[str, Any]]
) -> Job:
    """Record a deletion; ``check`` raises Conflict, or returns the parameters of the job."""
    backup = BACKUPS.get(session, backup_id, lock=True)  # serialises requests about one backup
    others = unfinished_about(session, Subject.backup(backup_id))
    _refuse_while_read(session, backup_id, others)
    for other in others:
        if other.kind != JobKind.BACKUP:
            article = "an" if other.kind == JobKind.UNDELETION else "a"
            raise Conflict(
                f"{article} {other.kind} of backup {backup_id} is {other.status}; wait for its end"
            )
        other.cancel_requested, other.updated_at = True, now()
    parameters = check(backup)
    created = now()
    if backup.status != BackupStatus.CREATING.value:
        check_transition(backup_id, BackupStatus(backup.status), BackupStatus.DELETING)
        backup.status, backup.error = BackupStatus.DELETING.value, ""
        backup.updated_at = created
    job = JobRow.pending(
        str(uuid.uuid4()), JobKind.DELETION, Subject.backup(backup_id), backup.cluster,
        created_at=created, parameters=parameters,
    )  # fmt: skip
    session.add(job)
    session.flush()
    return job.record()


def expire_backups(session: Session, cluster: str, backup_ids: Sequence[str]) -> dict[str, str]:
    """Record the deletion of those of the backups of the cluster that expire now.

    Returns by ID why others are not deleted.

    :raises NotFound: if neither the cluster nor a schedule of it has a policy.
    """
    wanted = select(BackupRow.id).where(BackupRow.id.in_(backup_ids)).order_by(BackupRow.id)
    policies = lock_policies(session, cluster)
    # All locks come before the first read without one, which fixes what MariaDB shows.
    present = list(session.scalars(wanted.with_for_update()))
    decisions = decisions_now(session, cluster, policies)
    refused = {id_: f"there is no backup {id_!r}" for id_ in backup_ids}
    for backup_id in present:
        del refused[backup_id]
        decision = decisions.get(backup_id)
        if decision is None:
            continue  # it is being deleted
        if decision.kept:
            refused[backup_id] = decision.why
            continue
        check = partial(_expired, decision.expires)
        try:
            with session.begin_nested():
                record_deletion(session, backup_id, check)
        except Conflict as conflict:
            refused[backup_id] = str(conflict)
    return refused

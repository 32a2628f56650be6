# SPDX-License-Identifier: Apache-2.0
"""What several stores do with the rows of backups, within a transaction."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import fields
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from magnetodb_backup.database.models import BackupRow, JobRow
from magnetodb_backup.database.records import Rows, now
from magnetodb_backup.domain.backup.records import (
    Backup,
    BackupRequest,
)
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.errors import Conflict

BACKUPS = Rows(
    BackupRow,
    "backup",
    BackupStatus,
    frozenset(
        {
            "phase", "selection", "coverage", "skew_ms", "files", "bytes",
            "bytes_uploaded", "bytes_reused", "manifest_sha256", "figures", "notes", "waiting_for",
        }
    ),
)  # fmt: skip
UNFINISHED = (JobStatus.PENDING.value, JobStatus.RUNNING.value)
FIELDS = tuple(f.name for f in fields(Backup))


def as_backup(row: Any, without: Collection[str] = ()) -> Backup:
    """Return a row, or its columns except those ``without``, as a record."""
    values = {name: getattr(row, name) for name in FIELDS if name not in without}
    values.setdefault("scope", {})
    for name in {"notes", "data_centers"} - set(without):
        values[name] = tuple(values[name] or ())
    values["status"], values["waiting_for"] = BackupStatus(row.status), row.waiting_for or ""
    return Backup(**values)


def unfinished_about(session: Session, subject: Subject) -> list[JobRow]:
    """Return the jobs about a subject that are not finished, locked."""
    query = select(JobRow).where(
        JobRow.subject_kind == subject.kind.value,
        JobRow.subject_id == subject.id,
        JobRow.status.in_(UNFINISHED),
    )
    return list(session.scalars(query.with_for_update()))


def named_backups(session: Session, name: str) -> list[BackupRow]:
    """Return the backups of this name that are not deleted."""
    deleted = BackupStatus.DELETED.value
    query = select(BackupRow).where(BackupRow.name == name, BackupRow.status != deleted)
    return list(session.scalars(query))


def add_backup(session: Session, request: BackupRequest, backup_id: str, cluster: str) -> Backup:
    """Add a backup that is CREATING, and its job, in a transaction that is serializable.

    :raises Conflict: if a backup that is not deleted has the name.
    """
    if request.name and (same := named_backups(session, request.name)):
        raise Conflict(f"backup {same[0].id} already has the name {request.name!r}")
    created = now()
    row = BackupRow(
        id=backup_id,
        name=request.name,
        cluster=cluster,
        status=BackupStatus.CREATING.value,
        scope=dict(request.scope),
        type=request.type,
        allow_partial=request.allow_partial,
        on_corrupt=request.on_corrupt,
        created_at=created,
        updated_at=created,
        phase="", error="", files=0, bytes=0, bytes_uploaded=0, bytes_reused=0,
        manifest_sha256="", figures=request.figures,
        data_centers=list(request.data_centers),
    )  # fmt: skip
    session.add(row)
    session.add(
        JobRow.pending(
            str(uuid.uuid4()), JobKind.BACKUP, Subject.backup(backup_id), cluster,
            created_at=created, parameters={},
        )
    )  # fmt: skip
    session.flush()
    return as_backup(row)

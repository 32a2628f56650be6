# SPDX-License-Identifier: Apache-2.0
"""Tables of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, Index, Integer, String, Text, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from magnetodb_backup.database.column_types import LONG_TEXT, Document, UtcTime
from magnetodb_backup.domain.jobs import Job, JobStatus, Subject, SubjectKind


class Base(DeclarativeBase):
    """Base of all tables; in MariaDB with a collation that distinguishes a from A."""

    __table_args__: Any = {
        "mysql_engine": "InnoDB",
        "mysql_charset": "utf8mb4",
        "mysql_collate": "utf8mb4_bin",
    }


class ListedRow(Base):
    """What the rows of backups, restores and schedules have in common."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    cluster: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)


class RecordRow(ListedRow):
    """What the rows of backups and restores have in common."""

    __abstract__ = True

    finished_at: Mapped[datetime | None] = mapped_column(UtcTime, nullable=True)
    phase: Mapped[str] = mapped_column(String(32), default="")
    error: Mapped[str] = mapped_column(LONG_TEXT, default="")


class NodeRecordRow(Base):
    """What the rows of the nodes' parts of backups and restores have in common."""

    __abstract__ = True

    host_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    record: Mapped[Any] = mapped_column(Document)


class BackupRow(RecordRow):
    """One backup."""

    __tablename__ = "backups"
    __table_args__ = (
        Index("ix_backups_created_at", "created_at", "id"),
        Index("ix_backups_cluster", "cluster", "created_at", "id"),
        Index("ix_backups_name", "name"),
        Index("ix_backups_status", "status", "cluster"),
        Base.__table_args__,
    )

    name: Mapped[str] = mapped_column(String(255))
    scope: Mapped[Any] = mapped_column(Document)
    type: Mapped[str] = mapped_column(String(16))
    allow_partial: Mapped[bool] = mapped_column(Boolean)
    on_corrupt: Mapped[str] = mapped_column(String(8))
    selection: Mapped[Any] = mapped_column(Document, nullable=True)
    coverage: Mapped[Any] = mapped_column(Document, nullable=True)
    skew_ms: Mapped[int | None] = mapped_column(BigInteger, nullable=True)
    files: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_uploaded: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_reused: Mapped[int] = mapped_column(BigInteger, default=0)
    manifest_sha256: Mapped[str] = mapped_column(String(64), default="")
    figures: Mapped[bool] = mapped_column(Boolean, server_default=false())
    notes: Mapped[Any] = mapped_column(Document, nullable=True)
    data_centers: Mapped[Any] = mapped_column(Document, nullable=True)
    waiting_for: Mapped[str | None] = mapped_column(LONG_TEXT, nullable=True)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime, nullable=True)
    undelete_until: Mapped[datetime | None] = mapped_column(UtcTime, nullable=True)
    purged_at: Mapped[datetime | None] = mapped_column(UtcTime, nullable=True)
    kept_reason: Mapped[str] = mapped_column(String(1000), default="", server_default="")
    kept_at: Mapped[datetime | None] = mapped_column(UtcTime, nullable=True)


class NodeBackupRow(NodeRecordRow):
    """One node's share of a backup."""

    __tablename__ = "node_backups"

    backup_id: Mapped[str] = mapped_column(String(36), primary_key=True)


class DamagedPackRow(Base):
    """A pack that a verification found damaged and that no upload has replaced since."""

    __tablename__ = "damaged_packs"
    __table_args__ = (
        Index("ix_damaged_packs_backup_id", "backup_id"),
        Index("ix_damaged_packs_cluster", "cluster"),
        Base.__table_args__,
    )

    host_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    pack: Mapped[str] = mapped_column(String(64), primary_key=True)
    verification_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    backup_id: Mapped[str] = mapped_column(String(36))
    cluster: Mapped[str] = mapped_column(String(255))


class BackupTableRow(Base):
    """The bytes of a table in a backup, and those that were not in the store before."""

    __tablename__ = "backup_tables"

    backup_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    keyspace: Mapped[str] = mapped_column(String(255), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(255), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    bytes_new: Mapped[int] = mapped_column(BigInteger)


class AffectedBackupRow(Base):
    """A backup that needs a damaged pack, whether or not it was verified itself."""

    __tablename__ = "affected_backups"
    __table_args__ = (
        Index("ix_affected_backups_backup_id", "backup_id"),
        Index("ix_affected_backups_cluster", "cluster"),
        Base.__table_args__,
    )

    host_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    pack: Mapped[str] = mapped_column(String(64), primary_key=True)
    backup_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    cluster: Mapped[str] = mapped_column(String(255))


class FindingRow(Base):
    """Damage of a pack, or of an object of a backup, that a verification found."""

    __tablename__ = "findings"
    __table_args__ = (
        Index("ix_findings_cluster", "cluster", "last_seen"),
        Index("ix_findings_name", "name"),
        Base.__table_args__,
    )

    host_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    object: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    cluster: Mapped[str] = mapped_column(String(255))
    problem: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str] = mapped_column(Text, default="")
    first_seen: Mapped[datetime] = mapped_column(UtcTime)
    last_seen: Mapped[datetime] = mapped_column(UtcTime)
    job_id: Mapped[str] = mapped_column(String(36))
    backup_id: Mapped[str] = mapped_column(String(36))
    healed_at: Mapped[datetime | None] = mapped_column(UtcTime, nullable=True)
    healed_by: Mapped[str] = mapped_column(String(36), default="")


class ProofRow(Base):
    """The newest result of one rung of the ladder of proof, for one table of a backup."""

    __tablename__ = "backup_proofs"

    backup_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    rung: Mapped[str] = mapped_column(String(16), primary_key=True)
    keyspace: Mapped[str] = mapped_column(String(255), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(255), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(16))
    proved_at: Mapped[datetime] = mapped_column(UtcTime)
    job_id: Mapped[str] = mapped_column(String(36))
    detail: Mapped[str] = mapped_column(Text, default="")


class JobRow(Base):
    """One job."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_subject", "subject_kind", "subject_id"),
        Index("ix_jobs_status", "status"),
        Index("ix_jobs_ended", "status", "updated_at"),
        Base.__table_args__,
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(String(255))
    cluster: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    parameters: Mapped[Any] = mapped_column(Document)
    result: Mapped[Any] = mapped_column(Document, nullable=True)
    error: Mapped[str] = mapped_column(LONG_TEXT, default="")
    error_code: Mapped[str] = mapped_column(String(64), default="")
    round: Mapped[int] = mapped_column(Integer, default=1)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    owner: Mapped[str] = mapped_column(String(255), default="")
    progress: Mapped[Any] = mapped_column(Document, nullable=True)

    @classmethod
    def pending(
        cls,
        job_id: str,
        kind: str,
        subject: Subject,
        cluster: str,
        *,
        created_at: datetime,
        parameters: Mapping[str, Any],
    ) -> JobRow:
        """Return the row of a job that has no owner yet."""
        return cls(
            id=job_id,
            kind=kind,
            subject_kind=subject.kind.value,
            subject_id=subject.id,
            cluster=cluster,
            status=JobStatus.PENDING.value,
            created_at=created_at,
            updated_at=created_at,
            parameters=dict(parameters),
            round=1, cancel_requested=False, error="", error_code="", owner="",
        )  # fmt: skip

    def record(self) -> Job:
        """Return the row as a record."""
        subject = Subject(SubjectKind(self.subject_kind), self.subject_id)
        own: dict[str, Any] = {"subject": subject, "status": JobStatus(self.status)}
        names = [f.name for f in fields(Job) if f.name not in own]
        return Job(**{name: getattr(self, name) for name in names} | own)


class JobStepRow(Base):
    """The stored result of one step of one round of a job."""

    __tablename__ = "job_steps"

    job_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    result: Mapped[Any] = mapped_column(Document)
    finished_at: Mapped[datetime] = mapped_column(UtcTime)


class RestoreRow(RecordRow):
    """One restore; its job has the same ID."""

    __tablename__ = "restores"
    __table_args__ = (
        Index("ix_restores_created_at", "created_at", "id"),
        Index("ix_restores_backup_id", "backup_id"),
        Index("ix_restores_status", "status", "cluster"),
        Base.__table_args__,
    )

    backup_id: Mapped[str] = mapped_column(String(36))
    source_cluster: Mapped[str] = mapped_column(String(255))
    request: Mapped[Any] = mapped_column(Document)
    plan: Mapped[Any] = mapped_column(Document, nullable=True)
    tables: Mapped[Any] = mapped_column(Document)
    checks: Mapped[Any] = mapped_column(Document, nullable=True)
    waiting_for: Mapped[str | None] = mapped_column(LONG_TEXT, nullable=True)


class NodeRestoreRow(NodeRecordRow):
    """One target node's part of a restore."""

    __tablename__ = "node_restores"

    restore_id: Mapped[str] = mapped_column(String(36), primary_key=True)


class NodeRow(Base):
    """A worker's last report. ``last_seen`` is in seconds since the epoch."""

    __tablename__ = "nodes"

    worker_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    cluster: Mapped[str] = mapped_column(String(255))
    report: Mapped[Any] = mapped_column(Document)
    first_seen: Mapped[float] = mapped_column(Double)
    last_seen: Mapped[float] = mapped_column(Double)


class ConductorRow(Base):
    """A conductor's last look at the jobs, in seconds since the epoch."""

    __tablename__ = "conductors"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    last_seen: Mapped[float] = mapped_column(Double)


class OwnershipRow(Base):
    """Who owns a job or a cluster; ``heartbeat`` is in seconds by the database's clock."""

    __tablename__ = "ownerships"

    resource: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    generation: Mapped[int] = mapped_column(BigInteger)
    heartbeat: Mapped[float] = mapped_column(Double)

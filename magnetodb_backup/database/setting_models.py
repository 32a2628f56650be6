# SPDX-License-Identifier: Apache-2.0
"""Tables of what users set: schedules with their runs, retention policies, and their copies."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from magnetodb_backup.database.column_types import LONG_TEXT, Document, UtcTime
from magnetodb_backup.database.models import Base, ListedRow


class RetentionPolicyRow(Base):
    """The retention policy of a cluster. The key is not the cluster, so that it may get others."""

    __tablename__ = "retention_policies"
    __table_args__ = (
        Index("ix_retention_policies_cluster", "cluster", unique=True),
        Base.__table_args__,
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    cluster: Mapped[str] = mapped_column(String(255))
    redundancy: Mapped[int] = mapped_column(Integer)
    window_days: Mapped[int] = mapped_column(Integer)
    daily: Mapped[int] = mapped_column(Integer)
    weekly: Mapped[int] = mapped_column(Integer)
    monthly: Mapped[int] = mapped_column(Integer)
    yearly: Mapped[int] = mapped_column(Integer)
    floor: Mapped[int] = mapped_column(Integer)
    failed_days: Mapped[int] = mapped_column(Integer)
    time_zone: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)


class ScheduleRow(ListedRow):
    """One schedule. ``planned_until``: planned times up to this one are decided.

    ``turn`` is the number of the sample that its verifications read.
    """

    __tablename__ = "schedules"
    __table_args__ = (
        Index("ix_schedules_name", "name", unique=True),
        Index("ix_schedules_created_at", "created_at", "id"),
        Base.__table_args__,
    )

    name: Mapped[str] = mapped_column(String(255))
    cron: Mapped[str] = mapped_column(String(255))
    zone: Mapped[str] = mapped_column(String(64))
    jitter: Mapped[int] = mapped_column(Integer)
    begin_within: Mapped[int] = mapped_column(Integer)
    finish_within: Mapped[int | None] = mapped_column(Integer, nullable=True)
    overlap: Mapped[str] = mapped_column(String(8))
    missed: Mapped[str] = mapped_column(String(8))
    backup: Mapped[Any] = mapped_column(Document)
    planned_until: Mapped[datetime] = mapped_column(UtcTime)
    action: Mapped[str] = mapped_column(String(16), default="backup", server_default="backup")
    verify: Mapped[Any] = mapped_column(Document, nullable=True)
    retention: Mapped[Any] = mapped_column(Document, nullable=True)
    turn: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))


class ScheduleRunRow(Base):
    """What was decided for one planned time of a schedule: the key lets it be decided once."""

    __tablename__ = "schedule_runs"
    __table_args__ = (
        Index("ix_schedule_runs_backup_id", "backup_id"),
        Index("ix_schedule_runs_finish_by", "finish_by"),
        Base.__table_args__,
    )

    schedule_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    planned_at: Mapped[datetime] = mapped_column(UtcTime, primary_key=True)
    due_at: Mapped[datetime] = mapped_column(UtcTime)
    status: Mapped[str] = mapped_column(String(16))
    decided_at: Mapped[datetime] = mapped_column(UtcTime)
    backup_id: Mapped[str] = mapped_column(String(36), default="")
    reason: Mapped[str] = mapped_column(LONG_TEXT, default="")
    manual: Mapped[bool] = mapped_column(Boolean, default=False)
    finish_by: Mapped[datetime | None] = mapped_column(UtcTime, nullable=True)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime, nullable=True)


class SettingCopyRow(Base):
    """The generation of a setting, and whether it has to be copied to the store.

    The row stays after the setting is removed: the removal has a generation too.
    """

    __tablename__ = "setting_copies"
    __table_args__ = (Index("ix_setting_copies_pending", "pending"), Base.__table_args__)

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    cluster: Mapped[str] = mapped_column(String(255))
    generation: Mapped[int] = mapped_column(BigInteger)
    pending: Mapped[bool] = mapped_column(Boolean)


class ScheduleJobRow(Base):
    """A job that a run of a schedule has started, other than the job of a backup.

    ``status`` is that of the job; ``problem`` says what a finished one found or could not do.
    """

    __tablename__ = "schedule_jobs"
    __table_args__ = (
        Index("ix_schedule_jobs_run", "schedule_id", "planned_at"),
        Base.__table_args__,
    )

    job_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    schedule_id: Mapped[str] = mapped_column(String(36))
    planned_at: Mapped[datetime] = mapped_column(UtcTime)
    status: Mapped[str] = mapped_column(String(16))
    problem: Mapped[str] = mapped_column(LONG_TEXT, default="")

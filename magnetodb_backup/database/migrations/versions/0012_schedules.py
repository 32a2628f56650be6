# SPDX-License-Identifier: Apache-2.0
"""Schedules of backups, and their runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both tables."""
    time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("updated_at", time, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("cron", sa.String(255), nullable=False),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("jitter", sa.Integer(), nullable=False),
        sa.Column("begin_within", sa.Integer(), nullable=False),
        sa.Column("finish_within", sa.Integer(), nullable=True),
        sa.Column("overlap", sa.String(8), nullable=False),
        sa.Column("missed", sa.String(8), nullable=False),
        sa.Column("backup", long_text, nullable=False),
        sa.Column("planned_until", time, nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.create_index("ix_schedules_name", "schedules", ["name"], unique=True)
    op.create_index("ix_schedules_created_at", "schedules", ["created_at", "id"])
    op.create_table(
        "schedule_runs",
        sa.Column("schedule_id", sa.String(36), primary_key=True),
        sa.Column("planned_at", time, primary_key=True),
        sa.Column("due_at", time, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("decided_at", time, nullable=False),
        sa.Column("backup_id", sa.String(36), nullable=False),
        sa.Column("reason", long_text, nullable=False),
        sa.Column("manual", sa.Boolean(), nullable=False),
        sa.Column("finish_by", time, nullable=True),
        sa.Column("finished_at", time, nullable=True),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.create_index("ix_schedule_runs_backup_id", "schedule_runs", ["backup_id"])
    op.create_index("ix_schedule_runs_finish_by", "schedule_runs", ["finish_by"])

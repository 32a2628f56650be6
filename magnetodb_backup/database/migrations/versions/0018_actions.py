# SPDX-License-Identifier: Apache-2.0
"""Schedules of other work than backups, and what they keep and verify."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and the table of the jobs that runs have started."""
    time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
    op.add_column(
        "schedules", sa.Column("action", sa.String(16), nullable=False, server_default="backup")
    )
    op.add_column("schedules", sa.Column("verify", long_text, nullable=True))
    op.add_column("schedules", sa.Column("retention", long_text, nullable=True))
    op.add_column(
        "schedules", sa.Column("turn", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.create_table(
        "schedule_jobs",
        sa.Column("job_id", sa.String(36), primary_key=True),
        sa.Column("schedule_id", sa.String(36), nullable=False),
        sa.Column("planned_at", time, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("problem", long_text, nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.create_index("ix_schedule_jobs_run", "schedule_jobs", ["schedule_id", "planned_at"])

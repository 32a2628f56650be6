# SPDX-License-Identifier: Apache-2.0
"""The first catalogue: backups, jobs, nodes."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLE: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def _time() -> sa.types.TypeEngine[Any]:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def _long_text() -> sa.types.TypeEngine[Any]:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Create the tables of backups, jobs and nodes."""
    op.create_table(
        "backups",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("scope", _long_text(), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("allow_partial", sa.Boolean(), nullable=False),
        sa.Column("on_corrupt", sa.String(8), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("updated_at", _time(), nullable=False),
        sa.Column("finished_at", _time(), nullable=True),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("error", _long_text(), nullable=False),
        sa.Column("selection", _long_text(), nullable=True),
        sa.Column("coverage", _long_text(), nullable=True),
        sa.Column("skew_ms", sa.BigInteger(), nullable=True),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("bytes_uploaded", sa.BigInteger(), nullable=False),
        sa.Column("bytes_reused", sa.BigInteger(), nullable=False),
        sa.Column("manifest_sha256", sa.String(64), nullable=False),
        **_TABLE,
    )
    op.create_index("ix_backups_created_at", "backups", ["created_at", "id"])
    op.create_index("ix_backups_name", "backups", ["name"])
    op.create_table(
        "node_backups",
        sa.Column("backup_id", sa.String(36), primary_key=True),
        sa.Column("host_id", sa.String(36), primary_key=True),
        sa.Column("record", _long_text(), nullable=False),
        **_TABLE,
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("backup_id", sa.String(36), nullable=False),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("updated_at", _time(), nullable=False),
        sa.Column("parameters", _long_text(), nullable=False),
        sa.Column("result", _long_text(), nullable=True),
        sa.Column("error", _long_text(), nullable=False),
        sa.Column("error_code", sa.String(64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        **_TABLE,
    )
    op.create_index("ix_jobs_backup_id", "jobs", ["backup_id"])
    op.create_index("ix_jobs_status", "jobs", ["status"])
    op.create_table(
        "job_steps",
        sa.Column("job_id", sa.String(36), primary_key=True),
        sa.Column("round", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("result", _long_text(), nullable=False),
        sa.Column("finished_at", _time(), nullable=False),
        **_TABLE,
    )
    op.create_table(
        "nodes",
        sa.Column("worker_id", sa.String(64), primary_key=True),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("report", _long_text(), nullable=False),
        sa.Column("first_seen", sa.Double(), nullable=False),
        sa.Column("last_seen", sa.Double(), nullable=False),
        **_TABLE,
    )
    op.create_table(
        "conductors",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("last_seen", sa.Double(), nullable=False),
        **_TABLE,
    )

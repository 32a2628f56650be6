# SPDX-License-Identifier: Apache-2.0
"""Restores and each target node's part of them."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
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
    """Create the tables of restores."""
    op.create_table(
        "restores",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("backup_id", sa.String(36), nullable=False),
        sa.Column("source_cluster", sa.String(255), nullable=False),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("request", _long_text(), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("updated_at", _time(), nullable=False),
        sa.Column("finished_at", _time(), nullable=True),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("error", _long_text(), nullable=False),
        sa.Column("plan", _long_text(), nullable=True),
        sa.Column("tables", _long_text(), nullable=False),
        **_TABLE,
    )
    op.create_index("ix_restores_created_at", "restores", ["created_at", "id"])
    op.create_index("ix_restores_backup_id", "restores", ["backup_id"])
    op.create_table(
        "node_restores",
        sa.Column("restore_id", sa.String(36), primary_key=True),
        sa.Column("host_id", sa.String(36), primary_key=True),
        sa.Column("record", _long_text(), nullable=False),
        **_TABLE,
    )

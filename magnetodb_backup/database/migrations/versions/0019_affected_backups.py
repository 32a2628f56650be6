# SPDX-License-Identifier: Apache-2.0
"""The backups that need damaged packs, and the bytes of tables in backups."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "affected_backups",
        sa.Column("host_id", sa.String(36), primary_key=True),
        sa.Column("pack", sa.String(64), primary_key=True),
        sa.Column("backup_id", sa.String(36), primary_key=True),
        sa.Column("cluster", sa.String(255), nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.create_index("ix_affected_backups_backup_id", "affected_backups", ["backup_id"])
    op.create_index("ix_affected_backups_cluster", "affected_backups", ["cluster"])
    op.create_table(
        "backup_tables",
        sa.Column("backup_id", sa.String(36), primary_key=True),
        sa.Column("keyspace", sa.String(255), primary_key=True),
        sa.Column("table_name", sa.String(255), primary_key=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("bytes_new", sa.BigInteger(), nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )

# SPDX-License-Identifier: Apache-2.0
"""How far the tables of a backup are proved; jobs show their progress."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of proofs, and the progress of jobs."""
    time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    op.create_table(
        "backup_proofs",
        sa.Column("backup_id", sa.String(36), primary_key=True),
        sa.Column("rung", sa.String(16), primary_key=True),
        sa.Column("keyspace", sa.String(255), primary_key=True),
        sa.Column("table_name", sa.String(255), primary_key=True),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("proved_at", time, nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
    op.add_column("jobs", sa.Column("progress", long_text, nullable=True))

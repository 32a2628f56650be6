# SPDX-License-Identifier: Apache-2.0
"""Indexes of long lists and of what is pruned; what a backup waits for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes and the column."""
    long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
    op.add_column("backups", sa.Column("waiting_for", long_text, nullable=True))
    op.create_index("ix_backups_cluster", "backups", ["cluster", "created_at", "id"])
    op.create_index("ix_jobs_ended", "jobs", ["status", "updated_at"])

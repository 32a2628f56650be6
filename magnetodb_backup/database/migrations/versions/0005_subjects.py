# SPDX-License-Identifier: Apache-2.0
"""Jobs have a subject of any kind, not always a backup."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename the backup of a job to its subject; the subject of a restore is the restore."""
    op.drop_index("ix_jobs_backup_id", table_name="jobs")
    with op.batch_alter_table("jobs") as batch:
        batch.alter_column(
            "backup_id",
            new_column_name="subject_id",
            existing_type=sa.String(36),
            type_=sa.String(255),
            existing_nullable=False,
        )
        batch.add_column(
            sa.Column("subject_kind", sa.String(16), nullable=False, server_default="backup")
        )
    op.execute("UPDATE jobs SET subject_kind = 'restore', subject_id = id WHERE kind = 'restore'")
    with op.batch_alter_table("jobs") as batch:
        batch.alter_column(
            "subject_kind",
            existing_type=sa.String(16),
            existing_nullable=False,
            server_default=None,
        )
    op.create_index("ix_jobs_subject", "jobs", ["subject_kind", "subject_id"])

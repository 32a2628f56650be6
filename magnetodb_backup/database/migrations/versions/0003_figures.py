# SPDX-License-Identifier: Apache-2.0
"""Whether a backup has figures, and what a restore's check of them found."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns of fingerprints and checks."""
    op.add_column(
        "backups", sa.Column("figures", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    checks = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
    op.add_column("restores", sa.Column("checks", checks, nullable=True))

# SPDX-License-Identifier: Apache-2.0
"""Backups may be of some data centres only."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the names of the data centres; older backups have none, and are of all of them."""
    long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
    op.add_column("backups", sa.Column("data_centers", long_text, nullable=True))

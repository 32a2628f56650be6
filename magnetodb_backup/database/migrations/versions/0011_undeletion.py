# SPDX-License-Identifier: Apache-2.0
"""When a backup was deleted, until when it can be undeleted, and when it was purged."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Backups that are DELETED have nothing in the store: theirs stay empty."""
    time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    for name in ("deleted_at", "undelete_until", "purged_at"):
        op.add_column("backups", sa.Column(name, time, nullable=True))

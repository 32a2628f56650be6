# SPDX-License-Identifier: Apache-2.0
"""Backups have notes beside their error."""

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the notes; those of complete backups were stored as their errors."""
    long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
    op.add_column("backups", sa.Column("notes", long_text, nullable=True))
    columns = (sa.column(name, sa.Text()) for name in ("id", "status", "error", "notes"))
    backups = sa.table("backups", *columns)
    noted = backups.c.status.in_(["CREATED", "PARTIAL"]) & (backups.c.error != "")
    connection = op.get_bind()
    for backup_id, text in connection.execute(
        sa.select(backups.c.id, backups.c.error).where(noted)
    ).all():
        connection.execute(
            backups.update()
            .where(backups.c.id == backup_id)
            .values(error="", notes=json.dumps([text]))
        )

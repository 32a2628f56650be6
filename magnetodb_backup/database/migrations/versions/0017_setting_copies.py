# SPDX-License-Identifier: Apache-2.0
"""Which settings have to be copied to the store: at first, all."""

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, with a row for each schedule, policy and kept backup."""
    copies = op.create_table(
        "setting_copies",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.create_index("ix_setting_copies_pending", "setting_copies", ["pending"])
    time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    schedules = _table("schedules", "id", updated_at=time)
    policies = _table("retention_policies", updated_at=time)
    backups = _table("backups", "id", "kept_reason", kept_at=time)
    found = [
        ("schedule", sa.select(schedules.c.id, schedules.c.cluster, schedules.c.updated_at)),
        ("policy", sa.select(policies.c.cluster, policies.c.cluster, policies.c.updated_at)),
        (
            "mark",
            sa.select(backups.c.id, backups.c.cluster, backups.c.kept_at).where(
                backups.c.kept_reason != ""
            ),
        ),
    ]
    rows = [
        {"kind": kind, "subject": subject, "cluster": cluster, "generation": _micros(changed),
         "pending": True}
        for kind, query in found
        for subject, cluster, changed in op.get_bind().execute(query).all()
    ]  # fmt: skip
    if rows:
        op.bulk_insert(copies, rows)


def _table(name: str, *texts: str, **times: Any) -> sa.TableClause:
    columns = [sa.column(text, sa.String()) for text in ("cluster", *texts)]
    return sa.table(name, *columns, *[sa.column(text, kind) for text, kind in times.items()])


def _micros(changed: datetime | None) -> int:
    if changed is None:
        return 1
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return round((changed.replace(tzinfo=timezone.utc) - epoch).total_seconds() * 1_000_000)

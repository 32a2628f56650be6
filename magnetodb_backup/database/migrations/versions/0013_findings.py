# SPDX-License-Identifier: Apache-2.0
"""Findings of verifications have a table of their own."""

import itertools
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
_PACKS = sa.table(
    "damaged_packs",
    *(
        sa.column(name, sa.Text())
        for name in ("host_id", "pack", "verification_id", "backup_id", "cluster")
    ),
)
_JOBS = sa.table("jobs", sa.column("id", sa.Text()), sa.column("updated_at", _TIME))


def upgrade() -> None:
    """Create the table and fill it from the packs that are damaged now."""
    findings = op.create_table(
        "findings",
        sa.Column("host_id", sa.String(36), primary_key=True),
        sa.Column("object", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("cluster", sa.String(255), nullable=False),
        sa.Column("problem", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("first_seen", _TIME, nullable=False),
        sa.Column("last_seen", _TIME, nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("backup_id", sa.String(36), nullable=False),
        sa.Column("healed_at", _TIME, nullable=True),
        sa.Column("healed_by", sa.String(36), nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.create_index("ix_findings_cluster", "findings", ["cluster", "last_seen"])
    op.create_index("ix_findings_name", "findings", ["name"])
    connection = op.get_bind()
    jobs = sa.select(_JOBS.c.id, _JOBS.c.updated_at).where(
        _JOBS.c.id.in_(sa.select(_PACKS.c.verification_id))
    )
    seen: dict[str, datetime] = {row.id: row.updated_at for row in connection.execute(jobs)}
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    packs = connection.execute(sa.select(_PACKS).order_by(_PACKS.c.host_id, _PACKS.c.pack)).all()
    rows = [
        _finding([(seen.get(row.verification_id, now), row) for row in same])
        for _, same in itertools.groupby(packs, key=lambda row: (row.host_id, row.pack))
    ]
    if rows:
        connection.execute(findings.insert(), rows)


def _finding(found: list[tuple[datetime, Any]]) -> dict[str, Any]:
    """Return the finding of a pack that verifications found at these times."""
    times = [at for at, _ in found]
    last = max(found, key=lambda each: each[0])[1]
    return {
        "host_id": last.host_id,
        "object": "pack",
        "name": last.pack,
        "cluster": last.cluster,
        "problem": "damaged",  # an older release did not record how
        "detail": "",
        "first_seen": min(times),
        "last_seen": max(times),
        "job_id": last.verification_id,
        "backup_id": last.backup_id,
        "healed_at": None,
        "healed_by": "",
    }

# SPDX-License-Identifier: Apache-2.0
"""Damaged packs have a table; what is asked for with each report of a worker has an index."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_JOBS = sa.table(
    "jobs",
    *(
        sa.column(name, sa.Text())
        for name in ("id", "kind", "subject_id", "cluster", "parameters", "result")
    ),
    sa.column("created_at", sa.DateTime()),
)
_STEPS = sa.table(
    "job_steps", *(sa.column(name, sa.Text()) for name in ("job_id", "name", "result"))
)


def upgrade() -> None:
    """Create the table and fill it from the results of verifications and uploads."""
    packs = op.create_table(
        "damaged_packs",
        sa.Column("host_id", sa.String(36), primary_key=True),
        sa.Column("pack", sa.String(64), primary_key=True),
        sa.Column("verification_id", sa.String(36), primary_key=True),
        sa.Column("backup_id", sa.String(36), nullable=False),
        sa.Column("cluster", sa.String(255), nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.create_index("ix_damaged_packs_backup_id", "damaged_packs", ["backup_id"])
    op.create_index("ix_damaged_packs_cluster", "damaged_packs", ["cluster"])
    op.create_index("ix_backups_status", "backups", ["status", "cluster"])
    op.create_index("ix_restores_status", "restores", ["status", "cluster"])
    connection = op.get_bind()
    for verification in _jobs(connection, "verification"):
        report = json.loads(verification.result or "{}")
        if report.get("read_data"):
            same = packs.c.backup_id == verification.subject_id
            connection.execute(packs.delete().where(same))
        rows = [
            {
                "host_id": host_id,
                "pack": pack,
                "verification_id": verification.id,
                "backup_id": verification.subject_id,
                "cluster": verification.cluster,
            }
            for host_id, pack in sorted(set(_packs(report)))
        ]
        if rows:
            connection.execute(packs.insert(), rows)
    _forget_replaced(connection, packs)


def _jobs(connection: Any, kind: str) -> Iterator[Any]:
    """Yield finished jobs of a kind, the oldest first; one result is in memory at a time."""
    wanted = sa.select(_JOBS.c.id).where(_JOBS.c.kind == kind, _JOBS.c.result.is_not(None))
    for job_id in connection.scalars(wanted.order_by(_JOBS.c.created_at)).all():
        yield connection.execute(sa.select(_JOBS).where(_JOBS.c.id == job_id)).one()


def _packs(report: Any) -> Iterator[tuple[str, str]]:
    for problem in report.get("problems", ()):
        if problem.get("pack"):
            yield problem["host_id"], problem["pack"]
    for host_id, found in report.get("further_packs", {}).items():
        yield from ((host_id, pack) for pack in found)


def _forget_replaced(connection: Any, packs: Any) -> None:
    """Remove what uploads have replaced: they name the verifications."""
    if connection.scalar(sa.select(sa.func.count()).select_from(packs)) == 0:
        return
    uploads = sa.select(_STEPS.c.job_id).where(_STEPS.c.name == "upload")
    for job_id in sorted(set(connection.scalars(uploads).all())):
        results = sa.select(_STEPS.c.result).where(
            _STEPS.c.job_id == job_id, _STEPS.c.name == "upload"
        )
        for text in connection.scalars(results).all():
            for host_id, node in json.loads(text).get("results", {}).items():
                for pack, verifications in node.get("replaced", {}).items():
                    connection.execute(
                        packs.delete().where(
                            packs.c.host_id == host_id,
                            packs.c.pack == pack,
                            packs.c.verification_id.in_(verifications),
                        )
                    )

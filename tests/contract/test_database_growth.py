# SPDX-License-Identifier: Apache-2.0
"""The bytes of tables in backups, on every database."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import update

from magnetodb_backup.database import Database
from magnetodb_backup.database.models import BackupRow, JobRow
from magnetodb_backup.domain.backup.growth import TableBytes
from magnetodb_backup.domain.backup.status import BackupStatus as S
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject, SubjectKind
from tests.lab.catalogue import recorded


def ended(database: Database, days: float, *tables: TableBytes, status: S = S.CREATED) -> str:
    """Record a backup that ended so many days ago."""
    backup = recorded(database, "c", status)
    database.growth.record(backup.id, tables)
    with database._engine.begin() as connection:
        at = datetime.now(timezone.utc) - timedelta(days=days)
        values = {"finished_at": at}
        connection.execute(update(BackupRow).where(BackupRow.id == backup.id).values(values))
    return backup.id


def looked(database: Database, kind: str, days: float, **result: Any) -> None:
    """Record a survey or a collection that ended so many days ago."""
    subject = Subject.cluster("c") if kind == JobKind.COLLECTION else Subject(SubjectKind.NONE)
    job = database.jobs.create(kind, subject, "c", {})
    total = {"bytes": 1000, "freed_bytes": 0}
    found = {"total": total, "nodes": {"h": {"error": ""}}, **result}
    database.jobs.finish(job.id, JobStatus.DONE, result=found)
    with database._engine.begin() as connection:
        at = datetime.now(timezone.utc) - timedelta(days=days)
        connection.execute(update(JobRow).where(JobRow.id == job.id).values(updated_at=at))


def test_what_backups_of_the_last_days_added(database: Database) -> None:
    many = 2**40
    for days in (1, 3, 5):
        ended(database, days, TableBytes("ks", "t", many, many // 2), TableBytes("ks", "u", 7, 0))
    ended(database, 31, TableBytes("ks", "old", 9, 9))
    ended(database, 4, TableBytes("ks", "t", 1, 10), status=S.CREATE_FAILED)
    found = database.growth.growth("c")
    assert {t.table: (t.bytes, t.rate.added) for t in found.tables} == {
        "t": (many, 3 * (many // 2) + 10),
        "u": (7, 0),
    }
    assert found.rate.backups == 4
    assert found.rate.per_day == pytest.approx(0.2714 * many, rel=0.01)
    assert database.growth.growth("other").tables == ()


def test_what_is_recorded_again_takes_the_place(database: Database) -> None:
    backup_id = ended(database, 1, TableBytes("ks", "t", 5, 5), TableBytes("ks", "u", 1, 1))
    database.growth.record(backup_id, [TableBytes("ks", "t", 6, 0)])
    (table,) = database.growth.growth("c").tables
    assert (table.bytes, table.rate.added) == (6, 0)


def test_thousands_of_tables(database: Database) -> None:
    ended(database, 1, *(TableBytes("ks", f"t{n}", n, 1) for n in range(2500)))
    found = database.growth.growth("c")
    assert (len(found.tables), found.rate.added, found.rate.backups) == (2500, 2500, 1)


def test_the_newest_whole_look_says_what_is_stored(database: Database) -> None:
    assert database.growth.growth("c").stored is None
    looked(database, JobKind.SURVEY, 3, quota=5000)
    looked(database, JobKind.COLLECTION, 2, total={"bytes": 900, "freed_bytes": 200})
    looked(database, JobKind.SURVEY, 1, nodes={"h": {"error": "the node is down"}})
    stored = database.growth.growth("c").stored
    assert stored is not None
    assert (stored.bytes, stored.quota) == (700, None)
    assert timedelta(days=1.9) < datetime.now(timezone.utc) - stored.at < timedelta(days=2.1)
    looked(database, JobKind.SURVEY, 0, quota=5000)
    stored = database.growth.growth("c").stored
    assert stored is not None
    assert (stored.bytes, stored.quota) == (1000, 5000)

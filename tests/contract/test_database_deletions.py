# SPDX-License-Identifier: Apache-2.0
"""What the records of deleted backups promise, on every database."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.errors import Conflict, NotFound
from tests.lab.catalogue import MISSING, recorded

S = BackupStatus
LONG = timedelta(hours=1)  # a database's clock does not advance so far in a test


def deleted(database: Database, *, left: timedelta = LONG, cluster: str = "c") -> Backup:
    """Record a deleted backup that can be undeleted for so long."""
    backup, now = recorded(database, cluster, S.DELETING), database.deletions.now()
    return database.deletions.record(backup.id, now, undelete_until=now + left)


def test_the_clock_is_that_of_the_database(database: Database) -> None:
    now = database.deletions.now()
    assert now.tzinfo is timezone.utc
    assert abs(now - datetime.now(timezone.utc)) < timedelta(minutes=5)


def test_times_of_a_deletion_are_kept(database: Database) -> None:
    backup = recorded(database, "c", S.DELETING)
    at = datetime(2026, 12, 1, 2, 3, 4, 567891, timezone.utc)
    for _ in range(2):  # a conductor that adopts the job repeats it
        made = database.deletions.record(backup.id, at, undelete_until=at + LONG)
    kept = database.backups.get(backup.id)
    assert kept == made
    assert (kept.status, kept.deleted_at, kept.undelete_until) == (S.DELETED, at, at + LONG)
    assert (kept.purged_at, kept.error) == (None, "")
    assert database.backups.list(status="DELETED")[0].undelete_until == at + LONG


@pytest.mark.parametrize("status", sorted(set(S) - {S.DELETING, S.DELETED}))
def test_only_what_is_being_deleted_is_deleted(database: Database, status: BackupStatus) -> None:
    backup = recorded(database, "c", status)
    with pytest.raises(Conflict, match=f"is {status.value} and cannot become DELETED"):
        database.deletions.record(backup.id, database.deletions.now())
    assert database.backups.get(backup.id) == backup


def test_undeletion_begins_with_its_job_and_once(database: Database) -> None:
    backup = deleted(database)
    job = database.deletions.request_undeletion(backup.id)
    assert (job.kind, job.subject, job.cluster) == (
        JobKind.UNDELETION, Subject.backup(backup.id), "c",
    )  # fmt: skip
    assert database.backups.get(backup.id) == backup
    with pytest.raises(Conflict, match=f"an undeletion of backup {backup.id} is PENDING"):
        database.deletions.request_undeletion(backup.id)
    with pytest.raises(Conflict, match=f"an undeletion of backup {backup.id} is PENDING"):
        database.backups.request_deletion(backup.id)
    undone = database.deletions.undone(backup.id, S.PARTIAL, backup.created_at)
    database.jobs.finish(job.id, JobStatus.DONE)
    assert (undone.status, undone.deleted_at, undone.undelete_until) == (S.PARTIAL, None, None)
    assert database.deletions.undone(backup.id, S.PARTIAL, backup.created_at) == (
        database.backups.get(backup.id)
    )
    assert database.backups.request_deletion(backup.id).kind == JobKind.DELETION


def test_undeletion_is_refused_by_the_reason(database: Database) -> None:
    with pytest.raises(NotFound, match=MISSING):
        database.deletions.request_undeletion(MISSING)
    for status in sorted(set(S) - {S.DELETED}):
        with pytest.raises(Conflict, match=f"is {status.value}; only a backup that is DELETED"):
            database.deletions.request_undeletion(recorded(database, "c", status).id)
    with pytest.raises(Conflict, match="an older release deleted it"):
        database.deletions.request_undeletion(recorded(database, "c", S.DELETED).id)
    over = deleted(database, left=timedelta())
    with pytest.raises(Conflict, match="its undelete period ended at 20"):
        database.deletions.request_undeletion(over.id)
    database.deletions.purged(over.id)
    with pytest.raises(Conflict, match="its manifests were purged at 20"):
        database.deletions.request_undeletion(over.id)


def test_due_are_those_of_the_cluster_whose_period_is_over(database: Database) -> None:
    recorded(database, "c", S.DELETED)  # by an older release
    recorded(database, "c", S.CREATED)
    kept, first = deleted(database), deleted(database, left=timedelta())
    second, purged = deleted(database, left=-LONG), deleted(database, left=timedelta())
    other = deleted(database, left=timedelta(), cluster="C")
    assert database.deletions.begin_purge(purged.id)
    assert database.deletions.due("c") == (first.id, second.id, purged.id)
    database.deletions.purged(purged.id)
    assert database.deletions.due("c") == (first.id, second.id)
    assert database.deletions.due("C") == (other.id,)
    assert [database.deletions.begin_purge(b.id) for b in (kept, first, purged)] == [
        False, True, False,
    ]  # fmt: skip


def test_purge_and_undeletion_exclude_each_other(database: Database) -> None:
    backup = deleted(database)
    job = database.deletions.request_undeletion(backup.id)
    database.deletions.record(
        backup.id, database.deletions.now() - LONG, undelete_until=database.deletions.now()
    )  # the period ends while the undeletion waits
    assert not database.deletions.begin_purge(backup.id)
    database.jobs.finish(job.id, JobStatus.FAILED)
    assert database.deletions.begin_purge(backup.id)
    with pytest.raises(Conflict, match="its manifests are being purged"):
        database.deletions.request_undeletion(backup.id)
    assert database.deletions.begin_purge(backup.id)  # as after a crash
    for _ in range(2):
        database.deletions.purged(backup.id)
    assert not database.deletions.begin_purge(backup.id)


def test_what_is_not_deleted_is_not_recorded_as_purged(database: Database) -> None:
    backup = recorded(database, "c", S.CREATED)
    database.deletions.purged(backup.id)
    assert database.backups.get(backup.id) == backup


def test_readers_of_a_backup_are_named(database: Database) -> None:
    backup = recorded(database, "c", S.CREATED)
    job = database.jobs.create(JobKind.VERIFICATION, Subject.backup(backup.id), "c", {})
    with pytest.raises(Conflict, match=f"{backup.id} is read by verification {job.id}; wait for"):
        database.backups.request_deletion(backup.id)
    assert not database.jobs.get(job.id).cancel_requested
    database.jobs.finish(job.id, JobStatus.DONE)
    database.backups.request_deletion(backup.id)

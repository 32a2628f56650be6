# SPDX-License-Identifier: Apache-2.0
"""Requests to undelete a backup."""

from __future__ import annotations

from datetime import timedelta

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus
from magnetodb_backup.errors import Conflict
from magnetodb_backup.requests.service import RecordedRequests
from tests.lab.catalogue import Clock
from tests.unit.requests.test_backups import (
    ALL,
    Conductor,
    brought_to,
    conductor,
    database,
    pending,
    requests,
)

__all__ = ["conductor", "database", "requests"]  # fixtures

S = BackupStatus


def _deleted(database: Database, backup: Backup) -> None:
    """Bring a backup that is DELETING to its end; the fixture's clock is the database's."""
    (job,) = database.jobs.unfinished()
    now = database.deletions.now()
    database.deletions.record(backup.id, now, undelete_until=now + timedelta(seconds=100))
    database.jobs.finish(job.id, JobStatus.DONE)


def test_a_deleted_backup_is_undeleted(
    requests: RecordedRequests, database: Database, conductor: Conductor, clock: Clock
) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, BackupStatus.CREATED)
    requests.delete_backup(backup.id)
    with pytest.raises(Conflict, match=f"{backup.id} is DELETING; only a backup that is DELETED"):
        requests.undelete_backup(backup.id)
    _deleted(database, backup)
    clock.now += 99
    woken = conductor.woken
    assert requests.undelete_backup(backup.id).status is BackupStatus.DELETED
    assert (pending(database), conductor.woken) == ([JobKind.UNDELETION], woken + 1)
    with pytest.raises(Conflict, match=f"an undeletion of backup {backup.id} is PENDING"):
        requests.undelete_backup(backup.id)


def test_a_deleted_backup_is_not_undeleted_after_its_period(
    requests: RecordedRequests, database: Database, clock: Clock
) -> None:
    backup = requests.create_backup(ALL)
    brought_to(database, backup, BackupStatus.CREATED)
    requests.delete_backup(backup.id)
    _deleted(database, backup)
    clock.now += 100
    with pytest.raises(Conflict, match=r"its undelete period ended at 2027-01-15 08:01:40\+00:00"):
        requests.undelete_backup(backup.id)
    assert database.deletions.begin_purge(backup.id)
    clock.now -= 100  # a database's clock that is set back
    with pytest.raises(Conflict, match="its manifests are being purged"):
        requests.undelete_backup(backup.id)
    database.deletions.purged(backup.id)
    with pytest.raises(Conflict, match="its manifests were purged at 2027-01-15 08:00:00"):
        requests.undelete_backup(backup.id)
    assert pending(database) == []


def test_a_backup_that_an_older_release_deleted_is_not_undeleted(
    requests: RecordedRequests, database: Database
) -> None:
    """It has nothing in the store."""
    backup = requests.create_backup(ALL)
    brought_to(database, backup, S.CREATED, S.DELETING, S.DELETED)
    with pytest.raises(Conflict, match=f"{backup.id} cannot be undeleted: an older release delet"):
        requests.undelete_backup(backup.id)
    assert database.deletions.due(backup.cluster) == ()

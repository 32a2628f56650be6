# SPDX-License-Identifier: Apache-2.0
"""A catalogue on SQLite, and backups of any status in it."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from magnetodb_backup.database import Database, connect
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Fence, Job, JobKind, JobStatus, Subject

_FILE = "catalogue.sqlite"
MISSING = "11111111-1111-4111-8111-111111111111"
_WAYS = {
    BackupStatus.DELETING: [BackupStatus.CREATED],
    BackupStatus.DELETED: [BackupStatus.CREATED, BackupStatus.DELETING],
    BackupStatus.DELETE_FAILED: [BackupStatus.CREATED, BackupStatus.DELETING],
}


class Clock:
    """Seconds since the epoch, with a fraction that single precision would lose; stands still."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.125

    def __call__(self) -> float:
        return self.now


@contextmanager
def catalogue(directory: Path, clock: Callable[[], float] | None = None) -> Iterator[Database]:
    """Make a database in ``directory``, with this version's tables."""
    path = directory / _FILE
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(_with_tables())
    database = connect(url_in(directory), *([clock] if clock else []))
    yield database
    database.close()


def url_in(directory: Path) -> str:
    """Return the URL of the catalogue in ``directory``."""
    return f"sqlite:///{directory / _FILE}"


@cache
def _with_tables() -> bytes:
    """Return the file of a new database; making it takes sixty milliseconds."""
    with tempfile.TemporaryDirectory() as directory:
        database = connect(url_in(Path(directory)))
        database.sync()
        database.close()
        return (Path(directory) / _FILE).read_bytes()


def job_of(database: Database, backup_id: str, kind: str = JobKind.BACKUP) -> Job:
    """Return the backup's latest job of a kind."""
    job = database.jobs.latest(Subject.backup(backup_id), kind)
    assert job is not None
    return job


def adopt(database: Database, job_id: str, owner: str = "conductor") -> tuple[Job, Fence]:
    """Claim a job as if its owner, if it has one, had been silent."""
    claimed = database.jobs.claim(job_id, owner, timeout=0.0)
    assert claimed is not None
    return claimed


def recorded(
    database: Database, cluster: str, status: BackupStatus = BackupStatus.CREATING, name: str = ""
) -> Backup:
    """Record a backup of this status; its job is finished unless it is CREATING."""
    request = BackupRequest({"type": "all"}, name)
    backup = database.backups.create(request, str(uuid.uuid4()), cluster)
    if status is BackupStatus.CREATING:
        return backup
    database.jobs.finish(job_of(database, backup.id).id, JobStatus.DONE)
    for step in [*_WAYS.get(status, []), status]:
        backup = database.backups.set_status(backup.id, step)
    return backup

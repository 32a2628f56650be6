# SPDX-License-Identifier: Apache-2.0
"""What the database knows of the backups of a world, as conductors record it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from magnetodb_backup.domain.backup.collection import KnownManifest
from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.backup.records import CommittedBackup
from tests.unit.repository.disk import backup_id


class Status(enum.Enum):
    """UNDELETING is DELETED with a job that undeletes; a PURGED one is DELETED for good."""

    CREATING = "CREATING"
    CREATED = "CREATED"
    DELETING = "DELETING"
    DELETED = "DELETED"
    UNDELETING = "UNDELETING"
    PURGED = "PURGED"


_REQUIRED = (Status.CREATED, Status.DELETED, Status.UNDELETING)


@dataclass
class Record:
    """One backup; ``manifests`` by host ID, ``undelete_until`` in seconds.

    ``doomed`` is set once it is decided that the backup cannot come back.
    """

    status: Status = Status.CREATING
    manifests: dict[str, StoredObject] = field(default_factory=dict)
    sha256: str = ""
    undelete_until: float | None = None
    doomed: bool = False


class Catalogue:
    """The records by number."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}

    def numbers(self, *statuses: Status) -> list[int]:
        """Return the backups with one of these statuses, the oldest first."""
        return sorted(n for n, record in self.records.items() if record.status in statuses)

    def newest(self, limit: int) -> tuple[CommittedBackup, ...]:
        """Return the newest complete backups."""
        found = self.numbers(Status.CREATED)[::-1][:limit]
        return tuple(CommittedBackup(backup_id(n), self.records[n].sha256) for n in found)

    def known(self, host: str) -> tuple[KnownManifest, ...]:
        """Return the manifests of a node, as a conductor gives them to a collection."""
        return tuple(
            KnownManifest(backup_id(number), stored.size, stored.sha256, record.status in _REQUIRED)
            for number, record in self.records.items()
            if record.status is not Status.PURGED and not record.doomed
            if (stored := record.manifests.get(host)) is not None
        )

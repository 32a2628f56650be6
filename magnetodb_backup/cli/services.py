# SPDX-License-Identifier: Apache-2.0
"""The parts of the service that the commands use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # libraries that most commands do without: see cmd/manage.py
    from magnetodb_backup.database import Database
    from magnetodb_backup.domain.backup.manifest import BackupManifest, FileEntry
    from magnetodb_backup.repository.stored_backups import StoredBackups
    from magnetodb_backup.requests.interface import Requests


class ManifestSource(Protocol):
    """Reads manifests from the store."""

    def read_backup(self, backup_id: str) -> BackupManifest:
        """Return a backup's manifest; NotFound if there is none."""

    def node_manifest(self, backup_id: str, host_id: str) -> Iterable[FileEntry]:
        """Return the files of a node manifest; NotFound if there is none."""


@dataclass(frozen=True)
class Services:
    """Factories: a command opens only what it needs. ``repository`` takes a cluster's name.

    ``poll_interval``: longest time in seconds between two looks at what is waited for.
    ``command``: the program with its configuration, as an operator types it.
    """

    database: Callable[[], Database]
    unchecked_database: Callable[[], Database]
    requests: Callable[[], Requests]
    repository: Callable[[str], ManifestSource]
    catalogue: Callable[[], StoredBackups]
    poll_interval: float = 0.5
    command: str = "magnetodb-backup-manage"

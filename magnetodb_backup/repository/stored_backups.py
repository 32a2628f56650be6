# SPDX-License-Identifier: Apache-2.0
"""Lists the clusters and backups found in the store."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.errors import FormatProblem, NotFound, Permanent
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.storage.driver import StorageDriver

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredBackup:
    """A committed backup; ``manifest_sha256`` is the digest of the stored manifest."""

    manifest: BackupManifest
    manifest_sha256: str


@dataclass(frozen=True)
class UnreadableBackup:
    """An object with the name of a backup manifest that this version cannot use.

    ``absent``: the object does not exist, though a lagging listing may still name it.
    """

    cluster: str
    backup_id: str
    reason: str
    absent: bool = False


@dataclass(frozen=True)
class StoredBackups:
    """The backups below a prefix; each call reads the store."""

    driver: StorageDriver
    prefix: str

    def clusters(self) -> Iterator[str]:
        """Yield the names of all clusters with a container."""
        for name in self.driver.containers(layout.containers_prefix(self.prefix)):
            cluster = layout.parse_cluster_container(self.prefix, name)
            if cluster is not None:
                yield cluster

    def backups(self, cluster: str) -> Iterator[StoredBackup | UnreadableBackup]:
        """Yield every listed backup of a cluster, reading one manifest at a time.

        What the store has of a backup that was not committed is passed over.
        """
        repository = self._repository(cluster)
        for backup_id in repository.ids_with_objects():
            found = self.backup(cluster, backup_id)
            if isinstance(found, StoredBackup) or repository.lists_manifest(backup_id):
                yield found

    def backup(self, cluster: str, backup_id: str) -> StoredBackup | UnreadableBackup:
        """Return one backup, listed or not."""
        try:
            manifest, stored = self._repository(cluster).read_commit(backup_id)
            if manifest.backup_id != backup_id or manifest.cluster != cluster:
                raise FormatProblem(
                    f"{stored.name}: is the manifest of backup {manifest.backup_id} of cluster "
                    f"{manifest.cluster!r}; another program copied it there"
                )
        except NotFound as error:
            return UnreadableBackup(cluster, backup_id, str(error), absent=True)
        except Permanent as error:
            return UnreadableBackup(cluster, backup_id, str(error))
        return StoredBackup(manifest, stored.sha256)

    def _repository(self, cluster: str) -> ClusterRepository:
        return ClusterRepository(self.driver, self.prefix, cluster)


def clusters(driver: StorageDriver, prefix: str) -> Iterator[str]:
    """Yield the names of all clusters with a container of this prefix."""
    return StoredBackups(driver, prefix).clusters()


def stored_backups(driver: StorageDriver, prefix: str, cluster: str) -> Iterator[BackupManifest]:
    """Yield the manifests of a cluster's committed backups; log unreadable ones."""
    for found in StoredBackups(driver, prefix).backups(cluster):
        if isinstance(found, StoredBackup):
            yield found.manifest
        elif not found.absent:
            LOG.warning("backup %s of cluster %r: %s", found.backup_id, cluster, found.reason)

# SPDX-License-Identifier: Apache-2.0
"""Lists the clusters and backups found in the store."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.errors import FormatProblem, NotFound, Permanent
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.format.deleted import DeletedManifest
from magnetodb_backup.storage.driver import StorageDriver

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredBackup:
    """A committed backup; ``manifest_sha256`` is the digest of the stored manifest.

    ``deleted`` is what the store keeps of a deleted one, so that it can be undeleted.
    """

    manifest: BackupManifest
    manifest_sha256: str
    deleted: DeletedManifest | None = None


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

        Deleted ones are among them until they are purged. What the store has of a backup that was
        not committed is passed over.
        """
        repository = self._repository(cluster)
        listed = heapq.merge(repository.ids_with_objects(), repository.deleted_ids())
        for backup_id, _ in groupby(listed):
            found = self.backup(cluster, backup_id)
            if isinstance(found, StoredBackup) or repository.lists_manifest(backup_id):
                yield found

    def backup(self, cluster: str, backup_id: str) -> StoredBackup | UnreadableBackup:
        """Return one backup, listed or not; one with both manifests is not deleted."""
        try:
            return self._committed(cluster, backup_id)
        except NotFound as error:
            absent = UnreadableBackup(cluster, backup_id, str(error), absent=True)
        except Permanent as error:
            return UnreadableBackup(cluster, backup_id, str(error))
        try:
            return self._deleted(cluster, backup_id)
        except NotFound:
            return absent
        except Permanent as error:
            return UnreadableBackup(cluster, backup_id, str(error))

    def _committed(self, cluster: str, backup_id: str) -> StoredBackup:
        manifest, stored = self._repository(cluster).read_commit(backup_id)
        return StoredBackup(_checked(manifest, cluster, backup_id, stored.name), stored.sha256)

    def _deleted(self, cluster: str, backup_id: str) -> StoredBackup:
        deleted = self._repository(cluster).read_deleted(backup_id)
        name = layout.deleted_manifest_name(backup_id)
        manifest = _checked(deleted.parsed(name), cluster, backup_id, name)
        return StoredBackup(manifest, deleted.sha256, deleted)

    def _repository(self, cluster: str) -> ClusterRepository:
        return ClusterRepository(self.driver, self.prefix, cluster)


def _checked(manifest: BackupManifest, cluster: str, backup_id: str, name: str) -> BackupManifest:
    if (manifest.backup_id, manifest.cluster) != (backup_id, cluster):
        raise FormatProblem(
            f"{name}: is the manifest of backup {manifest.backup_id} of cluster "
            f"{manifest.cluster!r}; another program copied it there"
        )
    return manifest


def clusters(driver: StorageDriver, prefix: str) -> Iterator[str]:
    """Yield the names of all clusters with a container of this prefix."""
    return StoredBackups(driver, prefix).clusters()


def stored_backups(driver: StorageDriver, prefix: str, cluster: str) -> Iterator[BackupManifest]:
    """Yield the manifests of a cluster's backups that are not deleted; log unreadable ones."""
    for found in StoredBackups(driver, prefix).backups(cluster):
        if isinstance(found, StoredBackup):
            if found.deleted is None:
                yield found.manifest
        elif not found.absent:
            LOG.warning("backup %s of cluster %r: %s", found.backup_id, cluster, found.reason)

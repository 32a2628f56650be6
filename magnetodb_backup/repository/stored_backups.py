# SPDX-License-Identifier: Apache-2.0
"""Lists the clusters and backups found in the store."""

from __future__ import annotations

import heapq
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TypeVar

from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.errors import FormatProblem, NotFound, Permanent
from magnetodb_backup.repository.cluster import ClusterRepository, parsed_commit
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.format.deleted import DeletedManifest
from magnetodb_backup.storage.driver import StorageDriver

LOG = logging.getLogger(__name__)
READERS = 8  # manifests that are read at the same time
Used = TypeVar("Used")


@dataclass(frozen=True)
class StoredBackup:
    """A committed backup; SHA-256 and size in bytes are those of the stored manifest.

    ``deleted`` is what the store keeps of a deleted one, so that it can be undeleted.
    """

    manifest: BackupManifest
    manifest_sha256: str
    manifest_size: int
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


class StoredBackups:
    """The backups below a prefix; each call reads the store."""

    def __init__(self, driver: StorageDriver, prefix: str, *, readers: int = READERS) -> None:
        self.driver, self.prefix, self._readers = driver, prefix, readers
        self._parsing = threading.Lock()

    def as_of(self, moment: datetime) -> StoredBackups:
        """Return the backups in the store as it was at ``moment`` (with a time zone).

        :raises InvalidValue: if the store keeps no earlier versions of objects.
        """
        return StoredBackups(self.driver.as_of(moment), self.prefix, readers=self._readers)

    def clusters(self) -> Iterator[str]:
        """Yield the names of all clusters with a container."""
        for name in self.driver.containers(layout.containers_prefix(self.prefix)):
            cluster = layout.parse_cluster_container(self.prefix, name)
            if cluster is not None:
                yield cluster

    def ids(self, cluster: str) -> Iterator[str]:
        """Yield the IDs that the store lists objects of, committed or deleted or not, in order.

        Of a deleted backup, the manifest that was set aside is such an object. The listings are
        short: they have no objects.
        """
        repository = self._repository(cluster)
        listed = heapq.merge(repository.ids_with_objects(), repository.deleted_ids())
        return (backup_id for backup_id, _ in groupby(listed))

    def backups(self, cluster: str) -> Iterator[StoredBackup | UnreadableBackup]:
        """Yield every listed backup of a cluster.

        Deleted ones are among them until they are purged. What the store has of a backup that was
        not committed is passed over.
        """
        for found in self.listed(cluster, self.ids(cluster), lambda backup: backup):
            if found is not None:
                yield found

    def listed(
        self, cluster: str, ids: Iterable[str], use: Callable[[StoredBackup], Used]
    ) -> Iterator[Used | UnreadableBackup | None]:
        """Yield what ``use`` returns for each of these backups, in their order.

        Several manifests are read at the same time, but only one is parsed and used: a large one
        takes a hundred megabytes until ``use``, called by the reading thread, returns the part of
        it that is needed. It is None for a backup that was not committed, and is not listed so.
        Deleted ones are given to ``use`` too.
        """
        repository = self._repository(cluster)

        def read(backup_id: str) -> Used | UnreadableBackup | None:
            found = self._used(cluster, backup_id, use)
            if isinstance(found, UnreadableBackup) and not repository.lists_manifest(backup_id):
                return None
            return found

        return _in_order(read, ids, self._readers)

    def named(
        self, cluster: str, ids: Iterable[str], use: Callable[[StoredBackup], Used]
    ) -> Iterator[Used | UnreadableBackup]:
        """Yield what ``listed`` does for backups that need not be listed."""
        return _in_order(lambda id_: self._used(cluster, id_, use), ids, self._readers)

    def backup(self, cluster: str, backup_id: str) -> StoredBackup | UnreadableBackup:
        """Return one backup, listed or not; one with both manifests is not deleted."""
        return self._used(cluster, backup_id, lambda backup: backup)

    def _used(
        self, cluster: str, backup_id: str, use: Callable[[StoredBackup], Used]
    ) -> Used | UnreadableBackup:
        repository = self._repository(cluster)
        try:
            text = repository.read_commit_text(backup_id)
            with self._parsing:
                return use(_committed(cluster, backup_id, text))
        except NotFound as error:
            absent = UnreadableBackup(cluster, backup_id, str(error), absent=True)
        except Permanent as error:
            return UnreadableBackup(cluster, backup_id, str(error))
        try:
            deleted = repository.read_deleted(backup_id)
            with self._parsing:
                return use(_deleted(cluster, backup_id, deleted))
        except NotFound:
            return absent
        except Permanent as error:
            return UnreadableBackup(cluster, backup_id, str(error))

    def _repository(self, cluster: str) -> ClusterRepository:
        return ClusterRepository(self.driver, self.prefix, cluster)


def _committed(cluster: str, backup_id: str, text: bytes) -> StoredBackup:
    manifest, stored = parsed_commit(backup_id, text)
    _check(manifest, cluster, backup_id, stored.name)
    return StoredBackup(manifest, stored.sha256, stored.size)


def _deleted(cluster: str, backup_id: str, deleted: DeletedManifest) -> StoredBackup:
    name = layout.deleted_manifest_name(backup_id)
    manifest = deleted.parsed(name)
    _check(manifest, cluster, backup_id, name)
    return StoredBackup(manifest, deleted.sha256, len(deleted.text), deleted)


def _check(manifest: BackupManifest, cluster: str, backup_id: str, name: str) -> None:
    if (manifest.backup_id, manifest.cluster) != (backup_id, cluster):
        raise FormatProblem(
            f"{name}: is the manifest of backup {manifest.backup_id} of cluster "
            f"{manifest.cluster!r}; another program copied it there"
        )


def _in_order(work: Callable[[str], Used], items: Iterable[str], threads: int) -> Iterator[Used]:
    """Yield the results of ``work`` in the order of the items; so many are worked on at once."""
    with ThreadPoolExecutor(threads, thread_name_prefix="manifest") as pool:
        running: deque[Future[Used]] = deque()
        try:
            for item in items:
                running.append(pool.submit(work, item))
                if len(running) >= threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for each in running:
                each.cancel()


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

# SPDX-License-Identifier: Apache-2.0
"""The node manifests that earlier backups have stored of one node."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from magnetodb_backup.domain.backup.manifest import BackupManifest, StoredObject
from magnetodb_backup.domain.backup.records import CommittedBackup
from magnetodb_backup.errors import BackupError, CorruptObject, FormatProblem, NotFound
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.manifests import NodeManifestReader
from magnetodb_backup.repository.format.names import deleted_manifest_name

LOG = logging.getLogger(__name__)
UNREADABLE = (FormatProblem, CorruptObject, NotFound)


class NodeManifests:
    """Finds the node manifests of the node with ``host_id``."""

    def __init__(self, cluster: ClusterRepository, host_id: str) -> None:
        self._cluster, self._host_id = cluster, host_id

    def newest_first(
        self,
        left_out: tuple[type[BackupError], ...] = UNREADABLE,
        missed: Callable[[], None] = lambda: None,
    ) -> Iterator[NodeManifestReader]:
        """Yield readers of all stored node manifests of this node, the latest snapshot first.

        A manifest that cannot be read for one of the reasons ``left_out`` is logged instead, and
        ``missed`` is called: by default one that is malformed, or was deleted meanwhile.
        """
        for backup_id in self._by_time(left_out, missed):
            reader = None
            with logged(left_out, missed):
                reader = self._cluster.node_manifest(backup_id, self._host_id)
            if reader is not None:
                yield reader

    def proved(self, committed: Sequence[CommittedBackup]) -> Iterator[NodeManifestReader]:
        """Yield readers of those that are what their backup manifests name, the newest first.

        They leave out files whose bytes were moved: moves are not proved.
        ``committed`` are the newest backups that the catalogue knows. If none of them has one, all
        backups in the store are looked at. What another program has stored is logged and left out.
        """
        any_found = False
        for backup in committed:
            for reader in self._proved(backup):
                any_found = True
                yield reader
        if not any_found:
            for backup_id in self._by_time(UNREADABLE):
                yield from self._proved(CommittedBackup(backup_id))

    def _proved(self, backup: CommittedBackup) -> Iterator[NodeManifestReader]:
        """Yield a reader, or nothing if the backup has no share of this node that is proved."""
        reader = None
        with logged():
            try:
                manifest, stored = self._manifest(backup.backup_id)
            except NotFound:
                return  # it was never committed, or it is purged
            if backup.manifest_sha256 not in ("", stored.sha256):
                raise CorruptObject(f"{stored.name} is not what the catalogue knows")
            for share in manifest.nodes:
                if share.host_id != self._host_id:
                    continue
                found = self._cluster.digest_node_manifest(backup.backup_id, self._host_id)
                if found != share.manifest:
                    raise CorruptObject(f"{found.name} does not match the backup manifest")
                reader = self._cluster.unmoved_files(
                    backup.backup_id, self._host_id, share.manifest
                )
        if reader is not None:
            yield reader

    def _manifest(self, backup_id: str) -> tuple[BackupManifest, StoredObject]:
        """Return a backup's manifest, and its digest; that of a deleted one is as good a proof."""
        try:
            return self._cluster.read_commit(backup_id)
        except NotFound:
            deleted = self._cluster.read_deleted(backup_id)
        name = deleted_manifest_name(backup_id)
        return deleted.parsed(name), StoredObject(name, len(deleted.text), deleted.sha256)

    def _by_time(
        self, left_out: tuple[type[BackupError], ...], missed: Callable[[], None] = lambda: None
    ) -> list[str]:
        """Return the IDs of the backups that have a node manifest, the latest snapshot first."""
        found = []
        for backup_id in self._cluster.ids_with_objects():
            with logged(left_out, missed):
                try:
                    reader = self._cluster.node_manifest(backup_id, self._host_id)
                except NotFound:
                    continue  # this node took no part in it
                found.append((reader.header.snapshot_started_at, backup_id))
        return [backup_id for _, backup_id in sorted(found, reverse=True)]


@contextmanager
def logged(
    left_out: tuple[type[BackupError], ...] = UNREADABLE, missed: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Log the errors of a node manifest that is left out, and call ``missed`` then."""
    try:
        yield
    except left_out as error:
        LOG.warning("leaving out an unreadable node manifest: %s: %s", error.code, error)
        missed()

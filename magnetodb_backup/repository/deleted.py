# SPDX-License-Identifier: Apache-2.0
"""Deletes backups so that they can be undeleted: sets aside, puts back and purges manifests.

A crash after any write leaves a whole backup or a deleted one. While both manifests exist, the
backup is whole. Every method can be repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

from magnetodb_backup.domain.backup.manifest import BackupManifest, StoredObject
from magnetodb_backup.domain.settings.records import SettingKey, SettingKind
from magnetodb_backup.errors import CorruptObject, FormatProblem, NotFound
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.format.deleted import (
    DeletedManifest,
    deleted_manifest_bytes,
)
from magnetodb_backup.storage.driver import StorageDriver


class DeletedBackups:
    """The deleted backups of a cluster, in its container ``<prefix>.<cluster>``."""

    def __init__(self, driver: StorageDriver, prefix: str, cluster: str) -> None:
        self._driver, self._cluster = driver, cluster
        self._container = layout.cluster_container(prefix, cluster)
        self._repository = ClusterRepository(driver, prefix, cluster)

    def set_aside(
        self, backup_id: str, deleted_at: datetime, undelete_until: datetime
    ) -> DeletedManifest | None:
        """Copy the backup manifest aside; the backup still exists.

        A backup without its manifest keeps what is set aside, with the times of then. Return None
        if there is neither, so that nothing can be undeleted.
        """
        try:
            text = self._read(layout.manifest_name(backup_id))
        except NotFound:
            try:
                return self._repository.read_deleted(backup_id)
            except NotFound:
                return None
        deleted = DeletedManifest(backup_id, deleted_at, undelete_until, text)
        self._put(layout.deleted_manifest_name(backup_id), deleted_manifest_bytes(deleted))
        return deleted

    def remove_manifest(
        self, backup_id: str, raise_if_cancelled: Callable[[], None] = lambda: None
    ) -> None:
        """Remove the backup manifest, so that the backup is deleted.

        ``raise_if_cancelled`` is called right before; it raises if this process does not own the
        job any more. The backup may have been undeleted since, and would be lost.

        :raises NotFound: if the manifest is not set aside.
        :raises CorruptObject: if what is set aside is another manifest.
        """
        deleted = self._repository.read_deleted(backup_id)
        try:
            text = self._read(layout.manifest_name(backup_id))
        except NotFound:
            return
        if text != deleted.text:
            raise CorruptObject(
                f"{layout.deleted_manifest_name(backup_id)} is not the manifest of the backup; "
                "repeat backup delete"
            )
        raise_if_cancelled()
        self._driver.delete(self._container, layout.manifest_name(backup_id))

    def put_back(
        self,
        backup_id: str,
        *,
        manifest_sha256: str = "",
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> BackupManifest:
        """Write the backup manifest again, so that the backup exists; return it.

        Each object of this container that it names is read first. What is set aside stays.
        ``manifest_sha256`` is the digest in the backup's record, empty if it has none.

        :raises NotFound: if nothing is set aside, or an object that the manifest names is missing.
        :raises FormatProblem: if the manifest is malformed.
        :raises CorruptObject: if an object is not what the record or the manifest names.
        """
        name = layout.deleted_manifest_name(backup_id)
        deleted = self._repository.read_deleted(backup_id)
        if manifest_sha256 not in ("", deleted.sha256):
            raise CorruptObject(
                f"{name} has a manifest with SHA-256 {deleted.sha256}, the record of the backup "
                f"has {manifest_sha256}: another program has written it; it cannot be undeleted"
            )
        manifest = deleted.parsed(name)
        if (manifest.backup_id, manifest.cluster) != (backup_id, self._cluster):
            raise FormatProblem(
                f"{name}: has the manifest of backup {manifest.backup_id} of cluster "
                f"{manifest.cluster!r}; another program copied it there"
            )
        for expected, found in self._named(manifest):
            raise_if_cancelled()
            if (stored := found()) != expected:
                raise CorruptObject(
                    f"{stored.name} does not match the manifest of backup {backup_id}; it cannot "
                    "be undeleted"
                )
        raise_if_cancelled()
        self._repository.commit_text(backup_id, deleted.text)
        return manifest

    def forget(self, backup_id: str) -> None:
        """Remove what is set aside of a backup that exists again.

        :raises NotFound: if the backup has no manifest.
        """
        self._repository.read_commit(backup_id)
        self._driver.delete(self._container, layout.deleted_manifest_name(backup_id))

    def purge(self, backup_id: str, host_ids: Iterable[str] = (), *, figures: bool = False) -> int:
        """Remove all objects of a deleted backup, and at last what is set aside.

        ``host_ids`` are its known nodes and ``figures`` says whether it has fingerprints: their
        objects are removed even if the listing lags. The copy of its mark is removed, too. Packs
        stay. Return the number of objects that belong to the backup.
        """
        removed = self._repository.delete_backup(backup_id, host_ids, figures=figures)
        mark = SettingKey(SettingKind.MARK, backup_id, self._cluster)
        for info in self._driver.list(self._container, layout.setting_prefix(mark)):
            self._driver.delete(self._container, info.name)
        self._driver.delete(self._container, layout.deleted_manifest_name(backup_id))
        return removed

    def _named(
        self, manifest: BackupManifest
    ) -> Iterator[tuple[StoredObject, Callable[[], StoredObject]]]:
        """Yield each object that the manifest names, and what reads it."""
        repository, backup_id = self._repository, manifest.backup_id
        yield manifest.schema, partial(repository.digest_schema, backup_id)
        for share in manifest.nodes:
            yield share.manifest, partial(repository.digest_node_manifest, backup_id, share.host_id)
        for stored in manifest.figures:
            yield stored, partial(repository.digest_fingerprints, backup_id, stored)

    def _put(self, name: str, body: bytes) -> None:
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self._driver.put(self._container, name, body, size=len(body), md5=md5)

    def _read(self, name: str) -> bytes:
        return b"".join(self._driver.read_newest(self._container, name))

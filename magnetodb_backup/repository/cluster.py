# SPDX-License-Identifier: Apache-2.0
"""The container of a cluster: schemas, node manifests, backup manifests, fingerprints."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterable, Iterator

from magnetodb_backup.domain.backup.manifest import BackupManifest, StoredObject
from magnetodb_backup.domain.schema.reading import rows_of
from magnetodb_backup.errors import FormatProblem, NotFound
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.format.deleted import DeletedManifest, parse_deleted_manifest
from magnetodb_backup.repository.format.fingerprints import FingerprintsReader
from magnetodb_backup.repository.format.manifests import (
    NodeManifestReader,
    backup_manifest_bytes,
    parse_backup_manifest,
)
from magnetodb_backup.repository.format.schema_rows import (
    StoredSchema,
    check_schema_rows,
    parse_schema_rows,
    schema_rows_bytes,
)
from magnetodb_backup.repository.stored_moves import StoredMoves
from magnetodb_backup.storage.driver import StorageDriver

LOG = logging.getLogger(__name__)


def parsed_commit(backup_id: str, text: bytes) -> tuple[BackupManifest, StoredObject]:
    """Return the backup manifest with this text, and its name, size and digest in the store.

    :raises FormatProblem: if it is malformed, or of an unknown format version.
    """
    name = layout.manifest_name(backup_id)
    stored = StoredObject(name, len(text), hashlib.sha256(text).hexdigest())
    return parse_backup_manifest(text, name), stored


class ClusterRepository:
    """Reads and writes the container ``<prefix>.<cluster>``.

    Another attempt of a backup stores its objects under the same names, so the newest are read.
    """

    def __init__(self, driver: StorageDriver, prefix: str, cluster: str) -> None:
        self._driver, self._prefix, self._cluster = driver, prefix, cluster
        self._container = layout.cluster_container(prefix, cluster)

    def ensure(self) -> None:
        """Create the container if it does not exist."""
        self._driver.ensure_container(self._container)

    def put_schema(self, backup_id: str, text: str) -> StoredObject:
        """Store the schema of a backup."""
        return self._put(layout.schema_name(backup_id), text.encode())

    def put_schema_rows(self, backup_id: str, schema: StoredSchema) -> StoredObject:
        """Store the schema of a backup as rows, beside its text."""
        return self._put(layout.schema_rows_name(backup_id), schema_rows_bytes(backup_id, schema))

    def schema_rows(self, backup_id: str) -> StoredSchema:
        """Return the schema of a backup as rows, with its grants.

        A backup of an older release, or one whose rows do not fit its text, has the text split.

        :raises NotFound: if the store has no schema.
        """
        text, name = self.read_schema(backup_id), layout.schema_rows_name(backup_id)
        try:
            return parse_schema_rows(self._read(name), name, text)
        except NotFound:
            LOG.info("backup %s has its schema as text only, which is split", backup_id)
        except FormatProblem as error:
            LOG.warning("the text of the schema is split instead: %s", error)
        return StoredSchema(rows_of(text))

    def check_schema_rows(self, backup_id: str) -> None:
        """Check that the rows of a schema are as they were stored; older backups have none.

        :raises NotFound: if the store has no schema.
        :raises FormatProblem: if they were changed.
        """
        text, name = self.read_schema(backup_id), layout.schema_rows_name(backup_id)
        with contextlib.suppress(NotFound):
            check_schema_rows(self._read(name), name, text, backup_id)

    def read_schema(self, backup_id: str) -> str:
        """Return the schema of a backup as text.

        :raises NotFound: if the store has none.
        """
        return self._read(layout.schema_name(backup_id)).decode()

    def node_manifest(
        self, backup_id: str, host_id: str, expected: StoredObject | None = None
    ) -> NodeManifestReader:
        """Return a reader of a node manifest; it reads the object once.

        :raises NotFound: if there is none.
        :raises CorruptObject: while or after it is read, if it is not ``expected``, which is what
            the backup manifest names.

        The entries have the extents where their bytes are now: a collection may have moved them.
        """
        name = layout.node_manifest_name(backup_id, host_id)
        chunks = self._driver.read_newest(self._container, name)
        return NodeManifestReader(chunks, name, expected, self.moves(host_id).located)

    def original_node_manifest(
        self, backup_id: str, host_id: str, expected: StoredObject | None = None
    ) -> NodeManifestReader:
        """Return a reader like ``node_manifest()``, but of the extents as they were stored."""
        name = layout.node_manifest_name(backup_id, host_id)
        return NodeManifestReader(self._driver.read_newest(self._container, name), name, expected)

    def unmoved_files(
        self, backup_id: str, host_id: str, expected: StoredObject
    ) -> NodeManifestReader:
        """Return a reader like ``node_manifest()``, of the files whose bytes were not moved.

        Their extents are proved by ``expected``, while moves are not.
        """
        name = layout.node_manifest_name(backup_id, host_id)
        chunks = self._driver.read_newest(self._container, name)
        return NodeManifestReader(chunks, name, expected, self.moves(host_id).unmoved)

    def moves(self, host_id: str) -> StoredMoves:
        """Return what finds the bytes of a node's packs that a collection has moved."""
        return StoredMoves(
            self._driver,
            {
                self._container: layout.moves_name(host_id),
                layout.node_container(self._prefix, self._cluster, host_id): layout.MOVES,
            },
            host_id,
        )

    def digest_node_manifest(self, backup_id: str, host_id: str) -> StoredObject:
        """Read a whole stored node manifest; return its size and digest."""
        return self._digest(layout.node_manifest_name(backup_id, host_id))

    def digest_schema(self, backup_id: str) -> StoredObject:
        """Read a whole stored schema; return its size and digest."""
        return self._digest(layout.schema_name(backup_id))

    def put_fingerprints(self, backup_id: str, host_id: str, body: bytes) -> StoredObject:
        """Store the fingerprints that one worker took for a backup."""
        return self._put(layout.fingerprints_name(backup_id, host_id), body)

    def digest_fingerprints(self, backup_id: str, stored: StoredObject) -> StoredObject:
        """Read whole stored fingerprints; return their size and digest."""
        return self._digest(layout.check_fingerprints_name(backup_id, stored.name))

    def fingerprints(self, backup_id: str, stored: StoredObject) -> FingerprintsReader:
        """Return a reader of a backup's fingerprints; it reads the object once.

        :raises NotFound: if they are gone.
        :raises CorruptObject: while or after they are read, if they are not what the backup
            manifest names.
        """
        name = layout.check_fingerprints_name(backup_id, stored.name)
        return FingerprintsReader(
            self._driver.read_newest(self._container, name), name, backup_id, stored
        )

    def commit(self, manifest: BackupManifest) -> StoredObject:
        """Write the backup manifest, which makes the backup exist."""
        return self.commit_text(manifest.backup_id, backup_manifest_bytes(manifest))

    def commit_text(self, backup_id: str, text: bytes) -> StoredObject:
        """Write the text of a backup manifest, which makes the backup exist."""
        return self._put(layout.manifest_name(backup_id), text)

    def read_backup(self, backup_id: str) -> BackupManifest:
        """Return a backup's manifest.

        :raises NotFound: if the backup was never committed or is deleted.
        """
        return self.read_commit(backup_id)[0]

    def read_commit(self, backup_id: str) -> tuple[BackupManifest, StoredObject]:
        """Return a backup's manifest, and its name, size and digest in the store.

        :raises NotFound: if the backup was never committed or is deleted.
        :raises FormatProblem: if it is malformed, or of an unknown format version.
        """
        return parsed_commit(backup_id, self.read_commit_text(backup_id))

    def read_commit_text(self, backup_id: str) -> bytes:
        """Return the text of a backup's manifest.

        :raises NotFound: if the backup was never committed or is deleted.
        """
        try:
            return self._read(layout.manifest_name(backup_id))
        except NotFound:
            raise NotFound(
                f"the store has no manifest of backup {backup_id}: it was not committed, or it "
                "was deleted"
            ) from None

    def read_deleted(self, backup_id: str) -> DeletedManifest:
        """Return the manifest of a deleted backup, which is kept so that it can be undeleted.

        :raises NotFound: if there is none: the backup is not deleted, or it is purged.
        :raises FormatProblem: if it is malformed, or of an unknown format version.
        :raises CorruptObject: if it is not what was stored.
        """
        name = layout.deleted_manifest_name(backup_id)
        try:
            return parse_deleted_manifest(self._read(name), name)
        except NotFound:
            raise NotFound(
                f"the store keeps no manifest of a deleted backup {backup_id}: it was not deleted, "
                "or it was purged"
            ) from None

    def ids_with_objects(self) -> Iterator[str]:
        """Yield the IDs of all backups that the store has objects of, committed or not."""
        for folder in self._driver.folders(self._container, layout.BACKUPS):
            if (backup_id := folder.split("/")[1]) != layout.MOVES_ID:
                yield backup_id

    def deleted_ids(self) -> Iterator[str]:
        """Yield the IDs of all backups whose manifests are kept for an undeletion."""
        for folder in self._driver.folders(self._container, layout.DELETED):
            yield folder.split("/")[1]

    def lists_manifest(self, backup_id: str) -> bool:
        """Return whether the store lists a backup manifest of this ID, which may be malformed."""
        name = f"{layout.BACKUPS}{backup_id}/manifest.json"
        return any(info.name == name for info in self._driver.list(self._container, name))

    def delete_backup(
        self, backup_id: str, host_ids: Iterable[str] = (), *, figures: bool = False
    ) -> int:
        """Delete a backup's manifests, the backup manifest (the commit marker) first.

        ``host_ids`` are its known nodes and ``figures`` says whether it has fingerprints: their
        objects are deleted even if the listing lags. Packs stay: only collection removes data. Can
        be repeated; returns the number of deleted objects.
        """
        first = layout.manifest_name(backup_id)
        prefix = layout.backup_prefix(backup_id)
        names = {info.name for info in self._driver.list(self._container, prefix)}
        names |= {first, layout.schema_name(backup_id), layout.schema_rows_name(backup_id)}
        for host_id in host_ids:
            names.add(layout.node_manifest_name(backup_id, host_id))
            if figures:
                names.add(layout.fingerprints_name(backup_id, host_id))
        for name in sorted(names, key=lambda n: (n != first, n)):
            self._driver.delete(self._container, name)
        return len(names)

    def _digest(self, name: str) -> StoredObject:
        digest, size = hashlib.sha256(), 0
        for chunk in self._driver.read_newest(self._container, name):
            digest.update(chunk)
            size += len(chunk)
        return StoredObject(name, size, digest.hexdigest())

    def _put(self, name: str, body: bytes) -> StoredObject:
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self._driver.put(self._container, name, body, size=len(body), md5=md5)
        return StoredObject(name, len(body), hashlib.sha256(body).hexdigest())

    def _read(self, name: str) -> bytes:
        return b"".join(self._driver.read_newest(self._container, name))

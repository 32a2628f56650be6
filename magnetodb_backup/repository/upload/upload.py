# SPDX-License-Identifier: Apache-2.0
"""Uploads one node's snapshot: reads each changed file once, stores packs, writes the manifest."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from magnetodb_backup.domain.backup.growth import TableBytes
from magnetodb_backup.domain.backup.manifest import (
    Extent,
    NodeManifestHeader,
    SnapshotFile,
    StoredObject,
)
from magnetodb_backup.domain.backup.packing import group, group_again
from magnetodb_backup.domain.backup.records import CommittedBackup, Progress
from magnetodb_backup.errors import BackupError, CorruptSSTable
from magnetodb_backup.repository.format.manifests import NodeManifestReader, NodeManifestWriter
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.node_manifests import logged
from magnetodb_backup.repository.upload.file_index import FileIndex, Known
from magnetodb_backup.repository.upload.pipeline import Engine
from magnetodb_backup.repository.upload.recorder import Recorder
from magnetodb_backup.repository.upload.settings import UploadSettings
from magnetodb_backup.repository.upload.stored_packs import StoredPacks

LOG = logging.getLogger(__name__)
_LEARNED_FROM = 3
_ANY = (BackupError,)
_BATCH = 1000  # files whose packs are proved together
_FORGOTTEN_AFTER = 90 * 86400


@dataclass(frozen=True)
class NodeSnapshot:
    """What is uploaded: the header of its manifest, and its files each time that it is called."""

    header: NodeManifestHeader
    files: Callable[[], Iterator[SnapshotFile]]


@dataclass(frozen=True)
class Caller:
    """Receives the progress; ``raise_if_cancelled`` raises to end the upload.

    ``get_on`` is called for each buffer that is read, also where that changes no progress.
    """

    progress: Callable[[Progress], None]
    raise_if_cancelled: Callable[[], None]
    get_on: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class EarlierBackups:
    """What is known of earlier backups: the newest ones, and their packs that are damaged."""

    committed: tuple[CommittedBackup, ...] = ()
    distrusted: frozenset[str] = frozenset()


_NONE = EarlierBackups()


@dataclass(frozen=True)
class NodeUpload:
    """A finished upload; sizes in bytes, ``corrupt_files`` are paths.

    ``replaced`` names the distrusted packs that were uploaded again, ``lost`` those that the store
    has lost and that the snapshot could not make again; an earlier backup has not reported them.
    """

    manifest: StoredObject
    progress: Progress
    files: int
    bytes: int
    corrupt_files: tuple[str, ...]
    replaced: tuple[str, ...]
    lost: frozenset[str]
    tables: tuple[TableBytes, ...] = ()


def upload_node(
    repository: NodeRepository,
    index: FileIndex,
    snapshot: NodeSnapshot,
    settings: UploadSettings,
    *,
    spool_directory: Path,
    caller: Caller,
    earlier: EarlierBackups = _NONE,
) -> NodeUpload:
    """Upload the bytes of the files that the store lacks, then the node manifest; read that back.

    Memory is bounded by the packs in flight. Packs that are ``earlier.distrusted`` are uploaded
    again. A lost pack is rebuilt if the snapshot still has all its files, which also repairs older
    backups.

    :raises CorruptSSTable: for a Data.db that does not match its Digest.crc32, unless marked.
    :raises FileVanished: if a hard link disappears.
    :raises FileChanged: if a file is written while it is read.
    """
    if index.is_empty():
        with index.all_or_nothing():  # a partial index would count as complete the next time
            rebuild(index, repository, earlier.committed)
    packs = StoredPacks(repository, index, earlier.distrusted)
    upload = _Upload(repository, index, packs, snapshot, settings, caller)
    while True:
        try:
            return upload.run(spool_directory)
        except _FoundLost:
            # Listed, but lost: they are to be made again before their contents go elsewhere.
            packs.prove(upload.needed(), caller.raise_if_cancelled)
            LOG.warning("the store lists packs that it has lost; the upload begins again")


class _FoundLost(Exception):
    """The store does not have a pack that it lists."""


class _Upload:
    """The upload of one snapshot; ``run`` may be repeated."""

    def __init__(
        self,
        repository: NodeRepository,
        index: FileIndex,
        packs: StoredPacks,
        snapshot: NodeSnapshot,
        settings: UploadSettings,
        caller: Caller,
    ) -> None:
        self._repository, self._index, self._packs = repository, index, packs
        self._snapshot, self._settings, self._caller = snapshot, settings, caller

    def run(self, spool_directory: Path) -> NodeUpload:
        """Store what is missing, and the manifest.

        :raises _FoundLost: if packs turn out to be lost that the listing has.
        """
        raise_if_cancelled, size = self._caller.raise_if_cancelled, self._settings.pack_size
        with tempfile.TemporaryFile(dir=spool_directory) as spool:
            file = cast(BinaryIO, spool)
            writer = NodeManifestWriter(file, self._snapshot.header)
            recorder = Recorder(
                writer, self._index, self._packs, self._caller.progress, self._caller.get_on
            )
            engine = Engine(
                self._repository,
                self._packs,
                recorder,
                self._index,
                self._settings,
                check_corrupt=self._check_corrupt,
                raise_if_cancelled=raise_if_cancelled,
            )
            lost = self._packs.lost(raise_if_cancelled)
            again = list(group_again(self._held_by(lost), size))
            engine.run(again)
            remade = frozenset(file.path for unit in again for file in unit.files)
            engine.run(group(self._changed(remade, recorder), size))
            raise_if_cancelled()
            recorder.report(force=True)
            trailer = writer.finish()
            stored = self._put_manifest(file)
        self._index.prune(_FORGOTTEN_AFTER)
        return NodeUpload(
            stored,
            recorder.progress,
            trailer.files,
            trailer.bytes,
            tuple(recorder.corrupt_files),
            tuple(sorted(self._packs.replaced)),
            self._packs.unrepaired(),
            recorder.tables(),
        )

    def _put_manifest(self, file: BinaryIO) -> StoredObject:
        """Store the manifest; a backup that ended while the store was waited for leaves none."""
        backup_id = self._snapshot.header.backup_id
        self._index.learn_manifest(
            backup_id
        )  # a collection must know it, also while it is not listed
        stored = self._repository.put_node_manifest(backup_id, file)
        try:
            self._caller.raise_if_cancelled()
        except BackupError:
            with logged(_ANY):
                self._repository.delete_node_manifest(backup_id)
            raise
        return stored

    def needed(self) -> Iterator[str]:
        """Yield the packs that have the contents of unchanged files."""
        for found in self._snapshot.files():
            known = self._index.by_identity(found)
            yield from (extent.pack for extent in known.extents) if known else ()

    def _changed(self, leaving_out: frozenset[str], recorder: Recorder) -> Iterator[SnapshotFile]:
        """Yield the files to be read; record the others."""
        for batch in self._in_batches(leaving_out):
            extents = (extent for _, known in batch if known for extent in known.extents)
            if not self._packs.prove((e.pack for e in extents), self._caller.raise_if_cancelled):
                raise _FoundLost
            for found, known in batch:
                if known is None or not self._packs.confirm(known.extents):
                    yield found
                    continue
                if known.corrupt:
                    self._check_corrupt(found.path)
                recorder.reuse(found, known)

    def _in_batches(
        self, leaving_out: frozenset[str]
    ) -> Iterator[list[tuple[SnapshotFile, Known | None]]]:
        files = (found for found in self._snapshot.files() if found.path not in leaving_out)
        while batch := list(itertools.islice(files, _BATCH)):
            yield [(found, self._index.by_identity(found)) for found in batch]

    def _held_by(self, lost: frozenset[str]) -> Iterator[tuple[SnapshotFile, tuple[Extent, ...]]]:
        """Yield the files stored in lost packs, with their extents; usually none."""
        for found in self._snapshot.files() if lost else ():
            known = self._index.by_identity(found)
            if known is not None and lost & {extent.pack for extent in known.extents}:
                yield found, known.extents

    def _check_corrupt(self, path: str) -> None:
        if self._settings.on_corrupt != "mark":
            raise CorruptSSTable(
                f"{path} does not match its Digest.crc32; repair it with nodetool scrub or "
                "nodetool repair --full, or ask for --on-corrupt mark"
            )


@dataclass(frozen=True)
class Harm:
    """How many files of each of a node's stored backups are in lost packs, by the backup's ID.

    It is not ``complete`` if a manifest could not be read.
    """

    files: dict[str, int]
    complete: bool


def harmed_backups(
    repository: NodeRepository, lost: frozenset[str], get_on: Callable[[], None]
) -> Harm:
    """Count the files of stored backups that are in lost packs.

    The upload is finished, so no error of the store fails it: manifests that cannot be read are
    logged. ``get_on`` is called for each manifest and may raise.
    """
    harmed: dict[str, int] = {}
    missed: list[bool] = []

    def miss() -> None:
        missed.append(True)

    manifests = repository.manifests.newest_first(_ANY, miss) if lost else iter(())
    while (manifest := _next(manifests, miss)) is not None:
        with logged(_ANY, miss):
            if count := sum(any(e.pack in lost for e in entry.extents) for entry in manifest):
                harmed[manifest.header.backup_id] = count
        get_on()
    return Harm(harmed, not missed)


def _next(
    manifests: Iterator[NodeManifestReader], missed: Callable[[], None]
) -> NodeManifestReader | None:
    """Return the next manifest, None after the last one or if they cannot be listed."""
    try:
        return next(manifests, None)
    except BackupError as error:
        LOG.warning("cannot list the node manifests: %s: %s", error.code, error)
        missed()
        return None


def rebuild(
    index: FileIndex, repository: NodeRepository, committed: Sequence[CommittedBackup]
) -> None:
    """Fill the index from this node's newest manifests; files are hashed again.

    Only what a backup manifest names is learned: wrong extents would get into later backups.
    """
    manifests = repository.manifests.proved(committed)
    for manifest in itertools.islice(manifests, _LEARNED_FROM):
        LOG.info("filling the index from backup %s", manifest.header.backup_id)
        with logged():
            for entry in manifest:
                # The newest manifest comes first: a content may have been moved to a better pack.
                if entry.extents and index.by_content(entry.sha256) is None:
                    index.learn_content(entry.sha256, entry.size, entry.extents)

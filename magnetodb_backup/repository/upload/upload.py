# SPDX-License-Identifier: Apache-2.0
"""Uploads one node's snapshot: reads each changed file once, stores packs, writes the manifest."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from magnetodb_backup.domain.backup.manifest import (
    Extent,
    NodeManifestHeader,
    SnapshotFile,
    StoredObject,
)
from magnetodb_backup.domain.backup.packing import group, group_again
from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.errors import CorruptSSTable, FormatProblem
from magnetodb_backup.repository.format.manifests import NodeManifestWriter
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex
from magnetodb_backup.repository.upload.pipeline import Engine
from magnetodb_backup.repository.upload.recorder import Recorder
from magnetodb_backup.repository.upload.settings import UploadSettings
from magnetodb_backup.repository.upload.stored_packs import StoredPacks

LOG = logging.getLogger(__name__)
_LEARNED_FROM = 3
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
class NodeUpload:
    """A finished upload; sizes in bytes, ``corrupt_files`` are paths.

    ``replaced`` names the distrusted packs that were uploaded again.
    """

    manifest: StoredObject
    progress: Progress
    files: int
    bytes: int
    corrupt_files: tuple[str, ...]
    replaced: tuple[str, ...]


def upload_node(
    repository: NodeRepository,
    index: FileIndex,
    snapshot: NodeSnapshot,
    settings: UploadSettings,
    *,
    spool_directory: Path,
    caller: Caller,
    distrusted: frozenset[str] = frozenset(),
) -> NodeUpload:
    """Upload the bytes of the files that the store lacks, then the node manifest; read that back.

    Memory is bounded by the packs in flight. ``distrusted`` packs are uploaded again. A lost pack
    is rebuilt if the snapshot still has all its files, which also repairs older backups.

    :raises CorruptSSTable: for a Data.db that does not match its Digest.crc32, unless marked.
    :raises FileVanished: if a hard link disappears.
    :raises FileChanged: if a file is written while it is read.
    """
    files, raise_if_cancelled = snapshot.files, caller.raise_if_cancelled
    if index.is_empty():
        with index.all_or_nothing():  # a partial index would count as complete the next time
            rebuild(index, repository)
    packs = StoredPacks(repository, index, distrusted)
    with tempfile.TemporaryFile(dir=spool_directory) as spool:
        file = cast(BinaryIO, spool)
        writer = NodeManifestWriter(file, snapshot.header)
        recorder = Recorder(writer, index, packs, caller.progress, caller.get_on)

        def check_corrupt(path: str) -> None:
            if settings.on_corrupt != "mark":
                raise CorruptSSTable(
                    f"{path} does not match its Digest.crc32; repair it with nodetool scrub or "
                    "nodetool repair, or ask for --on-corrupt mark"
                )

        def changed(leaving_out: frozenset[str]) -> Iterator[SnapshotFile]:
            for found in files():
                if found.path in leaving_out:
                    continue
                known = index.by_identity(found)
                if known is None or not packs.confirm(known.extents):
                    yield found
                    continue
                if known.corrupt:
                    check_corrupt(found.path)
                recorder.reuse(found, known)

        engine = Engine(
            repository,
            packs,
            recorder,
            index,
            settings,
            check_corrupt=check_corrupt,
            raise_if_cancelled=raise_if_cancelled,
        )
        lost = packs.lost(raise_if_cancelled)
        again = list(group_again(_held_by(lost, files, index), settings.pack_size))
        engine.run(again)
        remade = frozenset(file.path for unit in again for file in unit.files)
        engine.run(group(changed(remade), settings.pack_size))
        raise_if_cancelled()
        recorder.report(force=True)
        trailer = writer.finish()
        stored = repository.put_node_manifest(snapshot.header.backup_id, file)
    index.prune(_FORGOTTEN_AFTER)
    return NodeUpload(
        stored,
        recorder.progress,
        trailer.files,
        trailer.bytes,
        tuple(recorder.corrupt_files),
        tuple(sorted(packs.replaced)),
    )


def _held_by(
    lost: frozenset[str], files: Callable[[], Iterator[SnapshotFile]], index: FileIndex
) -> Iterator[tuple[SnapshotFile, tuple[Extent, ...]]]:
    """Yield the files stored in lost packs, with their extents; usually none."""
    for found in files() if lost else ():
        known = index.by_identity(found)
        if known is not None and lost & {extent.pack for extent in known.extents}:
            yield found, known.extents


def rebuild(index: FileIndex, repository: NodeRepository) -> None:
    """Fill the index from this node's newest manifests; files are hashed again."""
    for manifest in repository.latest_manifests(_LEARNED_FROM):
        LOG.info("filling the index from backup %s", manifest.header.backup_id)
        try:
            for entry in manifest:
                # The newest manifest comes first: a content may have been moved to a better pack.
                if entry.extents and index.by_content(entry.sha256) is None:
                    index.learn_content(entry.sha256, entry.size, entry.extents)
        except FormatProblem as error:
            LOG.warning("not using an unreadable node manifest for the index: %s", error)

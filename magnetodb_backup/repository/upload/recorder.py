# SPDX-License-Identifier: Apache-2.0
"""Writes finished files into the manifest and the index, and counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from magnetodb_backup.domain.backup.growth import TableBytes
from magnetodb_backup.domain.backup.manifest import Extent, FileEntry, SnapshotFile
from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.repository.format.manifests import NodeManifestWriter
from magnetodb_backup.repository.upload.file_index import FileIndex, Known
from magnetodb_backup.repository.upload.stored_packs import StoredPacks

_REPORT_EVERY = 1.0  # seconds


class Recorder:
    """Records files whose bytes are all in the store. Thread-safe."""

    def __init__(
        self,
        writer: NodeManifestWriter,
        index: FileIndex,
        packs: StoredPacks,
        report: Callable[[Progress], None],
        get_on: Callable[[], None],
    ) -> None:
        self._writer, self._index, self._packs, self._report = writer, index, packs, report
        self._get_on = get_on
        self._lock = threading.Lock()
        self._reported = 0.0
        self.progress = Progress()
        self.corrupt_files: list[str] = []
        self._tables: dict[tuple[str, str], tuple[int, int]] = {}

    def read(self) -> None:
        """Note that a buffer was read, which may be all that happens for hours."""
        self._get_on()

    def reuse(self, file: SnapshotFile, known: Known) -> None:
        """Record a file whose content was in the store before this backup."""
        self._record(file, known, reused=True)

    def learn(self, file: SnapshotFile, known: Known, *, reused: bool) -> None:
        """Record a file that was read, in the manifest and in the index."""
        if not reused and known.extents:
            self._index.learn_content(known.sha256, file.size, known.extents)
        if reused or known.extents:
            self._index.learn_identity(file, known.sha256, known.crc32, known.corrupt)
        self._record(file, known, reused=reused)

    def uploaded(self, sha256: str, size: int) -> None:
        """Record a stored pack."""
        self._packs.stored(sha256, size)
        with self._lock:
            self.progress = replace(
                self.progress,
                bytes_uploaded=self.progress.bytes_uploaded + size,
                packs_uploaded=self.progress.packs_uploaded + 1,
            )
        self.report()

    def report(self, *, force: bool = False) -> None:
        """Report the progress, at most once a second unless ``force`` is set."""
        with self._lock:
            now = time.monotonic()
            if not force and now - self._reported < _REPORT_EVERY:
                return
            self._reported = now
            self.progress = replace(self.progress, packs_replaced=len(self._packs.missing))
            progress = self.progress
        self._report(progress)

    def tables(self) -> tuple[TableBytes, ...]:
        """Return the bytes of each table."""
        with self._lock:
            found = sorted(self._tables.items())
        return tuple(TableBytes(*table, *sizes) for table, sizes in found)

    def _record(self, file: SnapshotFile, known: Known, *, reused: bool) -> None:
        entry = FileEntry(
            keyspace=file.keyspace,
            table=file.table,
            table_id=file.table_id,
            index=file.index,
            data_directory=file.data_directory,
            name=file.name,
            size=file.size,
            mtime_ns=file.mtime_ns,
            sha256=known.sha256,
            crc32=known.crc32,
            extents=known.extents,
            corrupt=known.corrupt,
        )
        with self._lock:
            self._writer.add(entry)
            if known.corrupt:
                self.corrupt_files.append(file.path)
            table, new = (file.keyspace, file.table), 0 if reused else file.size
            size, before = self._tables.get(table, (0, 0))
            self._tables[table] = (size + file.size, before + new)
            self.progress = replace(
                self.progress,
                files_done=self.progress.files_done + 1,
                bytes_done=self.progress.bytes_done + file.size,
                bytes_reused=self.progress.bytes_reused + (file.size if reused else 0),
            )
        self.report()


class Countdown:
    """Calls ``done`` with all extents once each slice of a large file is stored."""

    def __init__(self, slices: int, done: Callable[[tuple[Extent, ...]], None]) -> None:
        self._left, self._done = slices, done
        self._extents: dict[int, Extent] = {}
        self._lock = threading.Lock()

    def stored(self, number: int, extent: Extent) -> None:
        """Record that slice ``number`` is stored."""
        with self._lock:
            self._extents[number] = extent
            self._left -= 1
            last = self._left == 0
        if last:
            self._done(tuple(self._extents[n] for n in sorted(self._extents)))

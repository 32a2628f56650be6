# SPDX-License-Identifier: Apache-2.0
"""Makes verified files durable in batches, and reports the progress of a download."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from magnetodb_backup import disk
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.repository.download.journal import FinishedFile, Journal
from magnetodb_backup.repository.download.partial_files import disk_errors, publish
from magnetodb_backup.repository.download.ranges import WantedFile

_REPORT_EVERY = 0.2  # seconds
# Limits of a batch of complete files: number of files, bytes, seconds.
MOST_FILES, MOST_BYTES, _LONGEST = 128, 64 * 1024 * 1024, 1.0
# A file system syncs several files in hardly more time than one.
_AT_ONCE = 8
_BATCHES = 2  # being written to the disk while others are downloaded


class Tally:
    """Counts, and reports at most every 0.2 seconds. Thread-safe."""

    def __init__(self, report: Callable[[RestoreProgress], None]) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._reported = 0.0
        self.progress = RestoreProgress()

    def add(self, **counts: int) -> None:
        """Add to the counts, named as in RestoreProgress."""
        with self._lock:
            old = self.progress
            self.progress = replace(old, **{n: getattr(old, n) + c for n, c in counts.items()})
            now = time.monotonic()
            if now - self._reported < _REPORT_EVERY:
                return
            self._reported = now
            self._report(self.progress)  # under the lock: reports never decrease

    def report(self) -> None:
        """Report the progress now."""
        self._report(self.progress)


class FilePublisher:
    """Publishes complete and verified files. Thread-safe.

    Syncs them in batches, then renames them, then writes the journal's lines. Files of an
    unfinished batch are read again if the process dies, so a batch waits one second at most. Must
    be closed.
    """

    def __init__(self, journal: Journal, tally: Tally) -> None:
        self._journal, self._tally = journal, tally
        self._lock = threading.Lock()
        self._waiting: list[WantedFile] = []
        self._bytes = 0
        self._oldest = 0.0
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sync")
        self._behind = ThreadPoolExecutor(_BATCHES, thread_name_prefix="finish")
        self._begun: deque[Future[None]] = deque()

    def close(self) -> None:
        """End the threads; an unfinished batch is dropped."""
        self._behind.shutdown()
        self._pool.shutdown()

    def add(self, file: WantedFile) -> None:
        """Add a file; may block until an earlier batch is on the disk.

        Raises the error of that batch, if any.
        """
        with self._lock:
            if not self._waiting:
                self._oldest = time.monotonic()
            self._waiting.append(file)
            self._bytes += file.size
            if len(self._waiting) < MOST_FILES and self._bytes < MOST_BYTES:
                return
            batch = self._take()
        self._begin(batch)

    def flush_old(self) -> None:
        """Publish the waiting files if the oldest has waited long enough; call it regularly."""
        with self._lock:
            if not self._waiting or time.monotonic() - self._oldest < _LONGEST:
                return
            batch = self._take()
        self._begin(batch)

    def flush(self) -> None:
        """Publish the waiting files, and wait until all files are on the disk."""
        with self._lock:
            batch = self._take()
        self._begin(batch)
        while True:
            with self._lock:
                if not self._begun:
                    return
                begun = self._begun.popleft()
            begun.result()

    def _begin(self, batch: list[WantedFile]) -> None:
        """Publish a batch in the background."""
        with self._lock:
            self._begun.append(self._behind.submit(self._publish, batch))
            oldest = self._begun.popleft() if len(self._begun) > _BATCHES else None
        if oldest is not None:
            oldest.result()

    def _take(self) -> list[WantedFile]:
        batch, self._waiting, self._bytes = self._waiting, [], 0
        return batch

    def _publish(self, batch: list[WantedFile]) -> None:
        lines = []
        published = self._pool.map(publish, [file.path for file in batch])
        for file, found in zip(batch, published, strict=True):
            lines.append(
                FinishedFile(
                    os.fspath(file.path),
                    file.size,
                    file.sha256,
                    found.st_mtime_ns,
                    found.st_ino,
                )
            )
        for directory in {file.path.parent for file in batch}:
            with disk_errors(directory / "."):
                disk.sync_directory(directory)
        if lines:
            self._journal.append(lines)
            self._tally.add(files_done=len(batch), bytes_done=sum(f.size for f in batch))

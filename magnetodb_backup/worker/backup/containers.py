# SPDX-License-Identifier: Apache-2.0
"""Who may change a container of packs, and the index that belongs to it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from magnetodb_backup.repository.upload.file_index import FileIndex
from magnetodb_backup.worker.tasks import TaskContext

_LOOK_EVERY = 0.5  # seconds between two looks whether a waiting task is cancelled


class Containers:
    """One task at a time uploads to a container or collects it, and uses its index.

    A task that is cancelled may still wait for the object store, so the conductor alone cannot keep
    an upload and a collection apart. ``state_dir`` has the indexes and the spool.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def hold(self, host_id: str, context: TaskContext) -> Iterator[None]:
        """Wait for the container of a node; it is free again at the end of the block.

        :raises BackupError: if the task is cancelled meanwhile.
        """
        lock = self._locks[host_id]
        while not lock.acquire(timeout=_LOOK_EVERY):
            context.raise_if_cancelled()
        try:
            yield
        finally:
            lock.release()

    def is_held(self, host_id: str) -> bool:
        """Return whether a task uses the container of a node now."""
        return self._locks[host_id].locked()

    def index(self, host_id: str) -> FileIndex:
        """Open the index of the files that a node has stored; only for who holds its container."""
        return FileIndex(self.state_dir / f"files-{host_id}.sqlite")

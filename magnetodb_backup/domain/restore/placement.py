# SPDX-License-Identifier: Apache-2.0
"""Which data directory of a node a restored SSTable goes to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from magnetodb_backup.domain.backup.manifest import FileEntry


class Spread:
    """Chooses for the files of one node backup; the same every time for the same manifest.

    Where there are as many directories as there were, each file keeps its directory's number. Else
    the directories are filled in proportion to ``room``, the free bytes of each beforehand.
    """

    def __init__(self, room: Sequence[int], directories_of_source: int) -> None:
        self._room = [max(r, 1) for r in room]
        self._filled = [0] * len(room)
        self._keep = len(room) == directories_of_source
        # By a digest: the files come in any order, and a node may have 100,000 SSTables.
        self._chosen: dict[int, int] = {}

    def directory(self, entry: FileEntry, sstable: str) -> int:
        """Return the number of the directory for a component of ``sstable``."""
        if self._keep:
            return entry.data_directory
        name = f"{entry.keyspace}/{entry.table}/{sstable}".encode()
        key = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())
        number = self._chosen.get(key)
        if number is None:
            filled = [f / r for f, r in zip(self._filled, self._room, strict=True)]
            self._chosen[key] = number = filled.index(min(filled))
        self._filled[number] += entry.size
        return number

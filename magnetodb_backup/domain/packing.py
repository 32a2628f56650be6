# SPDX-License-Identifier: Apache-2.0
"""Which files share a pack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from magnetodb_backup.domain.manifest import SnapshotFile

_MOST_FILES = 4096  # bounds the memory that a group of tiny files takes


@dataclass(frozen=True)
class Unit:
    """Work of one reader: files that share one pack, or one file that needs several."""

    files: tuple[SnapshotFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f.size for f in self.files)


def group(files: Iterable[SnapshotFile], pack_size: int) -> Iterator[Unit]:
    """Put files together, in their order, up to ``pack_size`` bytes; larger ones go alone."""
    open_files: list[SnapshotFile] = []
    size = 0
    for file in files:
        if file.size > pack_size:
            yield Unit((file,))
            continue
        if open_files and (size + file.size > pack_size or len(open_files) == _MOST_FILES):
            yield Unit(tuple(open_files))
            open_files, size = [], 0
        open_files.append(file)
        size += file.size
    if open_files:
        yield Unit(tuple(open_files))

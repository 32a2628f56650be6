# SPDX-License-Identifier: Apache-2.0
"""Groups files that share a pack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.backup.manifest import Extent, SnapshotFile

_MOST_FILES = 4096  # bounds the memory that a group of tiny files takes


@dataclass(frozen=True)
class Unit:
    """Work of one reader: files that share one pack, or one file that needs several."""

    files: tuple[SnapshotFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f.size for f in self.files)


class _Open:
    """A unit that is being filled."""

    def __init__(self) -> None:
        self.files: list[SnapshotFile] = []
        self.size = 0

    def has_room(self, file: SnapshotFile, pack_size: int) -> bool:
        return self.size + file.size <= pack_size and len(self.files) < _MOST_FILES

    def add(self, file: SnapshotFile) -> None:
        self.files.append(file)
        self.size += file.size


def group(files: Iterable[SnapshotFile], pack_size: int) -> Iterator[Unit]:
    """Group files, in their order, up to ``pack_size`` bytes; a larger file is a group of its own.

    Files that belong to one snapshot only are grouped separately, so that the packs of SSTables can
    be rebuilt, byte for byte, from a later snapshot.
    """
    lanes = {False: _Open(), True: _Open()}
    for file in files:
        if file.size > pack_size:
            yield Unit((file,))
            continue
        lane = lanes[file.is_of_snapshot]
        if lane.files and not lane.has_room(file, pack_size):
            yield Unit(tuple(lane.files))
            lane = lanes[file.is_of_snapshot] = _Open()
        lane.add(file)
    for lane in lanes.values():
        if lane.files:
            yield Unit(tuple(lane.files))


def group_again(
    lost: Iterable[tuple[SnapshotFile, Sequence[Extent]]], pack_size: int
) -> Iterator[Unit]:
    """Group the files of lost packs in the order of their extents, so that packs can be rebuilt.

    ``lost`` are files with their extents, some in a pack missing from the store. Of files with the
    same extents, and so the same content, only the first is used.
    """
    packs: dict[str, dict[int, SnapshotFile]] = {}
    for file, extents in lost:
        if extents:
            packs.setdefault(extents[0].pack, {}).setdefault(extents[0].offset, file)
    for held in packs.values():
        yield from group((held[offset] for offset in sorted(held)), pack_size)

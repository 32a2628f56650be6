# SPDX-License-Identifier: Apache-2.0
"""The SSTables of a node backup, table by table, in portions of a bounded size."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from magnetodb_backup.cassandra.files.staging import sstable_of
from magnetodb_backup.domain.backup.manifest import Extent, FileEntry
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.repository.download.download import is_restored_component


@dataclass(frozen=True)
class SSTable:
    """An SSTable's files, as far as a restore needs them; ``name`` is for example ``nb-1-big``."""

    name: str
    files: tuple[FileEntry, ...]

    @property
    def size(self) -> int:
        """Return the size of its files in bytes."""
        return sum(entry.size for entry in self.files)


@dataclass(frozen=True)
class Amount:
    """Numbers of SSTables and files, and their size in bytes."""

    sstables: int = 0
    files: int = 0
    bytes: int = 0


class SSTableIndex:
    """The files of a node manifest in a temporary database, so that memory stays bounded."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute(
            "CREATE TABLE files (keyspace TEXT, name TEXT, directory INTEGER, sstable TEXT, "
            "size INTEGER, entry TEXT)"
        )

    def add(self, entries: Iterable[FileEntry]) -> None:
        """Add the entries that belong to an SSTable and that a restore uses."""
        for entry in entries:
            sstable = sstable_of(entry.name)
            if is_restored_component(entry) and sstable != entry.name:
                self._db.execute(
                    "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        entry.keyspace, entry.table, entry.data_directory, sstable, entry.size,
                        json.dumps(entry.as_json()),
                    ),
                )  # fmt: skip
        self._db.execute(
            "CREATE INDEX IF NOT EXISTS by_table ON files (keyspace, name, directory, sstable)"
        )

    def tables(self) -> list[TableName]:
        """Return the tables that have SSTables."""
        query = "SELECT DISTINCT keyspace, name FROM files ORDER BY keyspace, name"
        return [TableName(*row) for row in self._db.execute(query)]

    def amount(self, table: TableName | None = None) -> Amount:
        """Return the amount of one table, or of all."""
        query = (
            "SELECT COUNT(DISTINCT keyspace || '.' || name || '.' || directory || '.' || sstable),"
            " COUNT(*), COALESCE(SUM(size), 0) FROM files"
        )
        if table is None:
            return Amount(*self._db.execute(query).fetchone())
        found = self._db.execute(f"{query} WHERE keyspace = ? AND name = ?", table)
        return Amount(*found.fetchone())

    def portions(self, table: TableName, room: int) -> Iterator[tuple[SSTable, ...]]:
        """Yield a table's SSTables, at most ``room`` bytes at a time, or a single larger one.

        Those of a portion are from one data directory: others may have the same names.
        """
        portion: list[SSTable] = []
        size, directory = 0, -1
        for number, sstable in self._sstables(table):
            if portion and (number != directory or size + sstable.size > room):
                yield tuple(portion)
                portion, size = [], 0
            portion.append(sstable)
            size, directory = size + sstable.size, number
        if portion:
            yield tuple(portion)

    def _sstables(self, table: TableName) -> Iterator[tuple[int, SSTable]]:
        names = self._db.execute(
            "SELECT DISTINCT directory, sstable FROM files WHERE keyspace = ? AND name = ? "
            "ORDER BY directory, sstable",
            table,
        )
        for directory, sstable in names:
            entries = self._db.execute(
                "SELECT entry FROM files WHERE keyspace = ? AND name = ? AND directory = ? AND "
                "sstable = ?",
                (*table, directory, sstable),
            )
            yield directory, SSTable(sstable, tuple(_entry(text) for (text,) in entries))

    def close(self) -> None:
        """Remove the database."""
        self._db.close()


def _entry(text: str) -> FileEntry:
    data = json.loads(text)
    data["extents"] = tuple(Extent(*extent) for extent in data["extents"])
    return FileEntry(**data)

# SPDX-License-Identifier: Apache-2.0
"""Finds the bytes that a collection has moved to another pack.

A move is not proved, and need not be: every file that is read through it has its SHA-256 in the
node manifest, which is proved.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType

from magnetodb_backup.domain.backup.manifest import Extent, FileEntry
from magnetodb_backup.repository.format.moves import Move, MovesHeader, MovesReader

_CACHE = -8 * 1024  # KiB
_BATCH = 1000
_TABLE = """
CREATE TABLE moves (pack BLOB, start INTEGER, length INTEGER,
    to_pack BLOB NOT NULL, to_start INTEGER NOT NULL,
    PRIMARY KEY (pack, start, length)) WITHOUT ROWID
"""


class Moves:
    """The moves of one node, in a temporary SQLite file: memory is bounded. Not thread-safe."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(f"PRAGMA cache_size = {_CACHE}")
        self._db.execute(_TABLE)
        self.generation, self.sha256 = 0, ""

    def __enter__(self) -> Moves:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary file."""
        self._db.close()

    def load(self, chunks: Iterable[bytes], name: str, host_id: str) -> None:
        """Read the stored object ``name``.

        :raises NotFound: if there is none.
        :raises FormatProblem: if it is not what was stored.
        """
        reader = MovesReader(chunks, name, host_id)
        rows = (
            (bytes.fromhex(m.named.pack), m.named.offset, m.named.length,
             bytes.fromhex(m.now.pack), m.now.offset)
            for m in reader
        )  # fmt: skip
        while batch := list(itertools.islice(rows, _BATCH)):
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR REPLACE INTO moves VALUES (?, ?, ?, ?, ?)", batch)
            self._db.execute("COMMIT")
        self.generation, self.sha256 = reader.header.generation, reader.sha256

    def header(self, host_id: str) -> MovesHeader:
        """Return the header of these moves."""
        return MovesHeader(host_id, self.generation)

    def __iter__(self) -> Iterator[Move]:
        for pack, start, length, to_pack, to_start in self._db.execute("SELECT * FROM moves"):
            yield Move(Extent(pack.hex(), start, length), Extent(to_pack.hex(), to_start, length))

    def located(self, entry: FileEntry) -> FileEntry:
        """Return a file with the extents where its bytes are now."""
        extents = tuple(self.now(extent) for extent in entry.extents)
        return entry if extents == entry.extents else replace(entry, extents=extents)

    def now(self, extent: Extent) -> Extent:
        """Return the extent that has these bytes now; the same one if they were not moved."""
        if not self.generation:
            return extent
        query = "SELECT to_pack, to_start FROM moves WHERE pack = ? AND start = ? AND length = ?"
        key = (bytes.fromhex(extent.pack), extent.offset, extent.length)
        row = self._db.execute(query, key).fetchone()
        return extent if row is None else Extent(row[0].hex(), row[1], extent.length)

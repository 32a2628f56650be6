# SPDX-License-Identifier: Apache-2.0
"""The extents that node manifests name, where their bytes are, and where they are moved.

A temporary SQLite file holds them, about 120 bytes for each extent: memory is bounded.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from types import TracebackType

from magnetodb_backup.domain.backup.manifest import Extent
from magnetodb_backup.repository.format.moves import Move

_CACHE = -8 * 1024  # KiB
_BATCH = 1000
_TABLES = """
CREATE TABLE extents (number INTEGER PRIMARY KEY, pack BLOB, start INTEGER, length INTEGER,
    in_pack BLOB NOT NULL, at INTEGER NOT NULL, UNIQUE (pack, start, length));
CREATE TABLE sizes (pack BLOB PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE chosen (number INTEGER PRIMARY KEY, pack BLOB UNIQUE, size INTEGER NOT NULL,
    live INTEGER NOT NULL);
CREATE TABLE steps (in_pack BLOB, at INTEGER, length INTEGER, to_pack BLOB, to_at INTEGER,
    PRIMARY KEY (in_pack, at, length)) WITHOUT ROWID;
"""
_ADD = "INSERT OR IGNORE INTO extents (pack, start, length, in_pack, at) VALUES (?, ?, ?, ?, ?)"
_ADD_SIZE = "INSERT OR REPLACE INTO sizes VALUES (?, ?)"
_LIVE = """
INSERT INTO chosen (pack, size, live) SELECT pack, size, live FROM (
    SELECT in_pack, SUM(length) AS live, MIN(first) AS first FROM (
        SELECT in_pack, at, length, MIN(number) AS first FROM extents GROUP BY in_pack, at, length)
    GROUP BY in_pack) JOIN sizes ON pack = in_pack
WHERE live * 100 <= size * ? AND live < size ORDER BY first, pack
"""
_FOLLOW = """
UPDATE extents SET (in_pack, at) = (SELECT to_pack, to_at FROM steps s
        WHERE s.in_pack = extents.in_pack AND s.at = extents.at AND s.length = extents.length)
    WHERE EXISTS (SELECT 1 FROM steps s
        WHERE s.in_pack = extents.in_pack AND s.at = extents.at AND s.length = extents.length)
"""


class LiveExtents:
    """``at`` is the offset in the pack that has the bytes now. Not thread-safe."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(f"PRAGMA cache_size = {_CACHE}")
        self._db.executescript(_TABLES)
        self._extents: list[tuple[object, ...]] = []
        self._sizes: list[tuple[object, ...]] = []

    def __enter__(self) -> LiveExtents:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def add(self, named: Extent, now: Extent) -> None:
        """Add an extent as a node manifest names it, and where its bytes are."""
        row = (bytes.fromhex(named.pack), named.offset, named.length)
        self._extents.append((*row, bytes.fromhex(now.pack), now.offset))
        self._flush(_BATCH)

    def add_size(self, pack: str, size: int) -> None:
        """Note the size of a listed pack in bytes."""
        self._sizes.append((bytes.fromhex(pack), size))
        self._flush(_BATCH)

    def _flush(self, least: int) -> None:
        for rows, statement in ((self._extents, _ADD), (self._sizes, _ADD_SIZE)):
            if len(rows) >= least:
                self._in_batches(statement, rows)
                rows.clear()

    def choose(self, percent: int) -> tuple[int, int, int]:
        """Choose the packs of which at most ``percent`` of the bytes are live.

        Return their number, their bytes, and their live bytes.
        """
        self._db.execute("DELETE FROM chosen")
        self._db.execute(_LIVE, (percent,))
        query = "SELECT COUNT(*), TOTAL(size), TOTAL(live) FROM chosen"
        count, size, live = self._db.execute(query).fetchone()
        return count, int(size), int(live)

    def chosen(self) -> Iterator[tuple[str, int]]:
        """Yield the chosen packs and their sizes, in the order in which manifests name them."""
        query = "SELECT number, pack, size FROM chosen WHERE number > ? ORDER BY number LIMIT ?"
        last = 0
        while found := self._db.execute(query, (last, _BATCH)).fetchall():
            yield from ((pack.hex(), size) for _, pack, size in found)
            last = found[-1][0]

    def leave(self, pack: str) -> None:
        """Take a pack back that cannot be read."""
        self._db.execute("DELETE FROM chosen WHERE pack = ?", (bytes.fromhex(pack),))

    def within(self, pack: str) -> list[tuple[int, int]]:
        """Return offset and length of the live extents in a pack."""
        query = "SELECT DISTINCT at, length FROM extents WHERE in_pack = ? ORDER BY at, length"
        return self._db.execute(query, (bytes.fromhex(pack),)).fetchall()

    def prepare(self) -> None:
        """Prepare the other methods, once all extents and sizes are added."""
        self._flush(1)
        self._db.execute("CREATE INDEX IF NOT EXISTS by_place ON extents (in_pack, at, length)")

    def moved(self, steps: Iterable[tuple[str, int, int]], pack: str) -> None:
        """Note that extents (pack, offset, length) were written, one after the other, to ``pack``.

        Nothing follows them before ``follow()``.
        """
        target, at = bytes.fromhex(pack), 0
        rows = []
        for source, offset, length in steps:
            rows.append((bytes.fromhex(source), offset, length, target, at))
            at += length
        self._in_batches("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?)", rows)

    def follow(self) -> None:
        """Let every extent be where it was written to."""
        self._db.execute(_FOLLOW)

    def steps(self) -> Iterator[Move]:
        """Yield what was moved since the extents were added."""
        for pack, at, length, to_pack, to_at in self._db.execute("SELECT * FROM steps"):
            yield Move(Extent(pack.hex(), at, length), Extent(to_pack.hex(), to_at, length))

    def moves(self) -> Iterator[Move]:
        """Yield every named extent whose bytes are elsewhere."""
        query = """
            SELECT pack, start, length, in_pack, at FROM extents
                WHERE pack <> in_pack OR start <> at ORDER BY pack, start, length
        """
        for pack, start, length, in_pack, at in self._db.execute(query):
            yield Move(Extent(pack.hex(), start, length), Extent(in_pack.hex(), at, length))

    def emptied(self) -> Iterator[tuple[str, int]]:
        """Yield the chosen packs, with their sizes, that no extent is in any more."""
        query = "SELECT pack, size FROM chosen WHERE pack NOT IN (SELECT in_pack FROM extents)"
        return ((pack.hex(), size) for pack, size in self._db.execute(query))

    def has_size(self, pack: str) -> bool:
        """Return whether a pack was listed."""
        query = "SELECT 1 FROM sizes WHERE pack = ?"
        return self._db.execute(query, (bytes.fromhex(pack),)).fetchone() is not None

    def _in_batches(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        remaining = iter(rows)
        while batch := list(itertools.islice(remaining, _BATCH)):
            self._db.execute("BEGIN")
            self._db.executemany(statement, batch)
            self._db.execute("COMMIT")

# SPDX-License-Identifier: Apache-2.0
"""The extents of a node backup's files by pack, for its verification."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator

from magnetodb_backup.domain.backup.manifest import Extent, FileEntry
from magnetodb_backup.domain.tables import TableName

_NAMED = 20  # affected files; they are not all stored
_AT_ONCE = 1000  # packs that are read from the database at once


class PackExtents:
    """A node backup's extents by pack, in a temporary database: memory stays bounded."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute(
            "CREATE TABLE extents "
            "(pack TEXT, start INTEGER, length INTEGER, file INTEGER, part INTEGER)"
        )
        self._db.execute(
            "CREATE TABLE files (number INTEGER PRIMARY KEY, path TEXT, sha256 TEXT, "
            "keyspace TEXT, name TEXT)"
        )

    def add(self, number: int, entry: FileEntry) -> None:
        """Add a file under a number of its own."""
        path = "/".join(p for p in (entry.keyspace, entry.table, entry.index, entry.name) if p)
        self._db.execute(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?)",
            (number, path, entry.sha256, entry.keyspace, entry.table),
        )
        self._db.executemany(
            "INSERT INTO extents VALUES (?, ?, ?, ?, ?)",
            ((e.pack, e.offset, e.length, number, part) for part, e in enumerate(entry.extents)),
        )

    def complete(self) -> None:
        """Prepare the queries, once all files are added."""
        self._db.execute("CREATE INDEX by_pack ON extents (pack)")
        self._db.execute("CREATE INDEX by_file ON extents (file)")

    def packs(
        self, chosen: Callable[[str], bool] = lambda pack: True, after: str = ""
    ) -> Iterator[tuple[str, int]]:
        """Yield each chosen pack after the named one and its least size in bytes, by name."""
        query = (
            "SELECT pack, MAX(start + length) FROM extents WHERE pack > ? "
            "GROUP BY pack ORDER BY pack LIMIT ?"
        )
        while rows := self._db.execute(query, (after, _AT_ONCE)).fetchall():
            yield from (row for row in rows if chosen(row[0]))
            after = rows[-1][0]

    def affected(self, pack: str) -> tuple[tuple[str, ...], int]:
        """Return the paths of the first files with bytes in a pack, and the number of all."""
        query = (
            "SELECT DISTINCT path FROM extents JOIN files ON number = file "
            "WHERE pack = ? ORDER BY path"
        )
        paths = [row[0] for row in self._db.execute(query, (pack,))]
        return tuple(paths[:_NAMED]), len(paths)

    def tables_in(self, pack: str) -> list[TableName]:
        """Return the tables that have files in a pack."""
        query = (
            "SELECT DISTINCT keyspace, name FROM extents JOIN files ON number = file WHERE pack = ?"
        )
        return [TableName(*row) for row in self._db.execute(query, (pack,))]

    def whole_in(self, pack: str) -> Iterator[tuple[str, str, int, int]]:
        """Yield path, digest, offset and length of the files stored in this pack alone."""
        query = (
            "SELECT path, sha256, start, length FROM extents e JOIN files ON number = file "
            "WHERE pack = ? AND (SELECT COUNT(*) FROM extents o WHERE o.file = e.file) = 1"
        )
        yield from self._db.execute(query, (pack,))

    def files_in(self, chosen: Callable[[str], bool]) -> int:
        """Return the number of files that have no bytes outside of chosen packs."""
        query = "SELECT number, pack FROM files LEFT JOIN extents ON number = file ORDER BY number"
        rows = itertools.groupby(self._db.execute(query), key=lambda row: int(row[0]))
        return sum(all(pack is None or chosen(pack) for _, pack in found) for _, found in rows)

    def spanned(
        self, chosen: Callable[[str], bool] = lambda pack: True, after: int = -1
    ) -> Iterator[tuple[int, str, str, list[Extent]]]:
        """Yield number, path, digest and extents of the files stored in several packs.

        Only files whose packs are all chosen, and whose numbers are greater than ``after``.
        """
        query = (
            "SELECT file FROM extents WHERE file > ? GROUP BY file HAVING COUNT(*) > 1 "
            "ORDER BY file LIMIT ?"
        )
        while numbers := self._db.execute(query, (after, _AT_ONCE)).fetchall():
            for (number,) in numbers:
                path, sha256 = self._db.execute(
                    "SELECT path, sha256 FROM files WHERE number = ?", (number,)
                ).fetchone()
                rows = self._db.execute(
                    "SELECT pack, start, length FROM extents WHERE file = ? ORDER BY part",
                    (number,),
                )
                extents = [Extent(*row) for row in rows]
                if all(chosen(e.pack) for e in extents):
                    yield number, path, sha256, extents
            after = numbers[-1][0]

    def close(self) -> None:
        """Remove the database."""
        self._db.close()

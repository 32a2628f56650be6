# SPDX-License-Identifier: Apache-2.0
"""The ranges to fetch, in a temporary database: memory does not grow with the files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from magnetodb_backup.domain.backup.manifest import FileEntry
from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.download.partial_files import PART

# Pieces up to this size are collected in memory and written at once.
SMALL = 256 * 1024
_MOST_PIECES = 500
_LONGEST_NAME = 255 - len(PART)  # bytes


def label_of(entry: FileEntry) -> str:
    """Return a readable name of a file: keyspace, table, index if any, name."""
    return "/".join(p for p in (entry.keyspace, entry.table, entry.index, entry.name) if p)


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file to fetch; ``parts`` is the number of its extents, ``label`` its readable name."""

    number: int
    name: str
    label: str
    size: int
    sha256: str
    parts: int

    @property
    def path(self) -> Path:
        """The absolute path; created on request, since a Path takes more memory than the rest."""
        return Path(self.name)


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` bytes from ``start`` of the pack, to write at ``position`` of the file."""

    file: WantedFile
    pack: str
    start: int
    length: int
    position: int

    @property
    def end(self) -> int:
        """The offset in the pack after the last byte of the piece."""
        return self.start + self.length

    @property
    def is_small_file(self) -> bool:
        """True if the piece is a whole file small enough for memory."""
        return self.file.parts == 1 and self.length <= SMALL


@dataclass(frozen=True)
class Read:
    """One range of a pack and its pieces, ordered by start."""

    pack: str
    start: int
    length: int
    pieces: tuple[Piece, ...]


class WantedRanges:
    """The files to fetch and their extents, by pack. For one thread."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute(
            "CREATE TABLE files (number INTEGER PRIMARY KEY, path BLOB UNIQUE, label TEXT, "
            "size INTEGER, sha256 TEXT, parts INTEGER, finished INTEGER)"
        )
        self._db.execute(
            "CREATE TABLE extents "
            "(pack TEXT, start INTEGER, length INTEGER, file INTEGER, position INTEGER)"
        )

    def add(self, path: Path, entry: FileEntry, *, finished: bool) -> WantedFile:
        """Record a file and return it; a finished one is not fetched.

        :raises FormatProblem: if another file has this path.
        """
        label = label_of(entry)
        if path.name.endswith(PART) or len(os.fsencode(path.name)) > _LONGEST_NAME:
            raise FormatProblem(f"{label}: not a valid Cassandra file name; the backup is damaged")
        extents = [e for e in entry.extents if e.length]
        try:
            number = self._db.execute(
                "INSERT INTO files VALUES (NULL, ?, ?, ?, ?, ?, ?)",
                (os.fsencode(path), label, entry.size, entry.sha256, len(extents), finished),
            ).lastrowid
        except sqlite3.IntegrityError:
            raise FormatProblem(
                f"the node manifest has two files for {path}, the second is {label}; the backup "
                "is damaged: restore from another one"
            ) from None
        position = 0
        for extent in () if finished else extents:
            self._db.execute(
                "INSERT INTO extents VALUES (?, ?, ?, ?, ?)",
                (extent.pack, extent.offset, extent.length, number, position),
            )
            position += extent.length
        assert number is not None
        return WantedFile(number, os.fspath(path), label, entry.size, entry.sha256, len(extents))

    def empty(self) -> Iterator[WantedFile]:
        """Yield the files that have no bytes."""
        query = (
            "SELECT number, path, label, size, sha256, parts FROM files "
            "WHERE size = 0 AND NOT finished ORDER BY number"
        )
        for row in self._db.execute(query):
            yield _file(*row)

    def reads(self, gap: int) -> Iterator[Read]:
        """Yield the ranges to read, in the order of the files as far as packs allow.

        Pieces at most ``gap`` bytes apart become one range.
        """
        pieces: list[Piece] = []
        end = streamed_to = 0
        for piece in self._pieces():
            streamed = not piece.is_small_file
            if pieces and (
                piece.pack != pieces[0].pack
                or piece.start > end + gap
                or len(pieces) >= _MOST_PIECES
                # The reader of a range has one large file open at a time.
                or (streamed and piece.start < streamed_to)
            ):
                yield _read(pieces, end)
                pieces = []
                end = streamed_to = 0
            pieces.append(piece)
            end = max(end, piece.end)
            if streamed:
                streamed_to = piece.end
        if pieces:
            yield _read(pieces, end)

    def close(self) -> None:
        """Delete the temporary database."""
        self._db.close()

    def _pieces(self) -> Iterator[Piece]:
        # Packs are ordered by the first file that needs them (and by its first such extent).
        query = """
            SELECT e.pack, e.start, e.length, e.position,
                f.number, f.path, f.label, f.size, f.sha256, f.parts
            FROM (SELECT pack, MIN(file) AS first, position AS part FROM extents GROUP BY pack) p
            JOIN extents e ON e.pack = p.pack JOIN files f ON f.number = e.file
            ORDER BY p.first, p.part, e.pack, e.start, e.file
        """
        self._db.execute("CREATE INDEX IF NOT EXISTS by_pack ON extents (pack)")
        for pack, start, length, position, *file in self._db.execute(query):
            yield Piece(_file(*file), pack, start, length, position)


def _file(number: int, path: bytes, label: str, size: int, sha256: str, parts: int) -> WantedFile:
    return WantedFile(number, os.fsdecode(path), label, size, sha256, parts)


def _read(pieces: list[Piece], end: int) -> Read:
    return Read(pieces[0].pack, pieces[0].start, end - pieces[0].start, tuple(pieces))

# SPDX-License-Identifier: Apache-2.0
"""Moves as JSON lines: where bytes of packs are now that a collection has written again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from magnetodb_backup.domain.backup.manifest import Extent
from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.format.lines import LineWriter, checked, number, read_lines
from magnetodb_backup.repository.format.names import check_sha256

FORMAT = 2  # releases that know format 1 only refuse to collect, and name this number


@dataclass(frozen=True)
class Move:
    """An extent that a node manifest names, and the one with the same bytes that replaces it."""

    named: Extent
    now: Extent


@dataclass(frozen=True)
class MovesHeader:
    """First line. Of two copies the one with the greater ``generation`` is valid."""

    host_id: str
    generation: int


def write_moves(file: BinaryIO, header: MovesHeader, moves: Iterable[Move]) -> str:
    """Write all lines, compressed, into ``file``; return the SHA-256 in the trailer."""
    lines, digest, count = LineWriter(file), hashlib.sha256(), 0
    lines.write({"format": FORMAT, "host_id": header.host_id, "generation": header.generation}, "")
    for move in moves:
        digest.update(_text(move))
        named, now = move.named, move.now
        document = {
            "named": [named.pack, named.offset, named.length],
            "now": [now.pack, now.offset, now.length],
        }
        lines.write(document, "")
        count += 1
    sha256 = digest.hexdigest()
    lines.write({"trailer": {"moves": count, "sha256": sha256}}, "")
    lines.finish()
    return sha256


class MovesReader:
    """Reads moves as a stream; iterate once. ``sha256`` is known at the end.

    :raises FormatProblem: at any deviation, at the end if a line was changed or is missing.
    """

    def __init__(self, chunks: Iterable[bytes], name: str, host_id: str) -> None:
        self._name = name
        self._lines = read_lines(chunks, name)
        self.header = checked(name, _header, next(self._lines, {}))
        if self.header.host_id != host_id:
            raise FormatProblem(f"{name}: has the moves of node {self.header.host_id}")
        self.sha256 = ""

    def __iter__(self) -> Iterator[Move]:
        digest, count = hashlib.sha256(), 0
        for document in self._lines:
            if self.sha256:
                raise FormatProblem(f"{self._name}: something follows the trailer")
            if "trailer" in document:
                self.sha256 = checked(self._name, _trailer, document, count, digest.hexdigest())
                continue
            move = checked(self._name, _move, document)
            digest.update(_text(move))
            count += 1
            yield move
        if not self.sha256:
            raise FormatProblem(f"{self._name}: has no trailer")


def _text(move: Move) -> bytes:
    named, now = move.named, move.now
    return f"{named.pack} {named.offset} {named.length} {now.pack} {now.offset}\n".encode()


def _header(document: Mapping[str, Any]) -> MovesHeader:
    if document.get("format") != FORMAT:
        raise ValueError(
            f"format version {document.get('format')!r} is not {FORMAT}; use the version of "
            "magnetodb-backup that wrote it, or a newer one"
        )
    return MovesHeader(str(document["host_id"]), number(document["generation"], least=1))


def _move(document: Mapping[str, Any]) -> Move:
    named, now = _extent(document["named"]), _extent(document["now"])
    if named.length != now.length:
        raise ValueError(f"{named.length} bytes cannot be moved to {now.length} bytes")
    return Move(named, now)


def _extent(values: Any) -> Extent:
    pack, offset, length = values
    return Extent(check_sha256(pack), number(offset), number(length, least=1))


def _trailer(document: Mapping[str, Any], count: int, sha256: str) -> str:
    trailer = document["trailer"]
    if (trailer["moves"], trailer["sha256"]) != (count, sha256):
        raise ValueError(f"has {count} moves of SHA-256 {sha256}, its trailer says {trailer}")
    return sha256

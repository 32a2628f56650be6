# SPDX-License-Identifier: Apache-2.0
"""Stored moves: what is written is read, and nothing else is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from magnetodb_backup.domain.backup.manifest import Extent
from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.format.moves import (
    Move,
    MovesHeader,
    MovesReader,
    write_moves,
)
from tests.unit.repository.disk import HOST

A, B = "a" * 64, "b" * 64
MOVES = [Move(Extent(A, 5, 7), Extent(B, 0, 7)), Move(Extent(A, 50, 1), Extent(B, 7, 1))]


def stored() -> bytes:
    file = io.BytesIO()
    write_moves(file, MovesHeader(HOST, 3), MOVES)
    return file.getvalue()


def test_what_is_written_is_read() -> None:
    reader = MovesReader([stored()], "moves", HOST)
    assert (list(reader), reader.header) == (MOVES, MovesHeader(HOST, 3))
    assert reader.sha256 == write_moves(io.BytesIO(), MovesHeader(HOST, 4), MOVES)


def other(change: Callable[[list[Any]], object]) -> bytes:
    text = zstandard.ZstdDecompressor().decompressobj().decompress(stored())
    documents = [json.loads(line) for line in text.splitlines()]
    change(documents)
    lines = "".join(json.dumps(document) + "\n" for document in documents)
    return zstandard.ZstdCompressor().compress(lines.encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[0].update(format=3), "format version 3 is not 2; use the version"),
        (lambda d: d[0].update(host_id="x"), "has the moves of node x"),
        (lambda d: d[0].update(generation=0), "0 is not a number from 1"),
        (lambda d: d[1].update(now=[B, 1, 7]), "has 2 moves of SHA-256"),
        (lambda d: d[1].update(now=[B, 0, 8]), "7 bytes cannot be moved to 8 bytes"),
        (lambda d: d[1].update(now=["../x", 0, 7]), "is not a SHA-256"),
        (lambda d: d.pop(1), "has 1 moves"),
        (lambda d: d.pop(), "has no trailer"),
        (lambda d: d.append(d[1]), "something follows the trailer"),
    ],
)
def test_changed_objects_are_refused(change: Callable[[list[Any]], object], message: str) -> None:
    with pytest.raises(FormatProblem, match=message):
        list(MovesReader([other(change)], "moves", HOST))


def test_cut_objects_are_refused() -> None:
    with pytest.raises(FormatProblem, match="cut off"):
        list(MovesReader([stored()[:-3]], "moves", HOST))

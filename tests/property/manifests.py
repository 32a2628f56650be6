# SPDX-License-Identifier: Apache-2.0
"""Node manifests for properties: strategies, and documents as stored bytes and back."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import zstandard
from hypothesis import strategies as st

from magnetodb_backup.domain.backup.manifest import Extent, FileEntry, NodeManifestHeader
from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.format.manifests import NodeManifestReader, NodeManifestWriter

Result = TypeVar("Result")
_HEXADECIMAL = "0123456789abcdef"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
LARGEST = (1 << 63) - 1

uuids = st.uuids().map(str)
names = st.text(_LETTERS, min_size=1, max_size=222)
digests = st.text(_HEXADECIMAL, min_size=64, max_size=64)
tokens = st.integers(-(1 << 63), LARGEST)
file_names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=63
).filter(lambda name: name not in (".", ".."))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def entries(draw: st.DrawFn) -> FileEntry:
    """Return a file of the first of two data directories, or of the second."""
    lengths = draw(st.lists(st.integers(0, 1 << 40), max_size=4))
    extents = tuple(Extent(draw(digests), draw(st.integers(0, 1 << 40)), n) for n in lengths)
    return FileEntry(
        keyspace=draw(names),
        table=draw(names),
        table_id=draw(st.text(_HEXADECIMAL, min_size=32, max_size=32)),
        index=draw(st.none() | file_names),
        data_directory=draw(st.integers(0, 1)),
        name=draw(file_names),
        size=sum(lengths),
        mtime_ns=draw(st.integers(-(1 << 63), LARGEST)),
        sha256=draw(digests),
        crc32=draw(st.none() | st.integers(0, (1 << 32) - 1)),
        extents=extents,
        corrupt=draw(st.booleans()),
    )


@st.composite
def headers(draw: st.DrawFn) -> NodeManifestHeader:
    """Return a header with two data directories."""
    return NodeManifestHeader(
        backup_id=draw(uuids),
        cluster=draw(texts),
        host_id=draw(uuids),
        address=draw(texts),
        dc=draw(texts),
        rack=draw(texts),
        version=draw(texts),
        tokens=tuple(draw(st.lists(tokens, max_size=5))),
        data_directories=(f"/{draw(texts)}", f"/{draw(texts)}"),
        snapshot_tag=draw(texts),
        snapshot_started_at=draw(texts),
        snapshot_finished_at=draw(texts),
    )


def written(header: NodeManifestHeader, files: Sequence[FileEntry]) -> bytes:
    """Return a whole manifest as it is stored."""
    target = io.BytesIO()
    writer = NodeManifestWriter(target, header)
    for entry in files:
        writer.add(entry)
    writer.finish()
    return target.getvalue()


def lines_of(stored: bytes) -> list[dict[str, Any]]:
    """Return the documents of a stored manifest, by other means than the reader's."""
    text = zstandard.ZstdDecompressor().decompressobj().decompress(stored)
    return [json.loads(line) for line in text.splitlines()]


def stored_lines(lines: Sequence[object]) -> bytes:
    """Return documents, or lines given as bytes, as they would be stored."""
    text = b"".join(
        line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
    )
    return zstandard.ZstdCompressor().compress(text)


def read(stored: bytes, chunk: int = 1 << 16) -> list[FileEntry]:
    """Read a whole manifest that comes in chunks."""
    chunks = (stored[begin : begin + chunk] for begin in range(0, len(stored), chunk))
    return list(NodeManifestReader(chunks, "the manifest"))


def result_or_refusal(action: Callable[[], Result]) -> Result | None:
    """Return the result, or None if the format is refused; any other error is one."""
    try:
        return action()
    except FormatProblem:
        return None

# SPDX-License-Identifier: Apache-2.0
"""What a node manifest's writer writes, its reader reads, whole or not at all."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magnetodb_backup.domain.backup.manifest import FileEntry, NodeManifestHeader
from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.format.manifests import NodeManifestReader, NodeManifestWriter
from tests.property.manifests import (
    entries,
    headers,
    lines_of,
    read,
    stored_lines,
    written,
)


@given(headers(), st.lists(entries(), max_size=8), st.integers(1, 200))
def test_what_was_written_is_read_again_in_chunks_of_any_size(
    header: NodeManifestHeader, files: list[FileEntry], chunk: int
) -> None:
    stored = written(header, files)
    chunks = (stored[begin : begin + chunk] for begin in range(0, len(stored), chunk))
    reader = NodeManifestReader(chunks, "n")
    assert reader.header == header
    assert list(reader) == files
    assert reader.trailer is not None
    assert (reader.trailer.files, reader.trailer.bytes) == (len(files), sum(f.size for f in files))
    assert reader.trailer.corrupt_files == sum(f.corrupt for f in files)


@given(headers(), st.lists(entries(), max_size=5))
def test_each_line_is_a_document_for_other_readers(
    header: NodeManifestHeader, files: list[FileEntry]
) -> None:
    first, *middle, last = lines_of(written(header, files))
    assert first == header.as_json()
    assert middle == [entry.as_json() for entry in files]
    assert last["trailer"]["files"] == len(files)


@given(headers(), st.lists(entries(), max_size=3))
@settings(max_examples=10)
def test_a_manifest_that_is_cut_anywhere_is_refused(
    header: NodeManifestHeader, files: list[FileEntry]
) -> None:
    stored = written(header, files)
    for end in range(len(stored)):
        with pytest.raises(FormatProblem, match=r"^the manifest: "):
            read(stored[:end])


@given(headers(), st.lists(entries(), min_size=1, max_size=5), st.data())
def test_a_manifest_that_lacks_lines_is_refused(
    header: NodeManifestHeader, files: list[FileEntry], data: st.DataObject
) -> None:
    lines = lines_of(written(header, files))
    begin = data.draw(st.integers(0, len(lines) - 1))
    end = data.draw(st.integers(begin + 1, len(lines)))
    with pytest.raises(FormatProblem):
        read(stored_lines(lines[:begin] + lines[end:]))


@given(
    headers(),
    st.lists(entries(), max_size=5),
    st.binary(min_size=1) | st.builds(written, headers(), st.just([])),
    st.integers(1, 5000),
)
def test_nothing_may_follow_the_end(
    header: NodeManifestHeader, files: list[FileEntry], more: bytes, chunk: int
) -> None:
    with pytest.raises(FormatProblem, match=r"something follows the end"):
        read(written(header, files) + more, chunk)


@given(
    headers(),
    entries(),
    st.sampled_from(
        [
            {"name": "a/b"},
            {"name": "bad-\udcff-Data.db"},
            {"name": "line\nbreak"},
            {"index": "../up"},
            {"keyspace": "no name"},
            {"data_directory": 2},
            {"size": 1 << 63},
            {"crc32": -1},
            {"extents": (), "size": 1},
            {"sha256": "short"},
        ]
    ),
)
def test_what_no_reader_would_accept_is_not_written(
    header: NodeManifestHeader, entry: FileEntry, change: dict[str, object]
) -> None:
    target = io.BytesIO()
    writer = NodeManifestWriter(target, header)
    with pytest.raises(FormatProblem, match=r"^the node manifest: "):
        writer.add(replace(entry, **change))  # type: ignore[arg-type]
    writer.add(entry)
    writer.finish()
    assert read(target.getvalue()) == [entry]

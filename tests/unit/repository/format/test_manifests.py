# SPDX-License-Identifier: Apache-2.0
"""A writer writes nothing that a reader refuses."""

from __future__ import annotations

import io

import pytest

from magnetodb_backup.domain.backup.manifest import Extent, FileEntry
from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.format.manifests import NodeManifestReader, NodeManifestWriter
from tests.unit.repository.disk import TABLE_ID, header


def _entry(extents: int) -> FileEntry:
    """Return a large file whose packs are small; each extent takes 74 bytes of its line."""
    parts = (Extent("ab" * 32, 0, 1),) * extents
    return FileEntry(
        "ks", "t", TABLE_ID, None, 0, "nb-1-big-Data.db", extents, 0, "cd" * 32, None, parts
    )


def test_line_that_no_reader_would_accept_is_not_written() -> None:
    file = io.BytesIO()
    writer = NodeManifestWriter(file, header(1))
    with pytest.raises(FormatProblem) as failure:
        writer.add(_entry(230_000))
    assert "the line of 'nb-1-big-Data.db' would be longer than 16777216" in str(failure.value)
    assert "[worker] pack_size" in str(failure.value)
    whole = _entry(2)
    writer.add(whole)
    writer.finish()
    assert list(NodeManifestReader([file.getvalue()], "m")) == [whole]

# SPDX-License-Identifier: Apache-2.0
"""Whatever a Digest.crc32 holds: a checksum, or something that matches none."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from magnetodb_backup.domain.backup.manifest import SnapshotFile
from magnetodb_backup.repository.upload.snapshot_reader import expected_crc32


def digest_of(content: bytes) -> int | None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "nb-1-big-Digest.crc32").write_bytes(content)
        path = str(Path(directory, "nb-1-big-Data.db"))
        name = "nb-1-big-Data.db"
        return expected_crc32(SnapshotFile("ks", "t", "", None, 0, name, path, 1, 1, 1, 1))


@given(st.integers(0, (1 << 32) - 1))
def test_a_checksum_is_what_the_file_says(value: int) -> None:
    assert digest_of(str(value).encode()) == value


@given(st.binary() | st.integers().map(lambda value: str(value).encode()))
@example(b"9" * 20)
@example(b"-5")
@example(str(1 << 32).encode())
def test_anything_else_matches_no_checksum(content: bytes) -> None:
    found = digest_of(content)
    assert found is not None
    assert found < 1 << 32
    if found >= 0:
        assert int(content[:20]) == found

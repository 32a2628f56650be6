# SPDX-License-Identifier: Apache-2.0
"""However files are put together, each is there once."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from magnetodb_backup.domain.manifest import SnapshotFile
from magnetodb_backup.domain.packing import Unit, group

sizes = st.lists(st.integers(0, 300), max_size=60)
pack_sizes = st.integers(1, 200)


def files_of(sizes: list[int]) -> list[SnapshotFile]:
    return [
        SnapshotFile("ks", "t", "", None, 0, str(n), f"/{n}", 1, n, size, 1)
        for n, size in enumerate(sizes)
    ]


def packed(files: list[SnapshotFile], pack_size: int) -> tuple[list[Unit], list[Unit]]:
    """Return the units of files that fit into a pack, and the others."""
    units = list(group(files, pack_size))
    small = [u for u in units if u.files[0].size <= pack_size]
    return small, [u for u in units if u.files[0].size > pack_size]


@given(sizes, pack_sizes)
def test_every_file_is_there_once_and_in_order(sizes: list[int], pack_size: int) -> None:
    files = files_of(sizes)
    small, large = packed(files, pack_size)
    assert [f for u in small for f in u.files] == [f for f in files if f.size <= pack_size]
    assert [f for u in large for f in u.files] == [f for f in files if f.size > pack_size]


@given(sizes, pack_sizes)
def test_only_a_file_alone_is_larger_than_a_pack(sizes: list[int], pack_size: int) -> None:
    small, large = packed(files_of(sizes), pack_size)
    assert all(u.size <= pack_size for u in small)
    assert all(len(u.files) == 1 for u in large)


@given(sizes, pack_sizes)
def test_no_pack_is_left_half_empty(sizes: list[int], pack_size: int) -> None:
    small, _ = packed(files_of(sizes), pack_size)
    assert all(one.size + other.files[0].size > pack_size for one, other in pairwise(small))
    assert all(unit.files for unit in small)

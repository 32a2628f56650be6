# SPDX-License-Identifier: Apache-2.0
"""Which files share a pack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from magnetodb_backup.domain.manifest import SnapshotFile
from magnetodb_backup.domain.packing import group


def file(name: str, size: int) -> SnapshotFile:
    return SnapshotFile("ks", "t", "0" * 32, None, 0, name, f"/data/{name}", 1, 1, size, 1)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([0], [[0]]),
        ([10], [[10]]),
        ([11], [[11]]),
        ([4, 6, 1], [[4, 6], [1]]),
        ([4, 7], [[4], [7]]),
        ([0, 0, 10, 0], [[0, 0, 10, 0]]),
        ([3, 25, 4], [[25], [3, 4]]),
        ([25, 25], [[25], [25]]),
    ],
    ids=str,
)
def test_files_fill_packs_of_ten_bytes(sizes: Sequence[int], expected: list[list[int]]) -> None:
    units = list(group((file(str(n), size) for n, size in enumerate(sizes)), 10))
    assert [[f.size for f in unit.files] for unit in units] == expected
    assert [unit.size for unit in units] == [sum(sizes) for sizes in expected]


def test_a_group_of_empty_files_is_bounded() -> None:
    units = list(group((file(str(n), 0) for n in range(10_000)), 10))
    assert sum(len(unit.files) for unit in units) == 10_000
    assert max(len(unit.files) for unit in units) <= 4096


def test_files_are_taken_as_they_are_needed() -> None:
    taken = []

    def files() -> Iterator[SnapshotFile]:
        for n in range(1_000_000):
            taken.append(n)
            yield file(str(n), 4)

    units = group(files(), 10)
    assert taken == []
    next(units)
    assert len(taken) == 3

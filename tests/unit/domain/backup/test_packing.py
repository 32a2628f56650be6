# SPDX-License-Identifier: Apache-2.0
"""Which files share a pack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from magnetodb_backup.domain.backup.manifest import Extent, SnapshotFile
from magnetodb_backup.domain.backup.packing import group, group_again


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


def test_what_each_snapshot_has_of_its_own_goes_apart() -> None:
    names = ["a-Data.db", "manifest.json", "a-TOC.txt", "schema.cql"]
    units = list(group((file(name, 2) for name in names), 10))
    assert [[f.name for f in unit.files] for unit in units] == [
        ["a-Data.db", "a-TOC.txt"],
        ["manifest.json", "schema.cql"],
    ]


def test_lost_packs_are_put_together_in_their_order() -> None:
    def lost(name: str, size: int, *extents: tuple[str, int]) -> tuple[SnapshotFile, list[Extent]]:
        return file(name, size), [Extent(pack, offset, size) for pack, offset in extents]

    units = group_again(
        [
            lost("a3", 3, ("a", 7)),
            lost("b", 4, ("b", 0)),
            lost("a1", 3, ("a", 0)),
            lost("large", 25, ("c", 0), ("d", 0), ("e", 0)),
            lost("a2", 4, ("a", 3)),
            lost("copy", 4, ("a", 3)),
            lost("empty", 0),
        ],
        10,
    )
    assert [[f.name for f in unit.files] for unit in units] == [
        ["a1", "a2", "a3"],
        ["b"],
        ["large"],
    ]


def test_lost_packs_larger_than_packs_are_now_are_divided() -> None:
    lost = [(file(str(n), 6), [Extent("a", n * 6, 6)]) for n in range(3)]
    assert [len(unit.files) for unit in group_again(lost, 10)] == [1, 1, 1]

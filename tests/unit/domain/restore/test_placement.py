# SPDX-License-Identifier: Apache-2.0
"""SSTables are spread over data directories sensibly, and the same every time."""

from __future__ import annotations

import random

from magnetodb_backup.domain.backup.manifest import FileEntry
from magnetodb_backup.domain.restore.placement import Spread

MIB = 1 << 20


def component(number: int, name: str, size: int, directory: int = 0, table: str = "t") -> FileEntry:
    return FileEntry(
        "ks", table, "0" * 32, None, directory, f"nb-{number}-big-{name}", size,
        0, "0" * 64, None, (),
    )  # fmt: skip


def chosen(spread: Spread, entries: list[FileEntry]) -> list[int]:
    return [spread.directory(e, e.name.rpartition("-")[0]) for e in entries]


def test_same_number_keeps_places() -> None:
    spread = Spread([1, 10**12], 2)
    assert chosen(spread, [component(n, "Data.db", MIB, n % 2) for n in range(6)]) == [0, 1] * 3


def test_one_directory_takes_all() -> None:
    assert set(chosen(Spread([5], 3), [component(n, "Data.db", MIB, n) for n in range(3)])) == {0}


def test_components_stay_together_in_any_order() -> None:
    entries = [
        component(n, name, size, table=table)
        for table in ("t", "u")
        for n in range(30)
        for name, size in (("Data.db", 50 * MIB), ("Index.db", MIB), ("TOC.txt", 90))
    ]
    random.Random(7).shuffle(entries)
    numbers = chosen(Spread([4 << 30, 3 << 30, 2 << 30], 1), entries)
    places: dict[tuple[str, str], set[int]] = {}
    for entry, number in zip(entries, numbers, strict=True):
        places.setdefault((entry.table, entry.name.rpartition("-")[0]), set()).add(number)
    assert {len(numbers) for numbers in places.values()} == {1}
    assert numbers == chosen(Spread([4 << 30, 3 << 30, 2 << 30], 1), entries)


def test_directories_are_filled_by_their_room() -> None:
    entries = [component(n, "Data.db", 20 * MIB) for n in range(100)]
    numbers = chosen(Spread([3 << 30, 1 << 30, 0], 1), entries)
    assert [numbers.count(n) for n in range(3)] == [74, 25, 1]

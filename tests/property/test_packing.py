# SPDX-License-Identifier: Apache-2.0
"""However files are put together, each is there once."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from magnetodb_backup.domain.backup.manifest import Extent, SnapshotFile
from magnetodb_backup.domain.backup.packing import Unit, group, group_again

# A size, and whether the file is one that Cassandra writes for each snapshot anew.
files_lists = st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=60)
pack_sizes = st.integers(1, 200)


def files_of(described: list[tuple[int, bool]]) -> list[SnapshotFile]:
    return [
        SnapshotFile(
            "ks",
            "t",
            "",
            None,
            0,
            "manifest.json" if of_snapshot else str(n),
            f"/{n}",
            1,
            n,
            size,
            1,
        )
        for n, (size, of_snapshot) in enumerate(described)
    ]


def packed(files: list[SnapshotFile], pack_size: int) -> tuple[list[Unit], list[Unit]]:
    """Return the units of files that fit into a pack, and the others."""
    units = list(group(files, pack_size))
    small = [u for u in units if u.files[0].size <= pack_size]
    return small, [u for u in units if u.files[0].size > pack_size]


@given(files_lists, pack_sizes)
def test_every_file_is_there_once_and_in_order(
    described: list[tuple[int, bool]], pack_size: int
) -> None:
    files = files_of(described)
    small, large = packed(files, pack_size)
    assert [f for u in large for f in u.files] == [f for f in files if f.size > pack_size]
    for kind in (False, True):
        found = [f for u in small for f in u.files if f.is_of_snapshot is kind]
        assert found == [f for f in files if f.size <= pack_size and f.is_of_snapshot is kind]


@given(files_lists, pack_sizes)
def test_only_a_file_alone_is_larger_than_a_pack(
    described: list[tuple[int, bool]], pack_size: int
) -> None:
    small, large = packed(files_of(described), pack_size)
    assert all(u.size <= pack_size for u in small)
    assert all(len(u.files) == 1 for u in large)


@given(files_lists, pack_sizes)
def test_no_pack_is_left_half_empty(described: list[tuple[int, bool]], pack_size: int) -> None:
    small, _ = packed(files_of(described), pack_size)
    assert all(unit.files for unit in small)
    for kind in (False, True):
        lane = [u for u in small if u.files[0].is_of_snapshot is kind]
        assert all(one.size + other.files[0].size > pack_size for one, other in pairwise(lane))


@given(files_lists, pack_sizes)
def test_packs_of_sstables_hold_nothing_of_one_snapshot_only(
    described: list[tuple[int, bool]], pack_size: int
) -> None:
    small, _ = packed(files_of(described), pack_size)
    assert all(len({f.is_of_snapshot for f in unit.files}) == 1 for unit in small)


def extents_of(unit: Unit, number: int) -> list[tuple[SnapshotFile, tuple[Extent, ...]]]:
    """Return the unit's files with where they lie in its pack; an empty one has no extent."""
    offsets = accumulate((f.size for f in unit.files), initial=0)
    return [
        (file, (Extent(str(number), offset, file.size),) if file.size else ())
        for file, offset in zip(unit.files, offsets, strict=False)
    ]


@given(files_lists, pack_sizes, st.data())
def test_lost_packs_are_made_again_as_they_were(
    described: list[tuple[int, bool]], pack_size: int, data: st.DataObject
) -> None:
    small, _ = packed(files_of(described), pack_size)
    lost = [u for u in small if data.draw(st.booleans())]
    files = [pair for number, unit in enumerate(lost) for pair in extents_of(unit, number)]
    again = list(group_again(data.draw(st.permutations(files)), pack_size))
    expected = [tuple(f for f in unit.files if f.size) for unit in lost]
    assert {unit.files for unit in again} == {files for files in expected if files}

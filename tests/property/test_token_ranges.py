# SPDX-License-Identifier: Apache-2.0
"""Ranges for figures have every token of the ring exactly once, and each has a reader."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from magnetodb_backup.domain.fingerprints import assign_ranges, covers, split_ring
from magnetodb_backup.domain.partitioners import MURMUR3, RANDOM
from magnetodb_backup.domain.ring import RingMember
from tests.property.manifests import tokens

LOWEST, HIGHEST = MURMUR3.lowest, MURMUR3.highest
_rings = st.lists(tokens, max_size=200, unique=True)
_most = st.integers(2, 100)


@given(_rings, _most)
@example([LOWEST, HIGHEST], 64)
@example([HIGHEST - 1, HIGHEST, LOWEST, LOWEST + 1], 64)
@example([], 2)
def test_each_token_is_in_one_range(ring: list[int], most: int) -> None:
    ranges = split_ring(ring, most)
    assert 1 <= len(ranges) <= most
    assert (ranges[0].start, ranges[-1].end) == (LOWEST, HIGHEST)
    assert all(r.start < r.end for r in ranges)
    assert all(a.end == b.start for a, b in pairwise(ranges))


@given(_rings, _most, st.data())
def test_ranges_cover_a_ring_if_none_is_left_out(
    ring: list[int], most: int, data: st.DataObject
) -> None:
    ranges = split_ring(ring, most)
    assert covers(ranges, MURMUR3)
    assert not covers(ranges, RANDOM)
    left_out = data.draw(st.integers(0, len(ranges) - 1))
    assert not covers(ranges[:left_out] + ranges[left_out + 1 :], MURMUR3)


@given(_rings, _most)
def test_ranges_keep_to_the_rings_own_or_divide_them(ring: list[int], most: int) -> None:
    """With few tokens every range of the ring ends one of ours; with many, every end is a token."""
    ends = {r.end for r in split_ring(ring, most)}
    own = ({*ring} - {LOWEST}) | {HIGHEST}
    assert own <= ends if len(own) <= most else ends <= own


@given(_rings, _most, st.integers(1, 7), st.sets(st.integers(0, 6)))
def test_each_range_is_read_once_by_somebody_who_is_there(
    ring: list[int], most: int, size: int, here: set[int]
) -> None:
    members = [
        RingMember(str(n), f"10.0.0.{n}", "dc", "r", "5.0.9", tuple(ring[n::size]))
        for n in range(size)
    ]
    present = {str(n) for n in here if n < size and members[n].tokens}
    ranges = split_ring(ring, most)
    assigned = assign_ranges(ranges, members, present)
    assert set(assigned) <= present
    assert Counter(r for found in assigned.values() for r in found) == Counter(
        ranges if present else ()
    )

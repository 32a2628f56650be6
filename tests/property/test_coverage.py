# SPDX-License-Identifier: Apache-2.0
"""Coverage against replicas that are placed in the most naive way, range by range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from magnetodb_backup.domain.coverage import KeyspaceCoverage, coverage
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import KeyspaceDescription

_DATA_CENTRES, _RACKS = ("dc1", "dc2"), ("r1", "r2", "r3")
_ORDER = {"complete": 2, "partial": 1, "lost": 0}
factors = st.integers(0, 4)


@st.composite
def rings(draw: st.DrawFn, racks: Sequence[str] = _RACKS) -> list[RingMember]:
    """Return one to seven nodes with one to three tokens each."""
    counts = draw(st.lists(st.integers(1, 3), min_size=1, max_size=7))
    total = sum(counts)
    tokens = draw(st.lists(st.integers(-50, 50), min_size=total, max_size=total, unique=True))
    ring = []
    for number, count in enumerate(counts):
        own, tokens = sorted(tokens[:count]), tokens[count:]
        dc, rack = draw(st.sampled_from(_DATA_CENTRES)), draw(st.sampled_from(racks))
        ring.append(RingMember(f"h{number}", "", dc, rack, "", tuple(own)))
    return ring


@st.composite
def rings_and_present(
    draw: st.DrawFn, racks: Sequence[str] = _RACKS
) -> tuple[list[RingMember], set[str]]:
    """Return a ring, and some of its nodes."""
    ring = draw(rings(racks))
    return ring, draw(st.sets(st.sampled_from([m.host_id for m in ring])))


def replication(strategy: str, **factors: int) -> dict[str, str]:
    name = f"org.apache.cassandra.locator.{strategy}"
    return {"class": name, **{dc: str(count) for dc, count in factors.items()}}


def covered(
    ring: Sequence[RingMember], placed: Mapping[str, str], present: set[str]
) -> KeyspaceCoverage:
    (found,) = coverage(ring, [KeyspaceDescription("ks", placed)], present)
    return found


def naive(ring: Sequence[RingMember], counts: Mapping[str, int], present: set[str]) -> object:
    """Count as it is defined: each range's replicas are the next nodes of each data centre."""
    owner = {token: m for m in ring for token in m.tokens}
    whole = lost = 0
    for begin in owner:
        replicas: set[str] = set()
        for dc, count in counts.items():
            chosen: list[str] = []
            walk = sorted(owner, key=lambda token: (token < begin, token))
            for token in walk:
                node = owner[token]
                if dc in ("any", node.dc) and node.host_id not in chosen and len(chosen) < count:
                    chosen.append(node.host_id)
            replicas.update(chosen)
        replicas = replicas or {m.host_id for m in ring}
        whole += replicas <= present
        lost += replicas.isdisjoint(present)
    return len(owner), whole, lost


def counts_of(found: KeyspaceCoverage) -> object:
    return found.ranges, found.whole, found.lost


@given(rings_and_present(), st.integers(1, 8))
def test_simple_strategy_is_as_the_naive_one(
    case: tuple[list[RingMember], set[str]], factor: int
) -> None:
    ring, present = case
    found = covered(ring, replication("SimpleStrategy", replication_factor=factor), present)
    assert counts_of(found) == naive(ring, {"any": factor}, present)


@given(rings_and_present(racks=["r1"]), factors, factors)
def test_topology_strategy_with_one_rack_is_as_the_naive_one(
    case: tuple[list[RingMember], set[str]], one: int, two: int
) -> None:
    ring, present = case
    found = covered(ring, replication("NetworkTopologyStrategy", dc1=one, dc2=two), present)
    assert counts_of(found) == naive(ring, {"dc1": one, "dc2": two}, present)


@given(rings(), factors, factors)
def test_all_nodes_cover_all_and_none_covers_nothing(
    ring: list[RingMember], one: int, two: int
) -> None:
    placed = replication("NetworkTopologyStrategy", dc1=one, dc2=two)
    everyone = {m.host_id for m in ring}
    found = covered(ring, placed, everyone)
    assert (found.status, found.whole, found.lost) == ("complete", found.ranges, 0)
    found = covered(ring, placed, set())
    assert (found.status, found.whole, found.lost) == ("lost", 0, found.ranges)


@given(rings_and_present(), st.data(), factors, factors)
def test_one_more_node_never_covers_less(
    case: tuple[list[RingMember], set[str]], data: st.DataObject, one: int, two: int
) -> None:
    ring, present = case
    more = present | {data.draw(st.sampled_from([m.host_id for m in ring]))}
    for placed in (
        replication("NetworkTopologyStrategy", dc1=one, dc2=two),
        replication("SimpleStrategy", replication_factor=one + 1),
        replication("EverywhereStrategy"),
    ):
        less, found = covered(ring, placed, present), covered(ring, placed, more)
        assert found.whole >= less.whole
        assert found.lost <= less.lost
        assert _ORDER[found.status] >= _ORDER[less.status]


@given(rings(), st.integers(2, 4))
def test_any_one_rack_may_be_missing_where_there_are_several(
    ring: list[RingMember], factor: int
) -> None:
    ring = [replace(m, dc="dc1") for m in ring]
    racks = {m.rack for m in ring}
    assume(len(racks) > 1)
    for rack in racks:
        present = {m.host_id for m in ring if m.rack != rack}
        found = covered(ring, replication("NetworkTopologyStrategy", dc1=factor), present)
        assert found.status == "partial"


@given(rings_and_present(), factors, factors)
def test_keyspaces_of_one_replication_are_covered_alike(
    case: tuple[list[RingMember], set[str]], one: int, two: int
) -> None:
    ring, present = case
    placed = replication("NetworkTopologyStrategy", dc1=one, dc2=two)
    again = dict(reversed(placed.items()))
    first, second = coverage(
        ring, [KeyspaceDescription("a", placed), KeyspaceDescription("b", again)], present
    )
    assert counts_of(first) == counts_of(second)

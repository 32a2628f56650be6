# SPDX-License-Identifier: Apache-2.0
"""Coverage against replicas that are placed in the most naive way, range by range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from magnetodb_backup.domain.coverage import KeyspaceCoverage, coverage, covering_nodes
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


def naive_in(
    ring: Sequence[RingMember], dc: str, counts: Mapping[str, int], present: set[str]
) -> object:
    """Count as it is defined for one data centre: only the replicas there, range by range."""
    owner = {token: m for m in ring for token in m.tokens}
    whole = lost = 0
    for begin in owner:
        walk = sorted(owner, key=lambda token: (token < begin, token))
        replicas: set[str] = set()
        for where, count in counts.items():
            nodes = dict.fromkeys(owner[t] for t in walk if where in ("any", owner[t].dc))
            replicas.update(m.host_id for m in list(nodes)[:count] if m.dc == dc)
        whole += bool(replicas) and replicas <= present
        lost += replicas.isdisjoint(present)
    return len(owner), whole, lost


def covered_in(
    ring: Sequence[RingMember], dc: str, placed: Mapping[str, str], present: set[str]
) -> KeyspaceCoverage:
    (found,) = coverage(ring, [KeyspaceDescription("ks", placed)], present, [dc])
    return found


@given(rings_and_present(racks=["r1"]), st.sampled_from(_DATA_CENTRES), factors, factors)
def test_one_data_centre_with_topology_strategy_is_as_the_naive_one(
    case: tuple[list[RingMember], set[str]], dc: str, one: int, two: int
) -> None:
    ring, present = case
    found = covered_in(ring, dc, replication("NetworkTopologyStrategy", dc1=one, dc2=two), present)
    assert counts_of(found) == naive_in(ring, dc, {"dc1": one, "dc2": two}, present)


@given(rings_and_present(), st.sampled_from(_DATA_CENTRES), st.integers(1, 8))
def test_one_data_centre_with_simple_strategy_is_as_the_naive_one(
    case: tuple[list[RingMember], set[str]], dc: str, factor: int
) -> None:
    ring, present = case
    placed = replication("SimpleStrategy", replication_factor=factor)
    found = covered_in(ring, dc, placed, present)
    assert counts_of(found) == naive_in(ring, dc, {"any": factor}, present)


@given(rings_and_present(), st.sampled_from(_DATA_CENTRES), factors, factors)
def test_other_data_centres_change_nothing(
    case: tuple[list[RingMember], set[str]], dc: str, one: int, two: int
) -> None:
    """Neither which of their nodes are there, nor that they are in the ring at all."""
    ring, present = case
    placed = replication("NetworkTopologyStrategy", dc1=one, dc2=two)
    found = covered_in(ring, dc, placed, present)
    own = {m.host_id for m in ring if m.dc == dc}
    assert counts_of(covered_in(ring, dc, placed, present & own)) == counts_of(found)
    alone = covered_in([m for m in ring if m.dc == dc], dc, placed, present)
    if alone.ranges:
        assert alone.status == found.status


@given(rings(), st.sampled_from(_DATA_CENTRES), st.integers(1, 4), factors)
def test_all_nodes_of_a_data_centre_with_replicas_are_a_complete_copy(
    ring: list[RingMember], dc: str, factor: int, elsewhere: int
) -> None:
    own = {m.host_id for m in ring if m.dc == dc}
    assume(own)
    placed = replication("NetworkTopologyStrategy", **{dc: factor, "dc9": elsewhere})
    assert covered_in(ring, dc, placed, own).status == "complete"


@given(rings(), st.data(), st.sampled_from(["NetworkTopologyStrategy", "SimpleStrategy"]))
def test_nodes_that_are_chosen_have_a_replica_of_each_range(
    ring: list[RingMember], data: st.DataObject, strategy: str
) -> None:
    """Chosen among one data centre that has a complete copy, or among all nodes."""
    options = {"replication_factor": 2} if strategy == "SimpleStrategy" else {"dc1": 2, "dc2": 1}
    placed = replication(strategy, **options)
    dc = data.draw(st.sampled_from(_DATA_CENTRES))
    own = {m.host_id for m in ring if m.dc == dc}
    among = own if covered_in(ring, dc, placed, own).status == "complete" else {
        m.host_id for m in ring
    }  # fmt: skip
    found = set(covering_nodes(ring, placed, among))
    assert found <= among
    assert covered(ring, placed, found).status != "lost"

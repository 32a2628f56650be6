# SPDX-License-Identifier: Apache-2.0
"""Which ranges a set of nodes holds, as Cassandra's strategies place replicas."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

import pytest

from magnetodb_backup.domain.coverage import (
    KeyspaceCoverage,
    coverage,
    covering_nodes,
    replica_shares,
)
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import KeyspaceDescription

_LOCATOR = "org.apache.cassandra.locator."
# A ring in token order: name, token, rack, data centre. The name serves as host ID.
Place = tuple[str, int, str, str]
THREE: tuple[Place, ...] = (
    ("a", 10, "r1", "dc1"),
    ("b", 20, "r1", "dc1"),
    ("c", 30, "r2", "dc1"),
)
FOUR: tuple[Place, ...] = (
    ("a", 10, "r1", "dc1"),
    ("b", 20, "r1", "dc1"),
    ("c", 30, "r1", "dc1"),
    ("d", 40, "r2", "dc1"),
)
TWO_CENTRES: tuple[Place, ...] = (
    ("a", 10, "r1", "dc1"),
    ("x", 15, "r1", "dc2"),
    ("b", 20, "r1", "dc1"),
    ("y", 25, "r1", "dc2"),
)


def member(name: str, tokens: Sequence[int], rack: str = "r1", dc: str = "dc1") -> RingMember:
    return RingMember(name, f"address of {name}", dc, rack, "5.0.9", tuple(tokens))


def simple(factor: str) -> dict[str, str]:
    return {"class": f"{_LOCATOR}SimpleStrategy", "replication_factor": factor}


def by_topology(**factors: str) -> dict[str, str]:
    return {"class": f"{_LOCATOR}NetworkTopologyStrategy", **factors}


def covered(
    ring: Sequence[Place], replication: Mapping[str, str], present: Collection[str]
) -> tuple[int, int, int, str]:
    """Return ranges, whole ones, lost ones and the status."""
    members = [member(name, [token], rack, dc) for name, token, rack, dc in ring]
    (found,) = coverage(members, [KeyspaceDescription("ks", replication)], present)
    return found.ranges, found.whole, found.lost, found.status


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ("abc", (3, 3, 0, "complete")),
        ("ab", (3, 1, 0, "partial")),  # of (20, 30] only b's copy, of (30, 10] only a's
        ("a", (3, 0, 1, "lost")),  # (10, 20] is on b and c
        ("", (3, 0, 3, "lost")),
    ],
)
def test_simple_strategy_takes_the_next_nodes(present: str, expected: object) -> None:
    assert covered(THREE, simple("2"), present) == expected


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        # Each range has a replica on c, the only node of its rack, and on one of the others.
        ("c", (3, 0, 0, "partial")),
        ("ab", (3, 0, 0, "partial")),
        ("ac", (3, 2, 0, "partial")),
        ("a", (3, 0, 1, "lost")),
    ],
)
def test_topology_strategy_spreads_over_racks(present: str, expected: object) -> None:
    assert covered(THREE, by_topology(dc1="2"), present) == expected


def test_a_rack_is_used_twice_only_as_often_as_racks_are_missing() -> None:
    # Of (40, 10], a and b have a copy, not c: the third one belongs to the other rack.
    assert covered(FOUR, by_topology(dc1="3"), "abd") == (4, 2, 0, "partial")
    assert covered(FOUR, by_topology(dc1="3"), "ac") == (4, 0, 0, "partial")


@pytest.mark.parametrize("replication", [simple("5"), by_topology(dc1="5")])
def test_more_replicas_than_nodes_means_every_node(replication: dict[str, str]) -> None:
    assert covered(THREE, replication, "abc") == (3, 3, 0, "complete")
    assert covered(THREE, replication, "ab") == (3, 0, 0, "partial")


def test_data_centres_count_on_their_own() -> None:
    both = by_topology(dc1="1", dc2="1")
    assert covered(TWO_CENTRES, both, "abxy") == (4, 4, 0, "complete")
    assert covered(TWO_CENTRES, both, "ab") == (4, 0, 0, "partial")
    assert covered(TWO_CENTRES, by_topology(dc1="1"), "ab") == (4, 4, 0, "complete")
    assert covered(TWO_CENTRES, by_topology(dc1="1", dc2="0"), "ab") == (4, 4, 0, "complete")
    assert covered(TWO_CENTRES, by_topology(dc1="1"), "xy") == (4, 0, 4, "lost")


def test_a_transient_replica_does_not_count() -> None:
    assert covered(THREE, simple("3/1"), "ab") == (3, 1, 0, "partial")
    assert covered(THREE, by_topology(dc1="3/1"), "bc") == (3, 1, 0, "partial")
    # With two racks a, b and d are replicas of (40, 10], in this order: d is the transient one.
    assert covered(FOUR, by_topology(dc1="3/1"), "ab") == (4, 1, 1, "lost")
    # Where a node is missing for the third replica, none is transient.
    assert covered(THREE[:2], by_topology(dc1="3/1"), "a") == (2, 0, 0, "partial")


@pytest.mark.parametrize(
    "replication",
    [
        {"class": f"{_LOCATOR}EverywhereStrategy"},
        {"class": "com.example.OwnStrategy", "copies": "1"},
        {},
        by_topology(gone="3"),
        by_topology(dc1="0"),
    ],
    ids=["everywhere", "unknown", "none", "of a data centre that is gone", "zero"],
)
def test_where_replicas_are_not_known_every_node_may_have_data(replication: dict[str, str]) -> None:
    assert covered(THREE, replication, "abc") == (3, 3, 0, "complete")
    assert covered(THREE, replication, "ab") == (3, 0, 0, "partial")
    assert covered(THREE, replication, "") == (3, 0, 3, "lost")


def test_short_class_names_mean_the_same() -> None:
    short = {"class": "SimpleStrategy", "replication_factor": "2"}
    assert covered(THREE, short, "ab") == covered(THREE, simple("2"), "ab")
    short = {"class": "NetworkTopologyStrategy", "dc1": "2"}
    assert covered(THREE, short, "ac") == covered(THREE, by_topology(dc1="2"), "ac")


def test_a_node_with_several_tokens_is_one_replica() -> None:
    ring = [member("a", [10, 20]), member("b", [30])]
    (found,) = coverage(ring, [KeyspaceDescription("ks", simple("2"))], {"a"})
    assert (found.ranges, found.whole, found.lost) == (3, 0, 0)


def test_a_member_without_tokens_is_no_replica() -> None:
    # Were it one, there would be two racks, and no range could have both replicas in the first.
    ring = [member("a", [10]), member("b", [20]), member("c", [], rack="r2")]
    (found,) = coverage(ring, [KeyspaceDescription("ks", by_topology(dc1="2"))], {"a", "b"})
    assert (found.ranges, found.whole, found.lost) == (2, 2, 0)
    (found,) = coverage(ring, [KeyspaceDescription("ks", by_topology(dc1="2"))], {"a"})
    assert (found.ranges, found.whole, found.lost) == (2, 0, 0)


def test_the_order_of_the_ring_does_not_matter_and_that_of_keyspaces_stays() -> None:
    ring = [member(name, [token], rack) for name, token, rack, _ in FOUR]
    keyspaces = [
        KeyspaceDescription("z", simple("1")),
        KeyspaceDescription("a", by_topology(dc1="2")),
        KeyspaceDescription("m", simple("1")),
    ]
    expected = coverage(ring, keyspaces, {"a", "d"})
    assert [c.keyspace for c in expected] == ["z", "a", "m"]
    assert (expected[0].whole, expected[0].lost) == (expected[2].whole, expected[2].lost)
    assert expected[0].status != expected[1].status
    random.Random(1).shuffle(ring)
    assert coverage(ring, keyspaces, ["d", "a"]) == expected


def test_present_nodes_outside_the_ring_cover_nothing() -> None:
    assert covered(THREE, simple("1"), ["stranger"]) == (3, 0, 3, "lost")


@pytest.mark.timeout(20)
def test_a_large_ring_with_many_tokens_is_no_burden() -> None:
    numbers = random.Random(7)
    tokens = numbers.sample(range(1 << 62), 60 * 256)
    ring = [
        member(str(n), sorted(tokens[n * 256 : (n + 1) * 256]), rack=f"r{n % 3}") for n in range(60)
    ]
    (found,) = coverage(ring, [KeyspaceDescription("ks", by_topology(dc1="3"))], {"0", "1", "2"})
    assert found.ranges == 60 * 256
    assert found.status == "lost"


@pytest.mark.parametrize(
    ("counts", "status"),
    [((4, 4, 0), "complete"), ((4, 3, 0), "partial"), ((4, 0, 0), "partial"), ((4, 3, 1), "lost")],
)
def test_status(counts: tuple[int, int, int], status: str) -> None:
    assert KeyspaceCoverage("ks", *counts).status == status


def test_shares_of_replicas_go_by_the_width_of_ranges() -> None:
    """The first range goes around: from the highest token to the lowest one."""
    quarter = 1 << 62
    ring = [member("a", [-quarter]), member("b", [0]), member("c", [quarter])]
    assert replica_shares(ring, simple("1")) == {"a": 0.5, "b": 0.25, "c": 0.25}
    assert replica_shares(ring, simple("2")) == {"a": 0.375, "b": 0.375, "c": 0.25}
    assert replica_shares([], simple("1")) == {}
    assert replica_shares(ring[:1], simple("3")) == {"a": 1.0}


def covered_in(
    data_centers: Collection[str],
    replication: Mapping[str, str],
    present: Collection[str],
    ring: Sequence[Place] = TWO_CENTRES,
) -> tuple[int, int, int, str]:
    """Return the coverage by the replicas of some data centres."""
    members = [member(name, [token], rack, dc) for name, token, rack, dc in ring]
    keyspaces = [KeyspaceDescription("ks", replication)]
    (found,) = coverage(members, keyspaces, present, data_centers)
    return found.ranges, found.whole, found.lost, found.status


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ("ab", (4, 4, 0, "complete")),
        ("a", (4, 2, 2, "lost")),
        ("axy", (4, 2, 2, "lost")),  # what b has is in dc2, too, but that does not count
        ("xy", (4, 0, 4, "lost")),
    ],
)
def test_one_data_centre_is_covered_by_its_own_nodes(present: str, expected: object) -> None:
    assert covered_in(["dc1"], by_topology(dc1="1", dc2="1"), present) == expected


def test_replicas_of_one_data_centre_are_partial_among_themselves() -> None:
    assert covered_in(["dc1"], by_topology(dc1="2", dc2="1"), "a") == (4, 0, 0, "partial")


def test_several_data_centres_are_covered_together() -> None:
    both = ["dc1", "dc2"]
    assert covered_in(both, by_topology(dc1="1"), "abxy") == (4, 4, 0, "complete")
    assert covered_in(both, by_topology(dc1="1", dc2="1"), "ab") == (4, 0, 0, "partial")


@pytest.mark.parametrize(
    ("replication", "lost"),
    [
        (by_topology(dc2="1"), 4),
        (by_topology(dc1="0", dc2="1"), 4),
        (by_topology(gone="3"), 4),
        ({"class": "com.example.OwnStrategy"}, 4),
        ({}, 4),
        (simple("1"), 2),
        (simple("2"), 0),  # by turns the nodes are of both
        ({"class": f"{_LOCATOR}EverywhereStrategy"}, 0),
    ],
)
def test_what_a_data_centre_is_not_known_to_have_is_lost(
    replication: dict[str, str], lost: int
) -> None:
    assert covered_in(["dc1"], replication, "ab") == (
        4, 4 - lost, lost, "lost" if lost else "complete"
    )  # fmt: skip


def chosen(
    replication: Mapping[str, str], among: Collection[str], ring: Sequence[Place] = TWO_CENTRES
) -> tuple[str, ...]:
    members = [member(name, [token], rack, dc) for name, token, rack, dc in ring]
    return covering_nodes(members, replication, among)


def test_few_nodes_that_have_everything_are_chosen_among_some() -> None:
    assert chosen(by_topology(dc1="2", dc2="2"), "abxy") == ("a",)
    assert chosen(by_topology(dc1="1", dc2="1"), "ab") == ("a", "b")
    # Every node of dc1 has the ranges that end at one of dc2. The others have one replica there.
    assert chosen(simple("2"), "ab") == ("a", "b")
    assert chosen(simple("3"), "ab") == ("a", "b")
    assert chosen({"class": "EverywhereStrategy"}, "ab") == ("a",)


@pytest.mark.parametrize("replication", [{"class": "com.example.OwnStrategy"}, by_topology(x="1")])
def test_all_nodes_are_chosen_where_replicas_are_not_known(replication: dict[str, str]) -> None:
    assert chosen(replication, "bax") == ("a", "b", "x")

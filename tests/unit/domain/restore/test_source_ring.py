# SPDX-License-Identifier: Apache-2.0
"""The ring of a backup of one data centre, compared with rings to restore into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from magnetodb_backup.domain.backup.manifest import MissingNode, NodeShare, StoredObject
from magnetodb_backup.domain.restore.offline import choose_places
from magnetodb_backup.domain.restore.routing import Method, Routing, choose_routing
from magnetodb_backup.domain.restore.source_ring import SourceRing, has_replicas_outside
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import KeyspaceDescription
from magnetodb_backup.errors import NotFound
from tests.unit.worker.fake_node import SIMPLE, member

RING = [member(1), member(2), member(3, dc="dc2"), member(4, dc="dc2")]
DC1 = RING[:2]
BOTH = {"class": "NetworkTopologyStrategy", "dc1": "1", "dc2": "1"}
ONLY = {"class": "NetworkTopologyStrategy", "dc1": "1"}
AT_LEAST = {**SIMPLE, "replication_factor": "4"}


def share(m: RingMember) -> NodeShare:
    stored = StoredObject("n", 1, "0" * 64)
    return NodeShare(
        m.host_id, m.address, m.dc, m.rack, m.version, m.tokens, stored, 1, 1, 0, "", ""
    )


def place(m: RingMember) -> MissingNode:
    return MissingNode(m.host_id, m.dc, m.rack, m.tokens)


SOURCE = SourceRing(
    [share(m) for m in DC1], data_centers=("dc1",), others=[place(m) for m in RING[2:]]
)


def routed(
    ring: Sequence[RingMember],
    before: Mapping[str, str] = BOTH,
    now: Mapping[str, str] | None = None,
    source: SourceRing = SOURCE,
    *,
    only: RingMember | None = None,
    one_replica: bool = False,
) -> Routing:
    return choose_routing(
        source,
        ring,
        [KeyspaceDescription("ks", before)],
        {} if now is None else {"ks": now},
        only=only,
        one_replica=one_replica,
    )


def imported(found: Routing) -> None:
    assert found.methods == {"ks": Method.IMPORT}
    assert {(a.source, a.target) for a in found.assignments} == {(m.host_id,) * 2 for m in DC1}
    assert found.incomplete == ()


def test_same_ring_is_imported_into_and_repaired() -> None:
    """Nodes of the other data centre get no files; the repair brings their rows."""
    found = routed(RING)
    imported(found)
    assert found.by_repair == ("ks",)


def test_ring_of_that_data_centre_only() -> None:
    """The keyspace was made there with other options, which change nothing in dc1."""
    found = routed(DC1, now=ONLY)
    imported(found)
    assert found.by_repair == ()


@pytest.mark.parametrize(
    "ring",
    [[*DC1, replace(RING[2], tokens=(7,))], [*RING, member(5, dc="dc3")], [*DC1, RING[2]]],
    ids=["other tokens", "another data centre", "one node fewer"],
)
def test_other_data_centres_may_have_changed(ring: list[RingMember]) -> None:
    found = routed(ring)
    imported(found)
    assert found.by_repair == ("ks",)


def test_factor_of_another_data_centre_may_have_changed() -> None:
    imported(routed(RING, now={**BOTH, "dc2": "2"}))
    found = routed(RING, now={**ONLY, "dc2": "0"})
    imported(found)
    assert found.by_repair == ()


@pytest.mark.parametrize(
    ("ring", "now"),
    [
        (RING, {**BOTH, "dc1": "2"}),
        ([*RING, member(5)], BOTH),
        ([RING[0], *RING[2:]], BOTH),
        ([replace(RING[0], rack="r9"), *RING[1:]], BOTH),
        ([replace(m, dc="eu") for m in DC1], {"class": "NetworkTopologyStrategy", "eu": "1"}),
        (RING, AT_LEAST),
    ],
    ids=["factor", "new node", "node away", "rack", "other name", "strategy"],
)
def test_other_owners_in_that_data_centre_are_streamed_to(
    ring: list[RingMember], now: dict[str, str]
) -> None:
    found = routed(ring, now=now)
    assert found.methods == {"ks": Method.STREAM}
    assert {a.source for a in found.assignments} == {m.host_id for m in DC1}
    assert (found.by_repair, len(found.notes)) == ((), 1)


def test_simple_strategy_needs_the_whole_ring() -> None:
    """Its replicas depend on the nodes of all data centres."""
    found = routed(RING, AT_LEAST)
    imported(found)
    assert found.by_repair == ("ks",)
    assert routed(DC1, AT_LEAST).methods == {"ks": Method.STREAM}


def test_backup_of_all_nodes_is_as_it_was() -> None:
    source = SourceRing([share(m) for m in RING])
    assert routed(RING, source=source).by_repair == ()
    assert routed(RING, now={**BOTH, "dc2": "2"}, source=source).methods == {"ks": Method.STREAM}
    assert routed(DC1, now=ONLY, source=source).methods == {"ks": Method.STREAM}


def test_partial_backup_of_a_data_centre() -> None:
    source = replace(SOURCE, nodes=[share(RING[0])], missing=[place(RING[1])])
    found = routed(RING, source=source)
    assert found.methods == {"ks": Method.IMPORT}
    assert (found.incomplete, found.by_repair) == (("ks",), ("ks",))


def test_one_replica_is_chosen_by_the_ring_of_the_backup() -> None:
    """SimpleStrategy had placed replicas in dc2, too: one node of dc1 has not everything."""
    two = {**SIMPLE, "replication_factor": "2"}
    nodes = [member(1), member(2, dc="dc2"), member(3), member(4, dc="dc2")]
    own, others = [nodes[0], nodes[2]], [nodes[1], nodes[3]]
    source = SourceRing(
        [share(m) for m in own], data_centers=("dc1",), others=[place(m) for m in others]
    )
    found = routed([member(9)], two, source=source, one_replica=True)
    assert {a.source for a in found.assignments} == {m.host_id for m in own}


def test_single_node() -> None:
    found = routed(RING, only=RING[1])
    assert [(a.source, a.target) for a in found.assignments] == [(RING[1].host_id,) * 2]
    with pytest.raises(NotFound) as failure:
        routed(RING, only=RING[2])
    assert "run nodetool rebuild dc1 on the node" in str(failure.value)
    with pytest.raises(NotFound) as failure:
        routed([*RING, member(5)], only=member(5))
    assert "rebuild" not in str(failure.value)


def test_replicas_outside() -> None:
    assert has_replicas_outside(RING, BOTH, ["dc1"])
    assert not has_replicas_outside(RING, ONLY, ["dc1"])
    assert not has_replicas_outside(DC1, BOTH, ["dc1"])
    assert has_replicas_outside(RING, SIMPLE, ["dc1"])
    assert not has_replicas_outside(RING, BOTH, ["dc1", "dc2"])


# Offline.


def placed(
    ring: Sequence[RingMember],
    *,
    names: Sequence[str] = ("ks",),
    before: Mapping[str, str] = BOTH,
    only: RingMember | None = None,
) -> tuple[Routing, list[str]]:
    keyspaces = [KeyspaceDescription(name, before) for name in names]
    return choose_places(SOURCE, ring, keyspaces, {}, only)


def test_files_are_placed_in_that_data_centre() -> None:
    for ring, by_repair in ((RING, ("ks",)), (DC1, ()), ([*RING, member(5, dc="dc3")], ("ks",))):
        found, problems = placed(ring)
        assert problems == []
        assert {a.target for a in found.assignments} == {m.host_id for m in DC1}
        assert (found.incomplete, found.by_repair) == ((), by_repair)


def test_offline_restore_of_another_data_centre_is_refused() -> None:
    _, (problem,) = placed([*RING[2:], replace(RING[0], tokens=(7,)), RING[1]])
    assert "no node has the tokens, data centre and rack of 127.0.0.1;" in problem
    assert "127.0.0.3" not in problem
    _, (problem,) = placed(DC1, before=AT_LEAST)
    assert "depend on the nodes of all data centres" in problem
    _, (problem,) = placed(RING, only=RING[2])
    assert "nodetool rebuild dc1" in problem


def test_roles_are_not_taken_from_nodes_without_a_copy() -> None:
    _, (problem,) = placed(RING, names=("ks", "system_auth"))
    assert "Restore without --system-auth" in problem
    assert placed(DC1, names=("ks", "system_auth"))[1] == []
    assert placed(RING, names=("ks", "system_auth"), only=RING[0])[1] == []

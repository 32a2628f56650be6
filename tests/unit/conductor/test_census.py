# SPDX-License-Identifier: Apache-2.0
"""The ring and the workers, matched by host ID."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from magnetodb_backup.conductor.census import (
    backup_remedies,
    require_all,
    require_in_ring,
    take_census,
)
from magnetodb_backup.domain.backup.records import Node
from magnetodb_backup.domain.ring import NodeReport, RingMember
from magnetodb_backup.errors import DuplicateWorker, MissingWorker, RingDiffers
from tests.unit.worker.fake_node import member

SEEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def _node(of: RingMember | None, worker: str, *, live: bool = True, **report: Any) -> Node:
    values = {
        "worker_id": worker,
        "cluster": "c",
        "hostname": f"machine of {worker}",
        "member": of,
        "directories": (),
        "node_control": "nodetool",
        **report,
    }
    return Node(NodeReport(**values), SEEN, SEEN, live)


def test_every_member_has_its_worker() -> None:
    ring = [member(3), member(1), member(2)]
    census = take_census(ring, [_node(member(n), f"w{n}") for n in (2, 3, 1)])
    assert census.present == ((member(1), "w1"), (member(2), "w2"), (member(3), "w3"))
    assert census.missing == ()
    require_all(census)


def test_host_id_counts_not_the_address() -> None:
    """A node that moved to another address is the same node."""
    moved = member(1, address="10.9.9.9")
    census = take_census([moved], [_node(member(1), "w1")])
    assert census.present == ((moved, "w1"),)


@pytest.mark.parametrize(
    "report", [{"mode": "LEFT"}, {"mode": "BOOT"}, {"problem": "Cassandra does not answer"}]
)
def test_worker_of_a_node_that_is_no_member_is_ignored(report: dict[str, Any]) -> None:
    census = take_census([member(1)], [_node(member(1), "w1"), _node(member(9), "w9", **report)])
    assert [w for _, w in census.present] == ["w1"]
    require_in_ring(census, "127.0.0.1")


@pytest.mark.parametrize("mode", ["NORMAL", ""])
def test_normal_node_that_the_ring_lacks_is_named(mode: str) -> None:
    """The ring is the view of one node, which may not know another one."""
    census = take_census([member(1)], [_node(member(1), "w1"), _node(member(9), "w9", mode=mode)])
    with pytest.raises(RingDiffers) as failure:
        require_in_ring(census, "127.0.0.1")
    assert "the ring that node 127.0.0.1 sees lacks" in str(failure.value)
    assert f"127.0.0.9 (host ID {member(9).host_id})" in str(failure.value)


def test_node_that_does_not_join_the_ring_is_not_missed() -> None:
    """With join_ring=false a node serves clients without tokens; before 4.1 it shows no mode."""
    proxy = member(9, tokens=())
    census = take_census([member(1)], [_node(member(1), "w1"), _node(proxy, "w9")])
    assert census.outside == ()


def test_remnant_of_a_removed_node_is_told_from_a_missing_worker() -> None:
    """Its row in system.peers_v2 has to go; there is no node to start a worker on."""
    census = take_census([member(1), member(9)], [_node(member(1), "w1")])
    with pytest.raises(MissingWorker) as failure:
        require_all(census)
    assert "If nodetool status does not list 127.0.0.9" in str(failure.value)
    assert "nodetool assassinate" in str(failure.value)


def test_worker_that_has_not_seen_its_node_is_nobodys() -> None:
    census = take_census([member(1)], [_node(None, "w1")])
    assert census.missing == ((member(1), "no worker has ever reported it"),)


def test_silent_worker_is_missing() -> None:
    census = take_census([member(1)], [_node(member(1), "w1", live=False)])
    assert census.missing == ((member(1), "its worker last reported at 2026-01-02 03:04:05 UTC"),)


def test_problem_makes_it_missing() -> None:
    census = take_census([member(1)], [_node(member(1), "w1", problem="the disk is full")])
    assert census.missing == ((member(1), "the disk is full"),)


def test_silent_predecessor_is_no_second_worker() -> None:
    nodes = [_node(member(1), "old", live=False), _node(member(1), "new")]
    assert take_census([member(1)], nodes).present == ((member(1), "new"),)


def test_two_live_workers() -> None:
    with pytest.raises(DuplicateWorker) as failure:
        take_census([member(1)], [_node(member(1), "a"), _node(member(1), "b")])
    told = str(failure.value)
    assert f"node 127.0.0.1 (host ID {member(1).host_id}) has 2 live workers" in told
    assert "a on machine of a and b on machine of b; stop all but one" in told


def test_all_missing_members_are_named() -> None:
    ring = [member(n) for n in (1, 2, 3)]
    census = take_census(ring, [_node(member(2), "w2"), _node(member(3), "w3", live=False)])
    with pytest.raises(MissingWorker) as failure:
        require_all(census, ", or do something else")
    told = str(failure.value)
    assert f"127.0.0.1 (host ID {member(1).host_id}, dc1): no worker has ever reported it" in told
    assert f"127.0.0.3 (host ID {member(3).host_id}, dc1): its worker last reported at" in told
    assert "127.0.0.2" not in told
    assert "Start magnetodb-backup-worker and Cassandra there, or do something else. If" in told


DCS = [member(1, dc="b"), member(2, dc="a"), member(3, dc="c")]


def test_members_of_some_data_centres() -> None:
    """A node that works, but is not in the ring, is named wherever it is."""
    nodes = [_node(DCS[0], "w1"), _node(member(9, dc="a"), "w9")]
    nodes += [_node(DCS[2], "w3"), _node(DCS[2], "again")]
    census = take_census(DCS, nodes, ["b", "a"])
    assert census.present == ((DCS[0], "w1"),)
    assert [m for m, _ in census.missing] == [DCS[1]]
    assert [m.host_id for m in census.outside] == [member(9).host_id]


@pytest.mark.parametrize(
    ("live", "remedies"),
    [
        ((1, 2), ", or back up only data centres a and b, by --dc a --dc b"),
        ((2,), ", or back up only data centre a, by --dc a"),
        ((), ""),
    ],
)
def test_what_a_backup_without_the_missing_nodes_may_ask_for(
    live: tuple[int, ...], remedies: str
) -> None:
    census = take_census(DCS, [_node(DCS[n - 1], f"w{n}") for n in live])
    assert backup_remedies(census) == f", or ask for --allow-partial{remedies}"


def test_data_centre_with_a_missing_node_is_no_remedy() -> None:
    ring = [*DCS, member(4, dc="a")]
    census = take_census(ring, [_node(ring[n - 1], f"w{n}") for n in (1, 2)])
    assert backup_remedies(census).endswith(", or back up only data centre b, by --dc b")

# SPDX-License-Identifier: Apache-2.0
"""Restores into a ring of more nodes, and of one replaced node, by nothing but the store.

Nightly, for the ring of four: test_restore_fewer_nodes streams into another ring for each commit,
test_runbook restores one node that lost its files.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.rings import (
    Source,
    compare_everywhere,
    is_restored,
    make_source,
    other_ring,
    planned,
    rebuild,
    restored,
    sent,
)
from tests.functional.runbook import follow
from tests.lab.cassandra import CassandraNode
from tests.lab.cassandra_flags import Shape
from tests.lab.keystone import Keystone
from tests.lab.ports import LoopbackBlock
from tests.lab.processes import wait_for
from tests.lab.rig import Rig

pytestmark = [pytest.mark.timeout(1800), pytest.mark.nightly]


@pytest.fixture(scope="module")
def source(rig: Rig) -> Source:
    return make_source(rig, "more")


@pytest.fixture(scope="module")
def four(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory, loopback: LoopbackBlock, keystone: Keystone
) -> Iterator[Rig]:
    """Four nodes: other tokens, three other racks, another name."""
    with other_ring(
        tmp_path_factory.mktemp("four"),
        Shape(4, name="Ring of four", first_host=150, racks=("north", "south", "west")),
        rig=rig,
        block=loopback,
        keystone=keystone,
    ) as ring:
        yield ring


def test_three_nodes_to_four_by_one_copy_of_each_range(source: Source, four: Rig) -> None:
    rebuild(four, source.id)
    everything = planned(four, source.id)
    # The ring has another name, which the section says to give.
    backup = f"{source.id} --cluster '{four.cluster.name}'"
    record = is_restored(four, follow("recover-other-ring", four, BACKUP=backup))
    plan = record["plan"]
    assert plan["method_by_keyspace"] == {"more": "stream"}
    # One of the three nodes has a copy of everything: it is alone in its rack.
    assert 0 < plan["bytes"] < 0.6 * everything["bytes"]
    assert plan["bytes_sent"] == 2 * plan["bytes"] < everything["bytes_sent"]
    assert 0 < sent(record) < everything["bytes_sent"]
    compare_everywhere(four, source)


def _sstables(node: CassandraNode, keyspace: str) -> set[str]:
    return {
        f"{path.parent.name}/{path.name}"
        for directory in node.data_directories
        for path in directory.glob(f"{keyspace}/*/*-Data.db")
    }


def _workers_of(ring: Rig, address: str) -> int:
    return sum(node["address"] == address for node in ring.deployment.live_nodes())


def test_one_node_replaced(four: Rig) -> None:
    """Its disks are lost; it comes back empty, with a worker that knows nothing."""
    share = make_source(four, "share")
    cluster, deployment, number = four.cluster, four.deployment, 1
    lost = cluster.nodes[number]
    others = [node for node in cluster.nodes if node is not lost]
    before = {node.address: _sstables(node, "share") for node in others}
    deployment.workers[number].stop()
    lost.kill()
    lost.replace()
    lost.wait_up()
    cluster.wait_whole()
    deployment.workers[number] = deployment.worker(number, "-new")
    deployment.workers[number].start()
    wait_for(
        lambda: deployment.live_nodes() and _workers_of(four, lost.address) == 1,
        deadline=120,
        what="the new worker alone",
        interval=1,
    )
    assert _sstables(lost, "share") == set()
    record = restored(four, share.id, "--node", lost.address)
    files = {node["address"]: node["files_done"] for node in record["nodes"]}
    assert files.pop(lost.address) > 0
    assert set(files.values()) == {0}
    assert {node.address: _sstables(node, "share") for node in others} == before
    assert _sstables(lost, "share")
    compare_everywhere(four, share)

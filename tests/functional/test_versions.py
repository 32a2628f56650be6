# SPDX-License-Identifier: Apache-2.0
"""The same on Cassandra 4.0 and 4.1, and with the trie format and UUID generations of 5.0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.comparing import compare
from tests.functional.depot import Depot, all_rows
from tests.functional.sample import make_sample
from tests.lab.artifacts import CASSANDRA_4_0, CASSANDRA_4_1, CASSANDRA_5_0
from tests.lab.cassandra import CassandraCluster
from tests.lab.cassandra_flags import Shape
from tests.lab.deployment import Deployment
from tests.lab.fault_proxy import FaultProxy
from tests.lab.keystone import Keystone
from tests.lab.ports import LoopbackBlock
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.reader import Reader
from tests.lab.rig import PREFIX, Rig, demo_store, keystone_options
from tests.lab.sampling import sampled
from tests.lab.swift import Swift

_TRIE = {
    "storage_compatibility_mode": "NONE",
    "uuid_sstable_identifiers_enabled": True,
    "sstable": {"selected_format": "bti"},
}
_CLUSTERS: dict[str, tuple[str, int, dict[str, Any], str]] = {
    "4.0": (CASSANDRA_4_0, 3, {}, "-big-Data.db"),
    "4.1": (CASSANDRA_4_1, 3, {}, "-big-Data.db"),
    "5.0 with tries and UUIDs": (CASSANDRA_5_0, 1, _TRIE, "-bti-Data.db"),
}


# For each commit 4.1 is met by contract/test_node_control_restore.
@pytest.fixture(scope="module", params=sampled(_CLUSTERS, each_commit=["5.0 with tries and UUIDs"]))
def other(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
    keystone: Keystone,
    swift: Swift,
    faulty_swift: FaultProxy,
    rabbitmq: RabbitMQ,
) -> Iterator[tuple[Rig, str]]:
    version, nodes, yaml, data_file = _CLUSTERS[request.param]
    directory = tmp_path_factory.mktemp("other")
    cluster = CassandraCluster(
        directory / "cassandra",
        Shape(nodes, version, name=f"Cluster {request.param}", first_host=100),
        block=loopback,
        yaml_extra=yaml,
    )
    deployment = Deployment(
        directory / "service",
        {
            "DEFAULT": {"transport_url": rabbitmq.add_virtual_host(f"versions-{version}")},
            "storage": {"driver": "swift", "prefix": PREFIX},
            "swift": keystone_options(keystone),
        },
        cluster.nodes,
        nodetool=True,
    )
    try:
        cluster.start()
        deployment.start()
        reader = Reader(demo_store(keystone, swift), PREFIX, cluster.name)
        rig = Rig(cluster, deployment, reader, faulty_swift, swift, rabbitmq)
        make_sample(rig)
        yield rig, data_file
    finally:
        deployment.stop()
        cluster.stop()


def test_every_byte_is_stored(other: tuple[Rig, str]) -> None:
    rig, data_file = other
    backup = rig.created("--keyspace", "shop", "--keyspace", '"CamelCase"', "--keyspace", "hollow")
    tables = [
        "CamelCase.MixedCase", "shop.again", "shop.orders", "shop.Orders", "shop.people",
        "shop.people_by_name", "shop.untouched", "shop.visits",
    ]  # fmt: skip
    stored = compare(rig, backup, tables)
    assert any(name.endswith(data_file) for _, _, name in stored)
    assert len({host_id for host_id, _, _ in stored}) == len(rig.cluster.nodes)
    assert {number for _, number, _ in stored} == {0, 1}
    verified = rig.deployment.manage("backup", "verify", backup["id"], "--read-data")
    assert verified.code == 0, verified.err


def test_keyspaces_come_back(other: tuple[Rig, str]) -> None:
    rig, data_file = other
    depot = Depot("depot", sai=rig.cluster.version.startswith("5"))
    depot.make(rig, "{'class': 'NetworkTopologyStrategy', 'dc1': 1}")
    shop = [f"shop.{name}" for name in ("orders", '"Orders"', "people", "people_by_name", "visits")]

    level = "ALL" if len(rig.cluster.nodes) > 1 else "ONE"  # shop wants two replicas

    def rows() -> list[Any]:
        others = [all_rows(rig.cluster, name, 0, level) for name in shop]
        return [depot.rows(rig.cluster), *others]

    before, found = rows(), depot.found_by_index(rig.cluster)
    backup = rig.created("--keyspace", "shop", "--keyspace", "depot", "--keyspace", "hollow")
    rig.execute("DROP KEYSPACE shop", "DROP KEYSPACE hollow", "TRUNCATE depot.parts")
    depot.write(rig, range(100), mark=" newer")
    outcome = rig.deployment.manage(
        "restore", "create", backup["id"], "--existing", "replace", "--wait", "--timeout", "280"
    )
    assert outcome.code == 0, outcome.err
    assert rows() == before
    assert depot.found_by_index(rig.cluster) == found
    rig.execute("CREATE TABLE hollow.t (id int PRIMARY KEY)")  # the empty keyspace is back
    files = [p for d in rig.cluster.nodes[0].data_directories for p in d.glob("depot/*/*-Data.db")]
    assert files
    assert all(path.name.endswith(data_file) for path in files)

# SPDX-License-Identifier: Apache-2.0
"""A backup of one data centre of two, and what a restore makes of it (case 22)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.depot import Depot
from tests.functional.rings import Source, compare_everywhere, is_restored, restored, sent
from tests.functional.sample import STILL
from tests.lab.cassandra import CassandraCluster
from tests.lab.cassandra_flags import Shape
from tests.lab.deployment import Deployment
from tests.lab.fault_proxy import FaultProxy
from tests.lab.keystone import Keystone
from tests.lab.ports import LoopbackBlock
from tests.lab.processes import wait_for
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.reader import Reader
from tests.lab.rig import PREFIX, Rig, demo_store, keystone_options
from tests.lab.swift import Swift

_TWO = Shape(2, name="Two data centres", first_host=170, data_centers=("dc1", "dc2"))
_ELSEWHERE = Shape(1, name="Elsewhere", first_host=175, data_centers=("eu",))
_BOTH = "{'class': 'NetworkTopologyStrategy', 'dc1': 1, 'dc2': 1}"


def _rig(
    directory: Path,
    shape: Shape,
    block: LoopbackBlock,
    keystone: Keystone,
    swift: Swift,
    proxy: FaultProxy,
    rabbitmq: RabbitMQ,
) -> Rig:
    cluster = CassandraCluster(directory / "cassandra", shape, block=block)
    deployment = Deployment(
        directory / "service",
        {
            "DEFAULT": {"transport_url": rabbitmq.add_virtual_host(f"ring-{shape.first_host}")},
            "storage": {"driver": "swift", "prefix": PREFIX},
            "swift": keystone_options(keystone),
        },
        cluster.nodes,
    )
    reader = Reader(demo_store(keystone, swift), PREFIX, cluster.name)
    return Rig(cluster, deployment, reader, proxy, swift, rabbitmq)


@pytest.fixture(scope="module")
def two(
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
    keystone: Keystone,
    swift: Swift,
    faulty_swift: FaultProxy,
    rabbitmq: RabbitMQ,
) -> Iterator[Rig]:
    """A node in each of two data centres; the worker of dc2 is not started."""
    directory = tmp_path_factory.mktemp("two")
    made = _rig(directory, _TWO, loopback, keystone, swift, faulty_swift, rabbitmq)
    try:
        made.cluster.start()
        made.deployment.start(workers=1)
        yield made
    finally:
        made.deployment.stop()
        made.cluster.stop()


@pytest.fixture(scope="module")
def source(two: Rig) -> Source:
    """Tables of every kind with a replica in both, beside one that is in dc2 only."""
    depot = Depot("everywhere")
    depot.make(two, _BOTH)
    two.execute(
        "CREATE KEYSPACE far WITH replication = {'class': 'NetworkTopologyStrategy', 'dc2': 1}",
        f"CREATE TABLE far.t (id int PRIMARY KEY) {STILL}",
    )
    rows, indexed = dict(depot.rows(two.cluster)), depot.found_by_index(two.cluster)
    record = two.created("--all-keyspaces", "--dc", "dc1", "--fingerprints")
    return Source(depot, str(record["id"]), rows, indexed)


@pytest.fixture
def alone(two: Rig) -> Rig:
    """Only the node in dc1 has a worker, and the other one never had one."""
    deployment = two.deployment
    deployment.workers[1].stop()
    for node in deployment.reported_nodes():
        if node["dc"] == "dc2":
            deployment.database.nodes.forget(node["worker_id"])
    return two


@pytest.fixture
def both(two: Rig) -> Rig:
    two.deployment.start()
    return two


def _same_everywhere(ring: Rig, source: Source) -> None:
    """Compare all rows in both data centres, views too: those of dc2 arrive by and by."""
    depot, cluster = source.depot, ring.cluster
    wait_for(
        lambda: depot.rows(cluster, 1, consistency="LOCAL_ONE") == source.rows,
        deadline=60,
        what="all rows in dc2",
        interval=0.5,
    )
    assert depot.rows(cluster, 0, consistency="LOCAL_ONE") == source.rows
    compare_everywhere(ring, source)


def test_backup_of_the_data_centre_with_workers_is_complete(alone: Rig, source: Source) -> None:
    deployment = alone.deployment
    record = deployment.manage("backup", "show", source.id).json
    assert (record["status"], record["data_centers"]) == ("CREATED", ["dc1"])
    assert [node["dc"] for node in record["nodes"]] == ["dc1"]
    coverage = {keyspace: found["status"] for keyspace, found in record["coverage"].items()}
    # Cassandra gives system_auth one replica, wherever it may be.
    assert coverage == {
        "everywhere": "complete",
        "system_distributed": "complete",
        "far": "excluded",
        "system_auth": "excluded",
    }
    (note,) = record["notes"]
    assert note.startswith("without the keyspaces far, system_auth, of which data centre dc1 has")
    listed = {each["id"]: each for each in deployment.manage("backup", "list").json}
    assert listed[source.id]["data_centers"] == ["dc1"]
    assert deployment.manage("backup", "verify", source.id, "--read-data").code == 0
    rebuilt = deployment.manage("catalogue", "rebuild", "--cluster", alone.cluster.name)
    assert (rebuilt.code, {row["result"] for row in rebuilt.json}) == (0, {"known"})


def test_worker_that_is_missing_is_named_with_the_remedy(alone: Rig, source: Source) -> None:
    error = alone.failed("--keyspace", "everywhere")
    assert (
        f"{alone.cluster.nodes[1].address} (host ID {alone.cluster.nodes[1].host_id}, dc2)" in error
    )
    assert "or back up only data centre dc1, by --dc dc1" in error
    error = alone.failed("--keyspace", "far", "--dc", "dc1")
    assert "data centre dc1 has no complete copy of the keyspaces far (no replica there)" in error
    unknown = alone.deployment.backup("--keyspace", "everywhere", "--dc", "dc9")
    assert unknown.code == 4
    assert "in data centre dc9; known: dc1" in unknown.err


def test_rows_are_back_in_both_data_centres_by_workers_of_one(alone: Rig, source: Source) -> None:
    alone.execute(*(f"TRUNCATE {table}" for table in source.depot.tables))
    record = restored(alone, source.id, "--check")
    plan = record["plan"]
    assert plan["method_by_keyspace"] == {"everywhere": "import"}
    assert any("is of data centre dc1 only" in warning for warning in plan["warnings"])
    assert any("no usable worker on" in warning for warning in plan["warnings"])
    assert all(not check["different"] for check in record["checks"].values())
    assert [node["dc"] for node in record["nodes"]] == ["dc1"]
    _same_everywhere(alone, source)


@pytest.mark.nightly
def test_each_range_is_repaired_once_where_all_nodes_have_workers(
    both: Rig, source: Source
) -> None:
    """For each commit test_restore_fewer_nodes looks at the repair of primary ranges."""
    both.execute(
        *(f"TRUNCATE {table}" for table in source.depot.tables),
        "TRUNCATE system_distributed.parent_repair_history",
    )
    restored(both, source.id)
    with both.cluster.session() as session:
        rows = session.execute("SELECT * FROM system_distributed.parent_repair_history")
        repairs = [r.options for r in rows if r.keyspace_name == "everywhere"]
    options = [(each["primaryRange"], each["incremental"]) for each in repairs]
    assert options == [("true", "false")] * 2
    _same_everywhere(both, source)


@pytest.mark.nightly
def test_restore_into_a_data_centre_of_another_name(
    both: Rig,
    source: Source,
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
    keystone: Keystone,
) -> None:
    """Its keyspace cannot be created as it was; then its rows are streamed (case 21)."""
    directory = tmp_path_factory.mktemp("eu")
    ring = _rig(directory, _ELSEWHERE, loopback, keystone, both.swift, both.proxy, both.rabbitmq)
    try:
        ring.cluster.start()
        ring.deployment.start()
        ring.deployment.manage("catalogue", "rebuild")
        name = ring.cluster.name
        refused = ring.deployment.restore("--cluster", name, source.id)
        assert refused.code == 1
        error = refused.json["error"]
        assert "replicated to the data centres dc1, dc2, which the target does not have" in error
        _, _, statement = error.partition("for example ")
        assert statement.endswith("{'class': 'NetworkTopologyStrategy', 'eu': '1'}")
        ring.execute(statement)
        record = is_restored(ring, ring.deployment.restore("--cluster", name, source.id).json)
        assert record["plan"]["method_by_keyspace"] == {"everywhere": "stream"}
        assert sent(record) > 0
        compare_everywhere(ring, source)
    finally:
        ring.deployment.stop()
        ring.cluster.stop()

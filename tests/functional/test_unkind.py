# SPDX-License-Identifier: Apache-2.0
"""A cluster as the field has them: the old partitioner, other addresses for clients, guardrails.

The service logs in with a role that has only the documented grants, and has no sstableloader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from cassandra.cluster import NoHostAvailable

from tests.functional.depot import Rows, all_rows
from tests.lab.cassandra import CassandraCluster
from tests.lab.cassandra_flags import Shape
from tests.lab.deployment import Deployment
from tests.lab.documents import DOCUMENTS, block_lines
from tests.lab.fault_proxy import FaultProxy
from tests.lab.keystone import Keystone
from tests.lab.ports import LoopbackBlock
from tests.lab.processes import wait_for
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.reader import Reader
from tests.lab.rig import PREFIX, Rig, demo_store, keystone_options
from tests.lab.swift import Swift

_SHAPE = Shape(1, name="unkind cluster", first_host=140, unkind=True)
_OWNER = ("cassandra", "cassandra")
_ROLE, _PASSWORD = "backup", "SECRET"
_TABLES = ("field.parts", "field.readings")
_ROWS = 3000  # more than a page


@pytest.fixture(scope="module")
def unkind(
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
    keystone: Keystone,
    swift: Swift,
    faulty_swift: FaultProxy,
    rabbitmq: RabbitMQ,
) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("unkind")
    cluster = CassandraCluster(directory / "cassandra", _SHAPE, block=loopback, credentials=_OWNER)
    deployment = Deployment(
        directory / "service",
        {
            "DEFAULT": {"transport_url": rabbitmq.add_virtual_host("unkind")},
            "storage": {"driver": "swift", "prefix": PREFIX},
            "swift": keystone_options(keystone),
            "cassandra": {"username": _ROLE, "password": _PASSWORD},
        },
        cluster.nodes,
        with_loader=False,
    )
    reader = Reader(demo_store(keystone, swift), PREFIX, cluster.name)
    made = Rig(cluster, deployment, reader, faulty_swift, swift, rabbitmq)
    try:
        cluster.start()
        wait_for(lambda: _may_log_in(cluster), deadline=60, what="the first role", interval=0.5)
        made.execute(*_statements("cassandra-access"), *_statements("restore-access"))
        deployment.start()
        yield made
    finally:
        deployment.stop()
        cluster.stop()


def _may_log_in(cluster: CassandraCluster) -> bool:
    try:
        with cluster.session():
            return True
    except NoHostAvailable:
        return False


def _statements(section: str) -> list[str]:
    text = (DOCUMENTS / "install" / "index.rst").read_text()
    found = [
        typed.line.rstrip(";") for typed in block_lines(text, "sql") if typed.section == section
    ]
    assert found
    return found


def _make(rig: Rig) -> None:
    rig.execute(
        "CREATE KEYSPACE field WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}",
        "CREATE TABLE field.parts (id int PRIMARY KEY, text text)",
        "CREATE TABLE field.readings (device int, at int, value double, place text static, "
        "PRIMARY KEY (device, at))",
        "CREATE INDEX readings_value ON field.readings (value)",
    )
    rig.write(
        *(f"INSERT INTO field.parts (id, text) VALUES ({i}, 'p{i}')" for i in range(_ROWS)),
        *(
            "INSERT INTO field.readings (device, at, value, place) "
            f"VALUES ({i % 20}, {i}, {i}.5, 'room {i % 20}')"
            for i in range(300)
        ),
    )


def _rows(rig: Rig) -> Sequence[Rows]:
    return [all_rows(rig.cluster, table) for table in _TABLES]


def _restored(rig: Rig, *arguments: str) -> dict[str, Any]:
    outcome = rig.deployment.restore(*arguments)
    assert outcome.code == 0, outcome.err
    record: dict[str, Any] = outcome.json
    assert record["status"] == "RESTORED"
    return record


def test_every_row_comes_back_and_is_proven(unkind: Rig) -> None:
    """Also rows whose tokens are above those of the default partitioner have fingerprints."""
    _make(unkind)
    before = _rows(unkind)
    backup = unkind.created("--keyspace", "field", "--fingerprints")
    verified = unkind.deployment.manage("backup", "verify", backup["id"], "--read-data")
    assert verified.code == 0, verified.err
    unkind.execute("DROP TABLE field.parts")
    record = _restored(unkind, backup["id"], "--check", "--table", "field.parts")
    check = record["checks"]["field.parts"]
    assert (check["rows_expected"], check["rows_found"], check["different"]) == (_ROWS, _ROWS, 0)
    assert _rows(unkind) == before
    unkind.execute("UPDATE field.readings SET value = 0 WHERE device = 3 AND at = 3")
    refused = unkind.deployment.restore(backup["id"], "--table", "field.readings")
    assert refused.code == 1
    assert "field.readings" in refused.err
    _restored(unkind, backup["id"], "--check", "--existing", "replace")
    assert _rows(unkind) == before
    disks = [
        disk
        for disk in unkind.cluster.nodes[0].data_directories
        if any(disk.glob("field/*/*-Data.db"))
    ]
    assert len(disks) == 2

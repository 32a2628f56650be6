# SPDX-License-Identifier: Apache-2.0
"""A cluster as the field has them: the old partitioner, other addresses for clients, guardrails.

The service logs in with a role that has only the documented grants, and has no sstableloader.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
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
    assert _disks(unkind) == 2


def _disks(rig: Rig) -> int:
    directories = rig.cluster.nodes[0].data_directories
    return sum(any(disk.glob("field/*/*-Data.db")) for disk in directories)


def test_guardrail_is_named_before_anything_is_changed(unkind: Rig) -> None:
    unkind.execute(
        "CREATE KEYSPACE guarded WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}",
        "CREATE TABLE guarded.t (id int PRIMARY KEY, text text)",
        "CREATE INDEX by_text ON guarded.t (text)",
        "INSERT INTO guarded.t (id, text) VALUES (1, 'one')",
    )
    backup = unkind.created("--keyspace", "guarded")
    rows = all_rows(unkind.cluster, "guarded.t")
    unkind.execute("DROP TABLE guarded.t")
    refused = unkind.deployment.restore(backup["id"])
    assert refused.code == 1
    for part in ("index guarded.by_text", "secondary_indexes_enabled is false on", "--skip index="):
        assert part in refused.err
    with unkind.cluster.session() as session:
        tables = "SELECT * FROM system_schema.tables WHERE keyspace_name = 'guarded'"
        assert not list(session.execute(tables))
    _restored(unkind, backup["id"], "--skip", "index=guarded.by_text")
    assert all_rows(unkind.cluster, "guarded.t") == rows


@pytest.fixture
def another_disk(unkind: Rig) -> Iterator[Path]:
    """A directory on the file system of the second data directory, for keyspace ``linked``."""
    first, second = unkind.cluster.nodes[0].data_directories
    path = second.with_name(f"{second.name}-other")
    yield path
    unkind.execute("DROP KEYSPACE linked")
    (first / "linked").unlink()
    shutil.rmtree(path)


def test_keyspace_that_is_a_link_to_another_disk(unkind: Rig, another_disk: Path) -> None:
    """Case 23: Cassandra takes a snapshot through the link, but does not clear it."""
    unkind.execute(
        "CREATE KEYSPACE linked WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}",
        "CREATE TABLE linked.t (id int PRIMARY KEY, text text)",
    )
    unkind.insert("linked.t", range(3000))
    unkind.flush("linked")
    (node,) = unkind.cluster.nodes
    first = node.data_directories[0]
    assert any(first.glob("linked/*/*-Data.db"))
    node.stop()
    shutil.move(first / "linked", another_disk)
    (first / "linked").symlink_to(another_disk)
    assert (first / "linked").stat().st_dev != first.stat().st_dev
    unkind.cluster.start()
    unkind.deployment.wait_live(1)
    rows = all_rows(unkind.cluster, "linked.t")
    assert len(rows) == 3000
    backup = unkind.created("--keyspace", "linked")
    assert backup["notes"] == []
    assert list(another_disk.glob("*/snapshots/mdbb-*")) == []
    unkind.execute("TRUNCATE linked.t")
    _restored(unkind, backup["id"])
    assert all_rows(unkind.cluster, "linked.t") == rows
    assert any(another_disk.glob("*/*-Data.db"))


def test_masked_columns_prove_nothing(unkind: Rig) -> None:
    """Case 11: the documented grants let the service read masks only."""
    unkind.execute(
        "CREATE KEYSPACE masked WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}",
        "CREATE TABLE masked.people (id int PRIMARY KEY, mail text MASKED WITH DEFAULT)",
        "CREATE TABLE masked.plain (id int PRIMARY KEY, text text)",
        "INSERT INTO masked.people (id, mail) VALUES (1, 'one')",
        "INSERT INTO masked.plain (id, text) VALUES (1, 'one')",
    )
    selected = ("--keyspace", "masked", "--fingerprints")
    blind = unkind.created(*selected)
    (note,) = blind["notes"]
    assert "masked.people (the role of [cassandra] username reads masks instead of" in note
    assert "masked.plain" not in note
    refused = unkind.deployment.restore(blind["id"], "--existing", "replace", "--yes", "--check")
    assert refused.code == 1
    assert "GRANT UNMASK ON TABLE masked.people to the role" in refused.err
    unkind.execute(f"GRANT UNMASK ON KEYSPACE masked TO {_ROLE}")
    wait_for(lambda: not _reads_masks(unkind), deadline=60, what="the grant", interval=0.5)
    backup = unkind.created(*selected)
    assert backup["notes"] == []
    unkind.execute("UPDATE masked.people SET mail = 'two' WHERE id = 1")
    record = _restored(unkind, backup["id"], "--existing", "replace", "--yes", "--check")
    assert record["checks"]["masked.people"]["unread"] == 0
    assert record["checks"]["masked.people"]["equal"] > 0
    ((row,),) = [all_rows(unkind.cluster, "masked.people")]
    assert "one" in str(row)


def _reads_masks(rig: Rig) -> bool:
    with rig.cluster.session(0, (_ROLE, _PASSWORD)) as session:
        session.default_fetch_size = 100  # a guardrail bounds it
        return bool(session.execute("SELECT mail FROM masked.people").one().mail == "****")

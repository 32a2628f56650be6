# SPDX-License-Identifier: Apache-2.0
"""Follows the runbook for disasters to the letter, and compares every row afterwards.

The commands are read from the documentation; only names that stand for others are put in.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.functional.depot import all_rows, run
from tests.functional.runbook import Runbook, lines_by_section
from tests.functional.sample import STILL
from tests.lab.cassandra import CassandraCluster
from tests.lab.deployment import Deployment
from tests.lab.keystone import Keystone
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.rig import PREFIX, Rig, keystone_options

# All nodes have all rows, so that each of them can be asked for its own.
_REPLICATION = "{'class': 'NetworkTopologyStrategy', 'dc1': 3}"
_TABLES = ("runbook.orders", "runbook.people", "runbook.visits", "runbook_archive.years")
_VIEWS = ("runbook.people_by_name",)
# Sections that need another cluster or a moment that another module's test makes.
_ELSEWHERE = {
    "recover-offline": "functional/test_restore_offline.py",
    "recover-other-ring": "functional/test_restore_more_nodes.py",
    "recover-dead-cluster": "functional/test_restore_fewer_nodes.py",
    "recover-failed": "faults/test_restore_resume.py",
    "recover-cancelled": "faults/test_restore_cancel.py",
}

Rows = Mapping[str, Sequence[str]]


@pytest.fixture(scope="module")
def whole(rig: Rig) -> Rows:
    """Write the rows that every disaster is to give back."""
    rig.execute(
        f"CREATE KEYSPACE runbook WITH replication = {_REPLICATION}",
        f"CREATE KEYSPACE runbook_archive WITH replication = {_REPLICATION}",
        "CREATE TYPE runbook.address (street text, city text)",
        f"CREATE TABLE runbook.orders (id int PRIMARY KEY, text text) {STILL}",
        "CREATE TABLE runbook.people "
        f"(id int PRIMARY KEY, home frozen<address>, name text) {STILL}",
        f"CREATE TABLE runbook.visits (id int PRIMARY KEY, seen counter) {STILL}",
        f"CREATE TABLE runbook_archive.years (id int PRIMARY KEY, text text) {STILL}",
        "CREATE INDEX by_text ON runbook.orders (text)",
        "CREATE MATERIALIZED VIEW runbook.people_by_name AS SELECT * FROM runbook.people "
        f"WHERE name IS NOT NULL AND id IS NOT NULL PRIMARY KEY (name, id) {STILL}",
    )
    rig.insert("runbook.orders", range(300))
    rig.insert("runbook_archive.years", range(100))
    rig.execute(
        *(
            "INSERT INTO runbook.people (id, home, name) "
            f"VALUES ({i}, {{street: 's{i}', city: 'c'}}, 'n{i % 7}')"
            for i in range(60)
        ),
        *(f"UPDATE runbook.visits SET seen = seen + {i} WHERE id = {i}" for i in range(40)),
    )
    return everything(rig.cluster)


@pytest.fixture(scope="module")
def backup(rig: Rig, whole: Rows) -> dict[str, Any]:
    return rig.created("--keyspace", "runbook", "--keyspace", "runbook_archive")


@pytest.fixture
def runbook(rig: Rig, backup: dict[str, Any]) -> Runbook:
    rig.heal()
    names = {"BACKUP": backup["id"], "shop": "runbook", "old_shop": "runbook_of_before"}
    return Runbook(rig, rig.deployment, names)


def everything(cluster: CassandraCluster, node: int = 0, consistency: str = "ALL") -> Rows:
    return {name: all_rows(cluster, name, node, consistency) for name in (*_TABLES, *_VIEWS)}


def found_by_index(cluster: CassandraCluster) -> Sequence[str]:
    return run(cluster, f"SELECT id FROM runbook.orders WHERE text = '{7:0100d}'", 0, "ALL")


def test_every_section_is_followed() -> None:
    here = Path(__file__).parent
    expected = {file: {section} for section, file in _ELSEWHERE.items()}
    expected["functional/test_runbook.py"] = set(lines_by_section()) - set(_ELSEWHERE)
    for file, sections in expected.items():
        text = (here.parent / file).read_text()
        assert set(re.findall(r'follow[(,] ?"([\w-]+)"', text)) == sections, file


def test_plan_changes_nothing(rig: Rig, runbook: Runbook, whole: Rows) -> None:
    runbook.follow("recover-choose")
    assert everything(rig.cluster) == whole


def test_dropped_table(rig: Rig, runbook: Runbook, whole: Rows) -> None:
    rig.execute("DROP TABLE runbook.orders")
    runbook.follow("recover-dropped-table")
    assert everything(rig.cluster) == whole
    assert found_by_index(rig.cluster) == ["(7,)"]


def test_truncated_table(rig: Rig, runbook: Runbook, whole: Rows) -> None:
    rig.execute("TRUNCATE runbook.orders")
    runbook.follow("recover-truncated-table")
    assert everything(rig.cluster) == whole
    assert found_by_index(rig.cluster) == ["(7,)"]


def damage(rig: Rig, table: str) -> None:
    """Overwrite, delete and add rows."""
    column, value = ("text", "wrong") if table.endswith("orders") else ("name", "wrong")
    rig.execute(
        *(f"UPDATE {table} SET {column} = '{value}' WHERE id = {i}" for i in range(20)),
        *(f"DELETE FROM {table} WHERE id = {i}" for i in range(20, 40)),
        f"INSERT INTO {table} (id, {column}) VALUES (100000, 'too many')",
    )


def test_damaged_table(rig: Rig, runbook: Runbook, whole: Rows) -> None:
    damage(rig, "runbook.orders")
    rig.flush("runbook", "orders")
    runbook.follow("recover-damaged-table")
    assert everything(rig.cluster) == whole
    assert found_by_index(rig.cluster) == ["(7,)"]


def test_some_tables(rig: Rig, runbook: Runbook, whole: Rows) -> None:
    damage(rig, "runbook.orders")
    damage(rig, "runbook.people")
    rig.execute("INSERT INTO runbook_archive.years (id, text) VALUES (2000, 'written since')")
    others = all_rows(rig.cluster, "runbook_archive.years")
    runbook.follow("recover-subset")
    assert everything(rig.cluster) == {**whole, "runbook_archive.years": others}
    rig.execute("DELETE FROM runbook_archive.years WHERE id = 2000")


def test_keyspace(rig: Rig, runbook: Runbook, whole: Rows) -> None:
    rig.execute("DROP KEYSPACE runbook")
    runbook.follow("recover-keyspace")
    assert everything(rig.cluster) == whole
    assert found_by_index(rig.cluster) == ["(7,)"]


def test_all_keyspaces(rig: Rig, runbook: Runbook, whole: Rows) -> None:
    rig.execute("DROP KEYSPACE runbook", "DROP KEYSPACE runbook_archive")
    runbook.follow("recover-everything")
    assert everything(rig.cluster) == whole


def test_another_name(rig: Rig, runbook: Runbook, whole: Rows) -> None:
    """The copies have all rows before they are dropped, and the live tables stay as they are."""
    compared = []

    def compare(line: str) -> None:
        if "DROP TABLE" in line:
            compared.append(all_rows(rig.cluster, "runbook.old_orders"))
        elif "DROP KEYSPACE" in line:
            compared.append(all_rows(rig.cluster, "runbook_of_before.orders"))
            assert all_rows(rig.cluster, "runbook_of_before.people") == whole["runbook.people"]

    rig.execute("DELETE FROM runbook.orders WHERE id = 7")
    now = everything(rig.cluster)
    runbook.follow("recover-beside", compare)
    assert compared == [whole["runbook.orders"]] * 2
    assert everything(rig.cluster) == now
    rig.insert("runbook.orders", range(7, 8))


def test_one_node(rig: Rig, runbook: Runbook, whole: Rows) -> None:
    """A node that lost the keyspace's files has all rows itself afterwards."""
    node = rig.cluster.nodes[2]
    node.drain_and_stop()
    for data in node.data_directories:
        for table in data.glob("runbook*/*"):
            shutil.rmtree(table)
    rig.cluster.start()
    rig.cluster.disable_autocompaction("system_auth", "system_distributed")
    lost = everything(rig.cluster, node=2, consistency="ONE")
    assert not any(lost.values())
    rig.deployment.wait_live(3)
    names = {**runbook.names, "NODE": node.address}
    replace(runbook, names=names).follow("recover-node")
    assert everything(rig.cluster, node=2, consistency="ONE") == whole
    assert everything(rig.cluster) == whole


@pytest.fixture
def fresh(rig: Rig, tmp_path: Path, keystone: Keystone, rabbitmq: RabbitMQ) -> Iterator[Deployment]:
    """A service that knows nothing but the store; the one of before is gone."""
    rig.deployment.stop()
    deployment = Deployment(
        tmp_path / "fresh",
        {
            "DEFAULT": {"transport_url": rabbitmq.add_virtual_host("runbook")},
            "storage": {"driver": "swift", "prefix": PREFIX},
            "swift": keystone_options(keystone),
        },
        rig.cluster.nodes,
    )
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()
        rig.heal()


def test_fresh_deployment(rig: Rig, runbook: Runbook, fresh: Deployment, whole: Rows) -> None:
    rig.execute("DROP KEYSPACE runbook")
    assert fresh.manage("backup", "list").json == []
    replace(runbook, deployment=fresh).follow("recover-fresh")
    assert everything(rig.cluster) == whole

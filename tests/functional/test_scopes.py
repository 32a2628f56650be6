# SPDX-License-Identifier: Apache-2.0
"""For each scope, what is in Swift is what the nodes had, byte for byte."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.functional.comparing import compare
from tests.functional.sample import STILL, make_keyspace
from tests.lab.processes import wait_for
from tests.lab.rig import Rig

_SHOP = {"again", "orders", "Orders", "people", "people_by_name", "untouched", "visits"}
_COMPLETE = {"ranges", "whole", "lost", "status"}


def tables_of(stored: dict[Any, bytes]) -> set[tuple[str, str]]:
    parts = [key[2].split("/") for key in stored]
    return {(keyspace, table.rpartition("-")[0]) for keyspace, table, *_ in parts}


def test_keyspaces(sample: Rig) -> None:
    backup = sample.created(
        "--keyspace", "shop", "--keyspace", '"CamelCase"', "--keyspace", "hollow"
    )
    stored = compare(sample, backup, [*(f"shop.{t}" for t in _SHOP), "CamelCase.MixedCase"])
    expected = {("shop", t) for t in _SHOP} | {("CamelCase", "MixedCase")}
    assert tables_of(stored) == expected
    assert {key[1] for key in stored} == {0, 1}
    assert len({key[0] for key in stored}) == 3
    names = [key[2].rsplit("/", 2) for key in stored]
    assert any(
        directory == ".by_name" and name.endswith("-Data.db") for _, directory, name in names
    )
    assert any("SAI" in name for _, _, name in names)
    schema = sample.reader.schema(backup["id"])
    for text in ("address", "people_by_name", "hollow", '"MixedCase"', "ID = "):
        assert text in schema
    manifest = sample.reader.manifest(backup["id"])
    assert {k["name"] for k in manifest["selection"]["keyspaces"]} == {
        "shop",
        "CamelCase",
        "hollow",
    }
    assert set(manifest["coverage"]) == {"shop", "CamelCase", "hollow"}
    for keyspace in manifest["coverage"].values():
        assert set(keyspace) >= _COMPLETE
        assert (keyspace["status"], keyspace["lost"]) == ("complete", 0)


def test_list_of_tables(sample: Rig) -> None:
    backup = sample.created(
        "--table", "shop.orders", "--table", '"CamelCase"."MixedCase"', "--table", 'shop."Orders"'
    )
    tables = ["shop.orders", "CamelCase.MixedCase", "shop.Orders"]
    stored = compare(sample, backup, tables)
    assert tables_of(stored) == {("shop", "orders"), ("shop", "Orders"), ("CamelCase", "MixedCase")}
    assert len({node["host_id"] for node in sample.reader.manifest(backup["id"])["nodes"]}) == 3


def test_table_without_sstables(sample: Rig) -> None:
    backup = sample.created("--table", "shop.untouched")
    names = {name.rpartition("/")[2] for _, _, name in sample.reader.content(backup["id"])}
    assert names == {"manifest.json", "schema.cql"}
    assert sample.deployment.manage("backup", "verify", backup["id"], "--read-data").code == 0


def test_all(sample: Rig) -> None:
    backup = sample.created("--all-keyspaces")
    manifest = sample.reader.manifest(backup["id"])
    selected = {k["name"]: k for k in manifest["selection"]["keyspaces"]}
    assert {"shop", "CamelCase", "hollow", "system_auth", "system_distributed"} <= set(selected)
    assert not {"system", "system_schema", "system_traces", "system_views"} & set(selected)
    assert selected["system_auth"]["system"] is True
    assert selected["shop"]["system"] is False
    tables = [f"{t['keyspace']}.{t['table']}" for t in manifest["selection"]["tables"]]
    compare(sample, backup, tables)
    verified = sample.deployment.manage("backup", "verify", backup["id"], "--read-data")
    assert verified.code == 0, verified.err


def _make_tables_until(rig: Rig, keyspace: str, ended: threading.Event, made: list[str]) -> None:
    with rig.cluster.session() as session:
        while not ended.is_set():
            name = f"{keyspace}.t{len(made)}"
            session.execute(f"CREATE TABLE {name} (id int PRIMARY KEY)")
            session.execute(f"DROP TABLE {name}")
            made.append(name)
            ended.wait(0.5)


def test_tables_made_and_dropped_all_the_time_elsewhere(sample: Rig) -> None:
    """The whole schema was compared, so that no backup of a busy cluster came to its end."""
    make_keyspace(sample, "bustling")
    ended, made = threading.Event(), list[str]()
    maker = threading.Thread(target=_make_tables_until, args=(sample, "bustling", ended, made))
    maker.start()
    try:
        wait_for(lambda: made, deadline=60, what="the first table")
        backup = sample.created("--table", "shop.orders")
        begun = len(made)
        wait_for(lambda: len(made) > begun, deadline=60, what="another table")
    finally:
        ended.set()
        maker.join()
    assert len(made) > 1
    assert sample.deployment.round_of(backup["id"]) == 1
    compare(sample, backup, ["shop.orders"])


def test_scope_of_a_third_party(sample: Rig) -> None:
    backup = sample.created("--scope", "matching", "--scope-parameter", 'pattern="sh*"')
    assert backup["scope"] == {"type": "matching", "pattern": "sh*"}
    stored = compare(sample, backup, [f"shop.{t}" for t in _SHOP])
    assert tables_of(stored) == {("shop", t) for t in _SHOP}
    refused = sample.deployment.manage("backup", "create", "--scope", "matching")
    assert refused.code == 2
    assert "the scope 'matching' needs 'pattern'" in refused.err


def test_files_of_a_backup_are_listed(sample: Rig) -> None:
    backup = sample.created("--table", "shop.orders")
    listed = sample.deployment.manage("backup", "files", backup["id"])
    assert listed.code == 0, listed.err
    assert len(listed.json) == len(list(sample.reader.lines(backup["id"]))) == backup["files"]


@pytest.mark.timeout(600)
@pytest.mark.nightly
def test_more_than_ten_thousand_files(rig: Rig) -> None:
    """unit/repository/upload/test_many uploads as many files for each commit."""
    make_keyspace(rig, "many")
    tables = [f"t{n}" for n in range(6)]
    for table in tables:
        rig.execute(f"CREATE TABLE many.{table} (id int PRIMARY KEY, text text) {STILL}")
    for batch in range(42):
        for table in tables:
            rig.insert(f"many.{table}", range(batch * 24, batch * 24 + 24), width=40)
        rig.flush("many")
    backup = rig.created("--keyspace", "many")
    assert backup["files"] > 10_000
    stored = compare(rig, backup, [f"many.{t}" for t in tables])
    assert len(stored) == backup["files"]
    packs = {
        extent[0] for line in rig.reader.lines(backup["id"]) for extent in line.data["extents"]
    }
    assert len(packs) < 100

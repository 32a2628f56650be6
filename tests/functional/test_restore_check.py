# SPDX-License-Identifier: Apache-2.0
"""Row-level proof: restores checked against what the rows were when the backup was made."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import zstandard
from cassandra import ConsistencyLevel
from cassandra.query import SimpleStatement

from tests.functional.depot import Depot, all_rows
from tests.functional.sample import STILL, make_keyspace, make_table
from tests.lab.deployment import Outcome
from tests.lab.processes import wait_for
from tests.lab.rig import Rig

# Between the tokens of three nodes, and beyond the last one.
_RANGES = 3 * 16 + 1
_TABLES = {"changed", "Mixed", "parts", "people", "readings", "visits"}


def _figures(rig: Rig, backup_id: str) -> list[dict[str, Any]]:
    """Read a backup's figures as the format's page says."""
    found = []
    for stored in rig.reader.manifest(backup_id)["figures"]:
        raw = rig.reader.object(stored["name"])
        assert hashlib.sha256(raw).hexdigest() == stored["sha256"]
        text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
        header, *lines, trailer = [json.loads(line) for line in text.splitlines()]
        assert (header["format"], header["backup_id"]) == (1, backup_id)
        assert trailer == {"trailer": {"ranges": len(lines)}}
        found += lines
    return found


def _restore(rig: Rig, backup_id: str, *arguments: str) -> Outcome:
    return rig.deployment.manage(
        "restore", "create", backup_id, "--check", "--wait", "--timeout", "280", *arguments
    )


def _proven(outcome: Outcome) -> Mapping[str, Any]:
    """Return the checks of a restore that must have succeeded, without a difference."""
    assert outcome.code == 0, outcome.err
    record = outcome.json
    assert record["status"] == "RESTORED"
    assert all(c["different"] == 0 and c["differences"] == [] for c in record["checks"].values())
    assert all(c["rows_found"] == c["rows_expected"] for c in record["checks"].values())
    checks: Mapping[str, Any] = record["checks"]
    return checks


@pytest.fixture(scope="module")
def backup(rig: Rig) -> dict[str, Any]:
    """A backup with figures of tables of every kind; nothing writes meanwhile."""
    Depot("proven").make(rig)
    return rig.created("--keyspace", "proven", "--figures")


def test_figures_are_those_of_the_rows(rig: Rig, backup: dict[str, Any]) -> None:
    """By their definition, read by another client."""
    assert (backup["figures"], backup["error"], backup["notes"]) == (True, "", [])
    figures = _figures(rig, backup["id"])
    assert {f["state"] for f in figures} == {"steady"}
    assert {f["table"] for f in figures} == _TABLES
    with rig.cluster.session() as session:
        for figure in figures:
            key = "device" if figure["table"] == "readings" else "id"
            query = SimpleStatement(
                f'SELECT JSON * FROM proven."{figure["table"]}" '
                f"WHERE token({key}) > {figure['start']} AND token({key}) <= {figure['end']}",
                consistency_level=ConsistencyLevel.ALL,
            )
            rows = [row[0] for row in session.execute(query)]
            text = "".join(f"{row}\n" for row in rows)
            assert len(rows) == figure["rows"]
            assert hashlib.sha256(text.encode()).hexdigest() == figure["sha256"]
    for table in _TABLES:
        lines = sorted((int(f["start"]), int(f["end"])) for f in figures if f["table"] == table)
        assert (lines[0][0], lines[-1][1]) == (-(1 << 63), (1 << 63) - 1)
        assert all(a[1] == b[0] for a, b in pairwise(lines))
        name = f'proven."{table}"'
        rows = sum(f["rows"] for f in figures if f["table"] == table)
        assert rows == len(all_rows(rig.cluster, name))
    verified = rig.deployment.manage("backup", "verify", backup["id"])
    assert verified.code == 0, verified.err


def test_a_dropped_keyspace_is_proven_to_be_back(rig: Rig, backup: dict[str, Any]) -> None:
    rows = {t: len(all_rows(rig.cluster, f'proven."{t}"')) for t in _TABLES}
    rig.execute("DROP KEYSPACE proven")
    checks = _proven(_restore(rig, backup["id"]))
    assert {name: c["rows_found"] for name, c in checks.items()} == {
        f"proven.{table}": count for table, count in rows.items()
    }
    assert {c["equal"] for c in checks.values()} == {_RANGES}
    assert all(c["changing"] == c["unread"] == 0 for c in checks.values())
    shown = rig.deployment.manage("restore", "list", "--limit", "1").json[0]["id"]
    text = rig.deployment.manage("restore", "show", shown, json=False).out
    assert f"proven.parts: {_RANGES} of {_RANGES} token ranges equal, {rows['parts']} rows" in text


def test_another_name_is_proven_too(rig: Rig, backup: dict[str, Any]) -> None:
    outcome = _restore(rig, backup["id"], "--table", "proven.people", "--to-table", "beside")
    assert list(_proven(outcome)) == ["proven.beside"]
    rig.execute("DROP TABLE proven.beside")


def test_rows_that_newer_deletions_hide_are_found_missing(rig: Rig, backup: dict[str, Any]) -> None:
    """Trap 21: a merge into a table that looks empty lets its tombstones win."""
    before = all_rows(rig.cluster, "proven.parts")
    rig.execute(
        "TRUNCATE proven.parts",
        "DELETE FROM proven.parts WHERE id = 5",
        "DELETE FROM proven.parts WHERE id = 77",
    )
    outcome = _restore(rig, backup["id"], "--table", "proven.parts", "--existing", "merge")
    assert outcome.code == 1
    record = outcome.json
    assert record["status"] == "RESTORE_FAILED"
    assert record["tables"] == {
        "proven.parts": "restored, but its rows are not those of the backup"
    }
    found = record["checks"]["proven.parts"]
    assert (found["different"], found["equal"]) == (2, _RANGES - 2)
    assert (found["rows_expected"], found["rows_found"]) == (len(before), len(before) - 2)
    hidden = _tokens(rig, "proven.people", 5, 77)  # the same keys, with their rows
    for difference in found["differences"]:
        inside = [t for t in hidden if int(difference["start"]) < t <= int(difference["end"])]
        assert len(inside) == 1
    assert all(d["rows_found"] == d["rows_expected"] - 1 for d in found["differences"])
    assert f"proven.parts: 2 of {_RANGES} token ranges differ" in record["error"]
    assert "newer deletions" in record["error"]
    assert record["error"] in outcome.err
    assert len(all_rows(rig.cluster, "proven.parts")) == len(before) - 2
    # What the error recommends.
    again = _restore(rig, backup["id"], "--table", "proven.parts", "--existing", "replace")
    assert _proven(again)["proven.parts"]["rows_found"] == len(before)
    assert all_rows(rig.cluster, "proven.parts") == before


def _tokens(rig: Rig, table: str, *ids: int) -> list[int]:
    with rig.cluster.session() as session:
        return sorted(
            session.execute(f"SELECT token(id) AS t FROM {table} WHERE id = {i}").one().t
            for i in ids
        )


def test_what_is_written_during_the_backup_is_not_compared(rig: Rig) -> None:
    make_table(rig, "moving.t")
    rig.insert("moving.t", range(300))
    with rig.held("--keyspace", "moving", "--figures", at="schema.cql") as future:
        rig.execute("UPDATE moving.t SET text = 'newer' WHERE id = 7")
        rig.proxy.clear()
        outcome = future.result(240)
    assert outcome.code == 0, outcome.err
    backup = outcome.json
    changing = [f for f in _figures(rig, backup["id"]) if f["state"] == "changing"]
    assert len(changing) == 1
    (token,) = _tokens(rig, "moving.t", 7)
    assert int(changing[0]["start"]) < token <= int(changing[0]["end"])
    rig.execute("TRUNCATE moving.t")
    check = _proven(_restore(rig, backup["id"]))["moving.t"]
    assert (check["equal"], check["changing"]) == (_RANGES - 1, 1)


def test_a_check_that_could_prove_nothing_is_refused(rig: Rig, backup: dict[str, Any]) -> None:
    make_table(rig, "unproven.t")
    plain = rig.created("--keyspace", "unproven")
    assert plain["figures"] is False
    refused = _restore(rig, plain["id"])
    assert refused.code == 2
    assert "has no fingerprints to check a restore against" in refused.err
    assert "--fingerprints" in refused.err
    merged = _restore(rig, backup["id"], "--table", "proven.people", "--existing", "merge")
    assert merged.code == 1
    assert "table proven.people has rows, so after a merge" in merged.json["error"]
    assert merged.json["tables"] == {"proven.people": "untouched"}


_GONE = {
    "cells": "id int PRIMARY KEY, text text",
    "by_row": "id int PRIMARY KEY, text text",
    "by_range": "id int, at int, text text, PRIMARY KEY (id, at)",
    "by_partition": "id int, at int, text text, PRIMARY KEY (id, at)",
    "expired": "id int PRIMARY KEY, text text",
    "collections": "id int PRIMARY KEY, tags set<text>",
    "statics": "id int, at int, text text static, PRIMARY KEY (id, at)",
    "again": "id int PRIMARY KEY, text text",
}
_IDS = range(40)


def _fill(rig: Rig, table: str, mark: str, ttl: str = "") -> None:
    """Write rows, without a row marker where deleted cells shall leave nothing."""
    statements = {
        "cells": "UPDATE gone.cells SET text = '{mark}' WHERE id = {i}",
        "collections": "UPDATE gone.collections SET tags = {{'{mark}', 'b'}} WHERE id = {i}",
        "statics": "UPDATE gone.statics SET text = '{mark}' WHERE id = {i}",
        "by_range": "INSERT INTO gone.by_range (id, at, text) VALUES ({i}, {i}, '{mark}')",
        "by_partition": "INSERT INTO gone.by_partition (id, at, text) VALUES ({i}, {i}, '{mark}')",
    }
    usual = "INSERT INTO gone.{table} (id, text) VALUES ({i}, '{mark}') {ttl}"
    text = statements.get(table, usual)
    rig.write(*(text.format(table=table, i=i, mark=mark, ttl=ttl) for i in _IDS))


def _delete_everything(rig: Rig) -> None:
    """Delete the rows of each table in its own way; not one TRUNCATE."""
    ways = (
        "DELETE text FROM gone.cells WHERE id = {i}",
        "DELETE FROM gone.by_row WHERE id = {i}",
        "DELETE FROM gone.by_range WHERE id = {i} AND at >= 0",
        "DELETE FROM gone.by_partition WHERE id = {i}",
        "UPDATE gone.collections SET tags = {{}} WHERE id = {i}",
        "DELETE text FROM gone.statics WHERE id = {i}",
    )
    rig.write(*(way.format(i=i) for way in ways for i in _IDS))
    _fill(rig, "expired", "newer", "USING TTL 1")


def _drop_with_leftovers(rig: Rig, table: str) -> None:
    """Drop a table so that its newest SSTables stay, as after a crash of each node."""
    _fill(rig, table, "newer")
    rig.flush("gone", table)
    left = {
        path: path.read_bytes()
        for node in rig.cluster.nodes
        for data in node.data_directories
        for path in data.glob(f"gone/{table}-*/*-big-*")
    }
    rig.execute(f"DROP TABLE gone.{table}")
    for path, content in left.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _is_empty(rig: Rig, table: str) -> bool:
    return all_rows(rig.cluster, table) == []


def test_rows_deleted_in_every_way_come_back(rig: Rig) -> None:
    """No table has a live row, so nothing refuses the restore; its deletions must not win."""
    make_keyspace(rig, "gone")
    for table, columns in _GONE.items():
        rig.execute(f"CREATE TABLE gone.{table} ({columns}) {STILL}")
        _fill(rig, table, "old")
    before = {table: all_rows(rig.cluster, f"gone.{table}") for table in _GONE}
    assert {len(rows) for rows in before.values()} == {len(_IDS)}
    backup = str(rig.created("--keyspace", "gone")["id"])
    # Partitions of static columns only are rows that a restore must not delete.
    create = ("restore", "create", backup, "--table", "gone.statics")
    planned = rig.deployment.manage(*create, "--dry-run").json["plan"]
    assert any("gone.statics has data" in p for p in planned["problems"])
    _delete_everything(rig)
    rig.flush("gone")
    _drop_with_leftovers(rig, "again")
    for table in set(_GONE) - {"again"}:
        wait_for(
            partial(_is_empty, rig, f"gone.{table}"),
            deadline=30,
            what=f"gone.{table} without live rows",
        )
    outcome = rig.deployment.manage("restore", "create", backup, "--wait", "--timeout", "280")
    assert outcome.code == 0, outcome.err
    assert {table: all_rows(rig.cluster, f"gone.{table}") for table in _GONE} == before

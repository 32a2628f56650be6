# SPDX-License-Identifier: Apache-2.0
"""The ladder of proof on a real cluster: what each rung finds, and what the record says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.functional.sample import STILL, make_keyspace
from tests.lab.cassandra import CassandraNode
from tests.lab.rig import Rig

_FUNCTION = (
    "CREATE FUNCTION fallen.half (a int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java "
    "AS 'return a / 2;'"
)


def _proofs(rig: Rig, backup: str) -> dict[tuple[str, str], set[str]]:
    """Return the tables of each rung and outcome, as ``backup show`` has them."""
    found: dict[tuple[str, str], set[str]] = {}
    for group in rig.deployment.manage("backup", "show", backup).json["proofs"]:
        assert group["proved_at"].endswith("Z")
        found.setdefault((group["rung"], group["outcome"]), set()).update(group["tables"])
    return found


def _spoil(node: CassandraNode, table: str) -> str:
    """Change a byte of an SSTable's Statistics.db, which no digest covers; return its Data.db."""
    keyspace, name = table.split(".")
    found = [p for data in node.data_directories for p in data.glob(f"{keyspace}/{name}-*/*")]
    victim = next(path for path in sorted(found) if path.name.endswith("-Statistics.db"))
    body = bytearray(victim.read_bytes())
    body[len(body) // 2] ^= 0xFF
    with victim.open("r+b") as file:
        file.write(body)
    return victim.name.replace("Statistics.db", "Data.db")


@contextmanager
def _settings(node: CassandraNode, **changed: Any) -> Iterator[None]:
    """Change a node's cassandra.yaml, which the running node has read already."""
    path: Path = node.home / "conf" / "cassandra.yaml"
    text = path.read_text()
    path.write_text(json.dumps({**json.loads(text), **changed}))
    try:
        yield
    finally:
        path.write_text(text)


def _scratch_left(rig: Rig) -> list[Path]:
    return list(rig.deployment.directory.glob("worker*/scratch/scratch-*"))


def test_a_good_backup_climbs_all_rungs(rig: Rig) -> None:
    make_keyspace(rig, "climb")
    rig.execute(
        "CREATE TYPE climb.address (street text, city text)",
        f"CREATE TABLE climb.people (id int PRIMARY KEY, text text, home frozen<climb.address>) "
        f"{STILL}",
        "CREATE INDEX by_text ON climb.people (text) USING 'sai'",
    )
    rig.insert("climb.people", range(60))
    backup = rig.created("--keyspace", "climb")["id"]
    outcome = rig.deployment.manage(
        "backup", "verify", backup, "--read-data", "--parse", "--schema"
    )
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert report["problems"] == []
    assert report["rungs"] == ["read-data", "parse", "schema"]
    assert report["sstables"] > 0
    assert set(report["nodes"]) == {node.host_id for node in rig.cluster.nodes}
    # Each node has read its own packs.
    assert report["read_by"] == {node.host_id: node.address for node in rig.cluster.nodes}
    assert report["packs_read"] == report["packs"] > 0
    assert _proofs(rig, backup) == {
        (rung, "proved"): {"climb.people"} for rung in ("exists", "read-data", "parse", "schema")
    }
    shown = rig.deployment.manage("backup", "show", backup, json=False).out
    assert "parse: 1 table on " in shown
    assert _scratch_left(rig) == []
    sampled = rig.deployment.manage("backup", "verify", backup, "--read-data", "--sample", "50%")
    assert sampled.code == 0, sampled.err
    assert sampled.json["rungs"] == ["sample"]
    assert sampled.json["packs_read"] <= sampled.json["packs"] == report["packs"]
    shown = rig.deployment.manage("backup", "show", backup, json=False).out
    assert "read-data: 1 table on " in shown
    assert "sampled 50 % of the packs" in shown


def test_each_rung_finds_what_the_lower_ones_do_not(rig: Rig) -> None:
    """A damaged SSTable, whose packs are whole, and a function that the node does not allow."""
    node = rig.cluster.nodes[1]
    make_keyspace(rig, "fallen")
    for table in ("sound", "damaged"):
        rig.execute(f"CREATE TABLE fallen.{table} (id int PRIMARY KEY, text text) {STILL}")
        rig.insert(f"fallen.{table}", range(60))
    rig.execute(_FUNCTION)
    rig.flush("fallen")
    sstable = _spoil(node, "fallen.damaged")
    try:
        backup = rig.created("--keyspace", "fallen")["id"]
        assert rig.deployment.manage("backup", "verify", backup, "--read-data").code == 0
        settings = {"user_defined_functions_enabled": False}
        with (
            _settings(rig.cluster.nodes[0], **settings),
            _settings(rig.cluster.nodes[1], **settings),
            _settings(rig.cluster.nodes[2], **settings),
        ):
            outcome = rig.deployment.manage("backup", "verify", backup, "--parse", "--schema")
        assert outcome.code == 1
        statement, broken = outcome.json["problems"]
        assert statement["kind"] == "statement"
        assert statement["detail"].startswith("function fallen.half: ")
        assert "disabled" in statement["detail"]
        assert (broken["kind"], broken["host_id"]) == ("sstable", node.host_id)
        assert broken["detail"].startswith(f"fallen.damaged {sstable}: ")
        assert "Statistics.db" in broken["detail"]
        for problem in (statement, broken):
            assert problem["detail"] in outcome.err
        assert "nodetool scrub" in outcome.err
        both = {"fallen.damaged", "fallen.sound"}
        assert _proofs(rig, backup) == {
            ("exists", "proved"): both,
            ("read-data", "proved"): both,
            ("parse", "failed"): {"fallen.damaged"},
            ("parse", "proved"): {"fallen.sound"},
            ("schema", "failed"): {"keyspace fallen"},
            ("schema", "proved"): both,
        }
        shown = rig.deployment.manage("backup", "show", backup, json=False).out
        assert "parse: FAILED for fallen.damaged on " in shown
        assert _scratch_left(rig) == []
    finally:
        rig.execute("DROP KEYSPACE IF EXISTS fallen")

# SPDX-License-Identifier: Apache-2.0
"""What the second backup sends, and the traps of names that are used again."""

from __future__ import annotations

import os
import secrets

from tests.functional.comparing import compare
from tests.functional.sample import STILL, make_keyspace, make_table
from tests.lab.cassandra import CassandraNode
from tests.lab.rig import Rig

_ROWS = 24_000
_WIDTH = 250


def _insert_noise(rig: Rig, table: str, rows: range) -> None:
    """Insert rows that do not compress, so that what changes is what is stored."""
    with rig.cluster.session() as session:
        insert = session.prepare(f"INSERT INTO {table} (id, text) VALUES (?, ?)")
        for begin in range(rows.start, rows.stop, 500):
            pending = [
                session.execute_async(insert, (i, secrets.token_hex(_WIDTH // 2)))
                for i in range(begin, min(begin + 500, rows.stop))
            ]
            for future in pending:
                future.result()


def test_unchanged_node_uploads_no_pack(sample: Rig) -> None:
    sample.created("--keyspace", "shop")
    sample.proxy.clear()
    second = sample.created("--keyspace", "shop")
    # Cassandra writes two small files anew for each table's snapshot, with the time in it.
    stored = list(sample.reader.lines(second["id"]))
    written = sum(line.data["size"] for line in stored if _is_new(line.data["name"]))
    assert second["bytes_uploaded"] <= written
    assert second["bytes_reused"] >= second["bytes"] - written
    assert any(not _is_new(line.data["name"]) for line in stored)


def _is_new(name: str) -> bool:
    return name in ("manifest.json", "schema.cql")


def test_five_percent_change(rig: Rig) -> None:
    make_table(rig, "swelling.t")
    _insert_noise(rig, "swelling.t", range(_ROWS))
    rig.flush("swelling")
    first = rig.created("--keyspace", "swelling")
    before = {line.key for line in rig.reader.lines(first["id"])}
    _insert_noise(rig, "swelling.t", range(_ROWS, _ROWS + _ROWS // 20))
    rig.flush("swelling")
    rig.proxy.clear()
    second = rig.created("--keyspace", "swelling")
    sent = rig.proxy.sent
    changed = sum(
        line.data["size"]
        for line in rig.reader.lines(second["id"])
        if line.key not in before or _is_new(line.data["name"])
    )
    assert 0.04 < changed / second["bytes"] < 0.06
    # Everything that went to Swift, manifests and schema included.
    assert sent <= changed * 1.01 + _manifests(rig, second["id"])
    assert second["bytes_uploaded"] <= changed * 1.01
    compare(rig, second, ["swelling.t"])


def _manifests(rig: Rig, backup_id: str) -> int:
    manifest = rig.reader.manifest(backup_id)
    nodes = sum(node["manifest"]["size"] for node in manifest["nodes"])
    rows = rig.reader.object(f"backups/{backup_id}/schema.jsonl")
    return int(nodes + manifest["schema"]["size"] + len(rows) + len(str(manifest)) * 2)


def _insert_at(rig: Rig, text: str) -> None:
    """Insert rows with fixed times: what Cassandra stores of them has a length that varies."""
    with rig.cluster.session() as session:
        insert = session.prepare("INSERT INTO reused.t (id, text) VALUES (?, ?) USING TIMESTAMP ?")
        for i in range(200):
            session.execute(insert, (i, text, 10**15 + i))
    rig.flush("reused")


def test_names_used_again(rig: Rig) -> None:
    """After truncation and a restart, Cassandra begins to count SSTables at 1 again."""
    make_keyspace(rig, "reused")
    rig.execute(
        "CREATE TABLE reused.t (id int PRIMARY KEY, text text) "
        f"{STILL} AND compression = {{'enabled': false}}"
    )
    _insert_at(rig, "first generation ")
    first = rig.created("--keyspace", "reused")
    first_bytes = rig.reader.content(first["id"])
    rig.execute("TRUNCATE reused.t")
    for node in rig.cluster.nodes:
        node.clear_snapshots("", "reused")
        node.drain_and_stop()
    rig.cluster.start()
    rig.cluster.disable_autocompaction("system_auth", "system_distributed")
    rig.deployment.wait_live(len(rig.cluster.nodes))
    _insert_at(rig, "second generation")
    second = rig.created("--keyspace", "reused")
    second_bytes = compare(rig, second, ["reused.t"])
    again = {k for k in first_bytes if k[2].endswith("Data.db") and k in second_bytes}
    assert again, "no name was used again, so this test shows nothing"
    assert any(len(first_bytes[k]) == len(second_bytes[k]) for k in again)
    assert all(first_bytes[k] != second_bytes[k] for k in again)
    assert rig.reader.content(first["id"]) == first_bytes


def test_statistics_rewritten_in_place(rig: Rig) -> None:
    """Cassandra replaces Statistics.db when it changes an SSTable's level or time of repair."""
    make_table(rig, "rewritten.t")
    rig.insert("rewritten.t", range(200))
    rig.flush("rewritten")
    first = rig.created("--keyspace", "rewritten")
    first_bytes = rig.reader.content(first["id"])
    for node in rig.cluster.nodes:
        _mark_repaired(node, "rewritten")
    second = rig.created("--keyspace", "rewritten")
    second_bytes = compare(rig, second, ["rewritten.t"])
    changed = {k for k in first_bytes if k[2].endswith("Statistics.db")}
    assert changed
    assert all(k in second_bytes for k in changed)
    assert all(first_bytes[k] != second_bytes[k] for k in changed)
    assert all(len(first_bytes[k]) == len(second_bytes[k]) for k in changed)
    assert rig.reader.content(first["id"]) == first_bytes


def _mark_repaired(node: CassandraNode, keyspace: str) -> None:
    """Have every Statistics.db replaced; its time stays, so that name, size and time are equal."""
    live = [p for d in node.data_directories for p in d.glob(f"{keyspace}/*/*-Statistics.db")]
    before = {path: path.stat() for path in live}
    node.set_repaired(*(p.with_name(p.name.replace("Statistics", "Data")) for p in live))
    for path, status in before.items():
        assert path.stat().st_ino != status.st_ino
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

# SPDX-License-Identifier: Apache-2.0
"""SSTables that Cassandra refuses, and backups that lack a node."""

from __future__ import annotations

from pathlib import Path

from tests.faults.bench import KEYSPACE, TABLES, VICTIM, Bench
from tests.functional.depot import all_rows
from tests.functional.sample import make_table
from tests.lab.cassandra import CassandraNode

_REPLACE = ("--existing", "replace")
_DAMAGED = tuple(f"damaged.{name}" for name in ("marked", "refused", "sound"))


def _spoil(node: CassandraNode, table: str, component: str) -> str:
    """Change a byte in the middle of a component of one SSTable; return the SSTable's name."""
    keyspace, name = table.split(".")
    found: list[Path] = sorted(
        path for data in node.data_directories for path in data.glob(f"{keyspace}/{name}-*/*")
    )
    victim = next(path for path in found if path.name.endswith(f"-{component}"))
    body = bytearray(victim.read_bytes())
    body[len(body) // 2] ^= 0xFF
    with victim.open("r+b") as file:  # in place, as a disk does it
        file.write(body)
    return victim.name.removesuffix(f"-{component}")


def test_malformed_sstables_do_not_stop_the_others(bench: Bench) -> None:
    """One that was known when the backup was made, and one that nobody could know of."""
    node = bench.deployment.nodes[VICTIM]
    for table in _DAMAGED:
        make_table(bench.rig, table)
    for rows in (range(100), range(100, 200)):
        for table in _DAMAGED:
            bench.write(table, rows)
        bench.rig.flush("damaged")
    before = {table: all_rows(bench.rig.cluster, table) for table in _DAMAGED}
    marked = _spoil(node, "damaged.marked", "Data.db")
    refused = _spoil(node, "damaged.refused", "Statistics.db")
    backup = bench.deployment.backup("--keyspace", "damaged", "--on-corrupt", "mark")
    assert backup.code == 3, backup.err
    bench.rig.execute("DROP KEYSPACE damaged")
    try:
        outcome = bench.restore(backup.json["id"], "--allow-partial")
        assert outcome.code == 1
        record = outcome.json
        assert record["status"] == "RESTORE_FAILED"
        error = record["error"]
        assert error in outcome.err
        assert "everything else is restored" in error
        assert "nodetool repair --full brings them back" in error
        for table, sstable in (("marked", marked), ("refused", refused)):
            state = record["tables"][f"damaged.{table}"]
            assert state.startswith("restored without the SSTables")
            assert sstable in state
            assert node.address in state
            assert f"damaged.{table}" in error
        assert record["tables"]["damaged.sound"] == "restored"
        for each in record["nodes"]:
            lost = 2 if each["address"] == node.address else 0
            lines = [
                line
                for line in bench.rig.reader.lines(backup.json["id"])
                if line.key[0] == each["host_id"] and line.data["name"].endswith("-Data.db")
            ]
            assert each["sstables_imported"] == len(lines) - lost
        assert bench.deployment.staged() == []
        for each in bench.deployment.nodes:
            each.nodetool("repair", "--full", "damaged")
        for number in range(3):
            for table in _DAMAGED:
                assert all_rows(bench.rig.cluster, table, number, "ONE") == before[table]
    finally:
        bench.rig.execute("DROP KEYSPACE IF EXISTS damaged")


def test_backup_without_a_node(bench: Bench) -> None:
    """Where each row has another replica, it is enough, if the user says so."""
    missing = bench.deployment.nodes[2]
    rows = bench.rows()
    for number in (VICTIM, 2):
        bench.deployment.workers[number].stop()
    useless = bench.deployment.backup("--keyspace", KEYSPACE, "--allow-partial")
    assert useless.code == 1, useless.out
    bench.deployment.workers[VICTIM].start()
    bench.deployment.wait_live(2)
    partial = bench.deployment.backup("--keyspace", KEYSPACE, "--allow-partial")
    assert partial.code == 3, partial.err
    bench.deployment.workers[2].start()
    bench.deployment.wait_live(3)
    bench.spoil()
    before = [bench.query(f"SELECT id, writetime(text) FROM {t}") for t in TABLES[:-1]]
    impossible = bench.restore(useless.json["id"], "--allow-partial", *_REPLACE)
    assert impossible.code == 5
    assert "is CREATE_FAILED; only CREATED and PARTIAL ones can be restored" in impossible.err
    unasked = bench.restore(partial.json["id"], *_REPLACE)
    assert unasked.code == 2
    assert "is PARTIAL" in unasked.err
    assert "--allow-partial" in unasked.err
    assert [bench.query(f"SELECT id, writetime(text) FROM {t}") for t in TABLES[:-1]] == before
    outcome = bench.restore(partial.json["id"], "--allow-partial", *_REPLACE)
    assert outcome.code == 0, outcome.err
    assert outcome.json["tables"] == dict.fromkeys(TABLES, "restored")
    (warning,) = [w for w in outcome.json["plan"]["warnings"] if missing.host_id in w]
    assert "the restored tables are repaired" in warning
    assert bench.rows() == rows
    assert bench.rows(2, "ONE") == rows

# SPDX-License-Identifier: Apache-2.0
"""Restores into the ring that the backup was made of, while Cassandra serves."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from cassandra import ConsistencyLevel

from tests.functional.depot import Depot, Rows, all_rows
from tests.functional.sample import make_keyspace, make_table
from tests.lab.deployment import Outcome
from tests.lab.processes import wait_for
from tests.lab.rig import Rig


@dataclass(frozen=True)
class Kept:
    """A backup of the depot, and what CQL read before it."""

    rig: Rig
    depot: Depot
    backup: str
    rows: Mapping[str, Rows]
    found: Sequence[Rows]
    ids: Mapping[str, str]

    def restore(self, *arguments: str) -> Outcome:
        return self.rig.deployment.manage(
            "restore", "create", self.backup, "--wait", "--timeout", "280", *arguments
        )

    def restored(self, *arguments: str) -> dict[str, Any]:
        """Make a restore that must succeed; return its record. Nothing stays staged."""
        outcome = self.restore(*arguments)
        assert outcome.code == 0, outcome.err
        record: dict[str, Any] = outcome.json
        assert record["status"] == "RESTORED"
        assert set(record["tables"].values()) == {"restored"}
        assert self.rig.deployment.staged() == []
        return record

    def refused(self, *arguments: str) -> str:
        """Make a restore that must be refused before anything is touched; return the error."""
        outcome = self.restore(*arguments)
        assert outcome.code == 1, outcome.out
        record = outcome.json
        assert record["status"] == "RESTORE_FAILED"
        assert set(record["tables"].values()) <= {"untouched"}
        assert self.depot.rows(self.rig.cluster) == self.rows
        return str(record["error"])

    def check(self) -> None:
        """Compare every row, what the indexes find, and the tables' IDs with those before."""
        assert self.depot.rows(self.rig.cluster) == self.rows
        assert self.depot.found_by_index(self.rig.cluster) == self.found
        assert table_ids(self.rig, self.depot.keyspace) == self.ids


def table_ids(rig: Rig, keyspace: str) -> dict[str, str]:
    with rig.cluster.session() as session:
        return {
            row.table_name: str(row.id)
            for row in session.execute(
                "SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = %s",
                (keyspace,),
            )
        }


@pytest.fixture(scope="module")
def kept(rig: Rig) -> Kept:
    depot = Depot("depot")
    depot.make(rig)
    backup = str(rig.created("--keyspace", depot.keyspace)["id"])
    return Kept(
        rig,
        depot,
        backup,
        depot.rows(rig.cluster),
        depot.found_by_index(rig.cluster),
        table_ids(rig, depot.keyspace),
    )


@contextmanager
def served(rig: Rig, table: str) -> Iterator[None]:
    """Write and read another table all the time; every request must be answered rightly."""
    ended = threading.Event()
    served_ones: list[int] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            with rig.cluster.session() as session:
                write = session.prepare(f"INSERT INTO {table} (id, text) VALUES (?, ?)")
                read = session.prepare(f"SELECT text FROM {table} WHERE id = ?")
                write.consistency_level = read.consistency_level = ConsistencyLevel.QUORUM
                while not ended.wait(0.02):
                    number = len(served_ones)
                    session.execute(write, (number, f"t{number}"))
                    assert session.execute(read, (number,)).one().text == f"t{number}"
                    served_ones.append(number)
        except Exception as error:  # noqa: BLE001 - whatever it was, the test shows it
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_for(lambda: served_ones or errors, deadline=60, what="the first answer")
        begun = len(served_ones)
        yield
        assert len(served_ones) > begun
    finally:
        ended.set()
        thread.join(60)
    assert errors == []


def test_dropped_keyspace_while_others_are_served(kept: Kept) -> None:
    make_table(kept.rig, "busy.t")
    kept.rig.execute(f"DROP KEYSPACE {kept.depot.keyspace}")
    with served(kept.rig, "busy.t"):
        record = kept.restored()
    kept.check()
    assert record["plan"]["method_by_keyspace"] == {"depot": "import"}
    assert sum(n["sstables_imported"] for n in record["nodes"]) > len(kept.depot.tables)


def test_subset_of_tables_that_are_empty_and_gone(kept: Kept) -> None:
    kept.rig.execute("TRUNCATE depot.visits", 'DROP TABLE depot."Mixed"')
    kept.rig.execute("INSERT INTO depot.parts (id, text) VALUES (9999, 'stays')")
    kept.restored("--table", "depot.visits", "--table", 'depot."Mixed"')
    assert "(9999, 'stays')" in all_rows(kept.rig.cluster, "depot.parts")
    kept.rig.execute("DELETE FROM depot.parts WHERE id = 9999")
    kept.check()


def test_replace_is_exactly_the_backup(kept: Kept) -> None:
    """Traps 18 and 21: newer writes and tombstones do not win; a damaged table is no hindrance."""
    kept.depot.write(kept.rig, range(100, 300), mark=" newer")
    kept.rig.execute(
        "DELETE FROM depot.parts WHERE id = 5",
        "DELETE FROM depot.readings WHERE device = 3",
        "DELETE FROM depot.people WHERE id = 7",
        "DELETE FROM depot.visits WHERE id = 9",
    )
    kept.rig.flush("depot")
    assert damage(kept.rig, "Mixed-*") > 0
    kept.restored("--existing", "replace")
    kept.check()


def damage(rig: Rig, table: str) -> int:
    """Overwrite the middle of a table's Data.db files on one node; return how many."""
    done = 0
    for data in rig.cluster.nodes[1].data_directories:
        for path in data.glob(f"depot/{table}/*-Data.db"):
            with path.open("r+b") as file:
                file.seek(path.stat().st_size // 2)
                file.write(b"\xff" * 16)
            done += 1
    return done


def test_refuse_names_the_tables_and_touches_nothing(kept: Kept) -> None:
    error = kept.refused("--table", "depot.parts", "--table", "depot.people")
    assert "depot.parts, depot.people have data" in error
    assert "--existing replace" in error


def test_merge_lets_the_newest_write_win(kept: Kept) -> None:
    make_table(kept.rig, "merged.t")
    kept.rig.insert("merged.t", range(100))
    backup = str(kept.rig.created("--table", "merged.t")["id"])
    kept.rig.execute(
        "UPDATE merged.t SET text = 'newer' WHERE id = 1",
        "DELETE FROM merged.t WHERE id = 2",
        "INSERT INTO merged.t (id, text) VALUES (1000, 'new')",
    )
    expected = all_rows(kept.rig.cluster, "merged.t")
    # These writes are older than those of the backup, as after a restore from an old backup.
    kept.rig.execute(
        "DELETE FROM merged.t USING TIMESTAMP 1 WHERE id = 3",
        "UPDATE merged.t USING TIMESTAMP 1 SET text = 'older' WHERE id = 4",
    )
    outcome = kept.rig.deployment.manage(
        "restore", "create", backup, "--existing", "merge", "--wait", "--timeout", "280"
    )
    assert outcome.code == 0, outcome.err
    assert all_rows(kept.rig.cluster, "merged.t") == expected
    assert any("newest write timestamp wins" in w for w in outcome.json["plan"]["warnings"])


def test_beside_under_another_name(kept: Kept) -> None:
    record = kept.restored("--table", "depot.people", "--to-table", "people_before")
    cluster = kept.rig.cluster
    assert all_rows(cluster, "depot.people_before") == kept.rows["people"]
    assert record["tables"] == {"depot.people_before": "restored"}
    kept.restored("--to-keyspace", "depot_before")
    assert kept.depot.rows(cluster, keyspace="depot_before") == kept.rows
    assert kept.depot.found_by_index(cluster, "depot_before") == kept.found
    error = kept.refused("--table", "depot.people", "--to-table", "people_before")
    assert "the target depot.people_before exists" in error
    kept.rig.execute("DROP TABLE depot.people_before", "DROP KEYSPACE depot_before")
    kept.check()


def test_schema_that_differs(kept: Kept) -> None:
    kept.rig.execute(
        'ALTER TABLE depot."Mixed" DROP "Text"', 'ALTER TABLE depot."Mixed" ADD extra int'
    )
    outcome = kept.restore("--table", 'depot."Mixed"', "--existing", "replace")
    assert outcome.code == 1
    assert '"Text"' in outcome.json["error"]
    assert "--to-table" in outcome.json["error"]
    assert "extra" not in outcome.json["error"]  # added columns are taken
    assert outcome.json["tables"] == {"depot.Mixed": "untouched"}
    kept.restored("--table", 'depot."Mixed"', "--to-table", "mixed_before")
    assert all_rows(kept.rig.cluster, "depot.mixed_before") == kept.rows['"Mixed"']
    kept.rig.execute("DROP TABLE depot.mixed_before", 'DROP TABLE depot."Mixed"')
    kept.restored("--table", 'depot."Mixed"')
    kept.check()


def test_dry_run_plans_and_changes_nothing(kept: Kept) -> None:
    kept.rig.execute('DROP TABLE depot."Mixed"')
    outcome = kept.restore("--dry-run", "--table", 'depot."Mixed"', "--table", "depot.parts")
    assert outcome.code == 0, outcome.err
    assert "would be refused" in outcome.err
    record = outcome.json
    assert record["status"] == "PLANNED"
    plan = record["plan"]
    assert [t["target"] for t in plan["tables"]] == ["depot.Mixed", "depot.parts"]
    assert [t["exists"] for t in plan["tables"]] == [False, True]
    assert any('CREATE TABLE depot."Mixed"' in s for s in plan["schema"]["create"])
    assert any("depot.parts has data" in p for p in plan["problems"])
    lines = [
        line
        for line in kept.rig.reader.lines(kept.backup)
        if line.data["table"] in ("Mixed", "parts") and line.data["index"] is None
    ]
    assert 0 < plan["bytes"] <= sum(line.data["size"] for line in lines)
    assert plan["requests"] > 0
    assert {n["address"] for n in plan["nodes"]} == {n.address for n in kept.rig.cluster.nodes}
    assert "Mixed" not in table_ids(kept.rig, "depot")
    assert kept.rig.deployment.staged() == []
    kept.restored("--table", 'depot."Mixed"')
    kept.check()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--table", "depot.nothing"), 4, "the backup does not have depot.nothing"),
        (("--keyspace", "nowhere"), 4, "the backup does not have nowhere"),
        (("--table", "depot.people_by_name"), 4, "materialized view"),
        (("--table", "depot"), 2, "depot"),
        (("--to-table", "x"), 2, "the new table name 'x' needs exactly one table"),
        (("--table", "depot.parts", "--to-table", "a/b"), 2, "a/b"),
        (("--cluster", "elsewhere"), 4, "elsewhere"),
        (("--node", "127.0.0.200"), 1, "the target has no node '127.0.0.200'"),
    ],
)
def test_bad_input(kept: Kept, arguments: Sequence[str], code: int, text: str) -> None:
    outcome = kept.restore(*arguments)
    assert text in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.code == code, outcome.err


def test_unknown_backup(rig: Rig) -> None:
    outcome = rig.deployment.manage("restore", "create", "no-such-backup")
    assert outcome.code == 4
    assert "no-such-backup" in outcome.err


def test_all_keyspaces(rig: Rig) -> None:
    for name in ("everything.t", '"Else".t'):
        make_table(rig, name)
        rig.insert(name, range(200))
    before = {n: all_rows(rig.cluster, n) for n in ("everything.t", '"Else".t')}
    backup = str(rig.created("--all-keyspaces")["id"])
    rig.execute("DROP KEYSPACE everything", 'TRUNCATE "Else".t')
    outcome = rig.deployment.manage(
        "restore", "create", backup, "--existing", "replace", "--wait", "--timeout", "600",
        timeout=700,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert {n: all_rows(rig.cluster, n) for n in before} == before
    assert not any(t.startswith("system") for t in outcome.json["tables"])


def test_schema_that_grew_since_the_backup(rig: Rig) -> None:
    """SSTables without a new column, and values without a new field, are valid: null is read.

    The function's body holds $$, between which Cassandra describes it; it is dropped meanwhile.
    """
    make_keyspace(rig, "growing")
    rig.execute(
        "CREATE TYPE growing.address (street text)",
        "CREATE TABLE growing.people (id int PRIMARY KEY, home frozen<address>, name text)",
        "CREATE FUNCTION growing.priced(a text) CALLED ON NULL INPUT RETURNS text LANGUAGE java "
        "AS 'return a + \"$$\";'",
    )
    rig.write(
        *(
            f"INSERT INTO growing.people (id, home, name) VALUES ({i}, {{street: 's{i}'}}, 'n')"
            for i in range(20)
        )
    )
    backup = rig.created("--keyspace", "growing")["id"]
    rig.execute(
        "ALTER TABLE growing.people ADD phone text",
        "ALTER TYPE growing.address ADD zip text",
        "DROP FUNCTION growing.priced",
    )
    rig.write(
        *(f"UPDATE growing.people SET phone = 'p', name = 'x' WHERE id = {i}" for i in (1, 2))
    )
    outcome = rig.deployment.manage(
        "restore", "create", str(backup), "--existing", "replace", "--wait", "--timeout", "280"
    )
    assert outcome.code == 0, outcome.err
    notes = " ".join(outcome.json["plan"]["schema"]["notes"])
    assert "phone text" in notes
    assert "growing.address: fields added since the backup" in notes
    with rig.cluster.session() as session:
        query = "SELECT id, home, growing.priced(name) AS name, phone FROM growing.people"
        rows = sorted(
            (r.id, r.home.street, r.home.zip, r.name, r.phone) for r in session.execute(query)
        )
    assert rows == [(i, f"s{i}", None, "n$$", None) for i in range(20)]

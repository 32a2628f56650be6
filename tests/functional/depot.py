# SPDX-License-Identifier: Apache-2.0
"""Tables of every kind that a restore has to bring back, and all their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cassandra import ConsistencyLevel
from cassandra.query import SimpleStatement

from tests.functional.sample import REPLICATION, STILL
from tests.lab.cassandra import CassandraCluster
from tests.lab.rig import Rig

Rows = Sequence[str]
_TTL = 10 * 86400  # seconds; nothing expires while tests run


@dataclass(frozen=True)
class Depot:
    """A keyspace of sample tables; ``views`` are its materialized views."""

    keyspace: str
    sai: bool = True

    @property
    def tables(self) -> tuple[str, ...]:
        names = ("parts", "people", "visits", "readings", "changed", '"Mixed"')
        return tuple(f"{self.keyspace}.{name}" for name in names)

    @property
    def views(self) -> tuple[str, ...]:
        return (f"{self.keyspace}.people_by_name",)

    def make(self, rig: Rig, replication: str = REPLICATION) -> None:
        """Make everything and write rows, of which some stay unflushed."""
        k = self.keyspace
        rig.execute(
            f"CREATE KEYSPACE {k} WITH replication = {replication}",
            f"CREATE TYPE {k}.address (street text, city text)",
            f"CREATE TYPE {k}.contact (mail text, home frozen<address>)",
            f"CREATE FUNCTION {k}.longer (state int, value text) CALLED ON NULL INPUT RETURNS int "
            "LANGUAGE java AS 'return Math.max(state, value == null ? 0 : value.length());'",
            f"CREATE AGGREGATE {k}.longest (text) SFUNC longer STYPE int INITCOND 0",
            f"CREATE TABLE {k}.parts (id int PRIMARY KEY, text text) {STILL}",
            f"CREATE TABLE {k}.people (id int PRIMARY KEY, contact frozen<contact>, name text, "
            f"tags set<text>) {STILL}",
            f"CREATE TABLE {k}.visits (id int PRIMARY KEY, seen counter) {STILL}",
            f"CREATE TABLE {k}.readings (device int, at int, value double, place text static, "
            f"PRIMARY KEY (device, at)) {STILL}",
            f"CREATE TABLE {k}.changed (id int PRIMARY KEY, old text, was frozen<address>, "
            f"kept text) {STILL}",
            f'CREATE TABLE {k}."Mixed" (id int PRIMARY KEY, "Text" text) {STILL}',
            f"CREATE INDEX people_name ON {k}.people (name)",
            f"CREATE MATERIALIZED VIEW {k}.people_by_name AS SELECT * FROM {k}.people "
            f"WHERE name IS NOT NULL AND id IS NOT NULL PRIMARY KEY (name, id) {STILL}",
        )
        if self.sai:
            rig.execute(f"CREATE INDEX parts_text ON {k}.parts (text) USING 'sai'")
        self.write(rig, range(200))
        rig.execute(
            f"INSERT INTO {k}.changed (id, old, was, kept) VALUES "
            "(0, 'gone', {street: 's', city: 'c'}, 'kept')",
        )
        rig.flush(k)
        rig.execute(
            f"ALTER TABLE {k}.changed DROP old",
            f"ALTER TABLE {k}.changed DROP was",
            f"ALTER TABLE {k}.changed ADD old text",
            *(f"INSERT INTO {k}.changed (id, old, kept) VALUES ({i}, 'o{i}', 'k{i}')"
              for i in range(1, 50)),
        )  # fmt: skip
        self.write(rig, range(150, 260))

    def write(self, rig: Rig, rows: range, mark: str = "") -> None:
        """Write rows into all tables but ``changed``; ``mark`` makes them differ."""
        k = self.keyspace
        rig.write(
            *(f"INSERT INTO {k}.parts (id, text) VALUES ({i}, 'p{i % 40}{mark}')" for i in rows),
            *(
                f"INSERT INTO {k}.people (id, contact, name, tags) VALUES ({i}, {{mail: 'm{i}', "
                f"home: {{street: 's{i}', city: 'c{mark}'}}}}, 'n{i % 7}', {{'a', 't{i}{mark}'}})"
                for i in rows
            ),
            *(f"UPDATE {k}.visits SET seen = seen + {i} WHERE id = {i}" for i in rows),
            *(f"INSERT INTO {k}.readings (device, at, value) VALUES ({i % 20}, {i}, {i}.5) "
              f"USING TTL {_TTL}" for i in rows),
            *(f"INSERT INTO {k}.readings (device, place) VALUES ({i}, 'room {i}{mark}')"
              for i in range(20)),
            *(f'INSERT INTO {k}."Mixed" (id, "Text") VALUES ({i}, \'x{i}{mark}\')' for i in rows),
        )  # fmt: skip

    def rows(
        self, cluster: CassandraCluster, node: int = 0, keyspace: str = "", consistency: str = "ALL"
    ) -> Mapping[str, Rows]:
        """Return all rows of tables and views, by the name without the keyspace."""
        names = [t.split(".", 1)[1] for t in (*self.tables, *self.views)]
        return {
            name: all_rows(cluster, f"{keyspace or self.keyspace}.{name}", node, consistency)
            for name in names
        }

    def found_by_index(self, cluster: CassandraCluster, keyspace: str = "") -> Sequence[Rows]:
        """Return what the indexes find."""
        k = keyspace or self.keyspace
        queries = [f"SELECT id FROM {k}.people WHERE name = 'n3'"]
        if self.sai:
            queries.append(f"SELECT id FROM {k}.parts WHERE text = 'p7'")
        return [run(cluster, query, 0, "ALL") for query in queries]


def all_rows(
    cluster: CassandraCluster, table: str, node: int = 0, consistency: str = "ALL"
) -> Rows:
    """Return every row of a table as sorted text."""
    return run(cluster, f"SELECT * FROM {table}", node, consistency)


def run(cluster: CassandraCluster, query: str, node: int, consistency: str) -> Rows:
    level = ConsistencyLevel.name_to_value[consistency]
    with cluster.session(node) as session:
        result = session.execute(SimpleStatement(query, consistency_level=level))
        return sorted(repr(tuple(row)) for row in result)

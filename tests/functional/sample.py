# SPDX-License-Identifier: Apache-2.0
"""Sample data with everything that Cassandra can lay on disk."""

from __future__ import annotations

from tests.lab.rig import Rig

STILL = "WITH compaction = {'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}"
REPLICATION = "{'class': 'NetworkTopologyStrategy', 'dc1': 2}"


def make_keyspace(rig: Rig, name: str) -> None:
    rig.execute(f"CREATE KEYSPACE IF NOT EXISTS {name} WITH replication = {REPLICATION}")


def make_table(rig: Rig, name: str) -> None:
    """Make a table of ``(id int, text text)`` in which nothing moves by itself."""
    make_keyspace(rig, name.split(".")[0])
    rig.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, text text) {STILL}")


def make_sample(rig: Rig) -> None:
    """Make the keyspaces shop, "CamelCase" and hollow; a part of shop.orders is not flushed."""
    for keyspace in ("shop", '"CamelCase"', "hollow"):
        make_keyspace(rig, keyspace)
    rig.execute(
        "CREATE TYPE shop.address (street text, city text)",
        f"CREATE TABLE shop.orders (id int PRIMARY KEY, text text) {STILL}",
        "CREATE TABLE shop.people "
        f"(id int PRIMARY KEY, home frozen<shop.address>, name text) {STILL}",
        f"CREATE TABLE shop.visits (id int PRIMARY KEY, seen counter) {STILL}",
        f"CREATE TABLE shop.untouched (id int PRIMARY KEY) {STILL}",
        f'CREATE TABLE shop."Orders" (id int PRIMARY KEY, text text) {STILL}',
        f'CREATE TABLE "CamelCase"."MixedCase" (id int PRIMARY KEY, text text) {STILL}',
        "CREATE INDEX by_name ON shop.people (name)",
        "CREATE MATERIALIZED VIEW shop.people_by_name AS SELECT * FROM shop.people "
        f"WHERE name IS NOT NULL AND id IS NOT NULL PRIMARY KEY (name, id) {STILL}",
        f"CREATE TABLE shop.again (id int PRIMARY KEY, text text) {STILL}",
    )
    rig.insert("shop.again", range(50))
    rig.flush("shop", "again")
    rig.execute(
        "DROP TABLE shop.again",
        f"CREATE TABLE shop.again (id int PRIMARY KEY, text text) {STILL}",
    )
    if rig.cluster.version.startswith("5"):
        rig.execute("CREATE INDEX by_text ON shop.orders (text) USING 'sai'")
    for table in ("shop.orders", 'shop."Orders"', '"CamelCase"."MixedCase"', "shop.again"):
        rig.insert(table, range(300))
    rig.write(
        *(
            f"INSERT INTO shop.people (id, home, name) "
            f"VALUES ({i}, {{street: 's{i}', city: 'c'}}, 'n{i % 7}')"
            for i in range(100)
        ),
        *(f"UPDATE shop.visits SET seen = seen + {i} WHERE id = {i}" for i in range(50)),
    )
    rig.flush("shop")
    rig.flush("CamelCase")
    rig.insert("shop.orders", range(100, 400))

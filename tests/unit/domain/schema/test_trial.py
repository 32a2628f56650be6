# SPDX-License-Identifier: Apache-2.0
"""The statements that apply a backup's schema to an empty node."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.schema.reading import rows_of
from magnetodb_backup.domain.schema.trial import Trial, tables_trial, whole_trial
from magnetodb_backup.domain.tables import TableName

SCHEMA = """CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'far': '3'}
    AND durable_writes = true;

CREATE TYPE shop.money (amount decimal, currency text);

CREATE FUNCTION shop.half (a int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java
    AS $$return a / 2;$$;

CREATE TABLE shop.orders (id int PRIMARY KEY, price frozen<money>)
    WITH ID = 11111111-1111-1111-1111-111111111111 AND comment = '';
ALTER TABLE shop.orders DROP gone USING TIMESTAMP 1;

CREATE INDEX by_price ON shop.orders (price);

CREATE MATERIALIZED VIEW shop.by_money AS SELECT * FROM shop.orders
    WHERE price IS NOT NULL AND id IS NOT NULL PRIMARY KEY (price, id);

CREATE TABLE shop.other (id int PRIMARY KEY)
    WITH ID = 22222222-2222-2222-2222-222222222222 AND comment = '';
"""
ORDERS, OTHER, VIEW = (TableName("shop", n) for n in ("orders", "other", "by_money"))
AUTH = TableName("system_auth", "roles")


def _made(trial: Trial) -> list[tuple[str, str]]:
    return [(s.kind, s.name) for s in trial.statements]


def test_everything_in_the_order_of_a_restore() -> None:
    trial = whole_trial(rows_of(SCHEMA), [ORDERS, OTHER, VIEW, AUTH], ["shop", "system_auth"], "dc")
    assert _made(trial) == [
        ("keyspace", "shop"),
        ("type", "money"),
        ("function", "half"),
        ("table", "orders"),
        ("alter", "orders"),
        ("table", "other"),
        ("index", "by_price"),
        ("view", "by_money"),
    ]
    assert (trial.impossible, trial.unreadable) == ({}, ())


def test_sstables_need_tables_and_their_types_only() -> None:
    trial = tables_trial(rows_of(SCHEMA), [VIEW, AUTH], "dc")
    assert _made(trial) == [
        ("keyspace", "shop"),
        ("type", "money"),
        ("table", "orders"),
        ("alter", "orders"),
        ("view", "by_money"),
    ]
    assert _made(tables_trial(rows_of(SCHEMA), [OTHER], "dc"))[1:] == [("table", "other")]


@pytest.mark.parametrize(
    ("replication", "kept"),
    [
        ("{'class': 'NetworkTopologyStrategy', 'far': '3'}", False),
        ("{'class': 'org.apache.cassandra.locator.SimpleStrategy', 'replication_factor': '3'}",
         False),
        ("{'class': 'com.example.OurStrategy', 'x': '1'}", True),
    ],
)  # fmt: skip
def test_replicas_are_those_of_one_node(replication: str, kept: bool) -> None:
    """Strategies of the operator's are kept: their class may be missing."""
    schema = SCHEMA.replace("{'class': 'NetworkTopologyStrategy', 'far': '3'}", replication)
    keyspace = whole_trial(rows_of(schema), [OTHER], ["shop"], "dc").statements[0].text
    assert (replication in keyspace) is kept
    if not kept:
        assert keyspace == (
            "CREATE KEYSPACE shop WITH replication = "
            "{'class': 'NetworkTopologyStrategy', 'dc': '1'};"
        )


def test_table_that_the_schema_lacks() -> None:
    lost = TableName("shop", "lost")
    for trial in (
        whole_trial(rows_of(SCHEMA), [lost, OTHER], [], "dc"),
        tables_trial(rows_of(SCHEMA), [lost, OTHER], "dc"),
    ):
        assert trial.impossible == {lost: "table shop.lost is not in the backup's schema"}
        assert ("table", "other") in _made(trial)


def test_object_that_cannot_be_read() -> None:
    schema = f"{SCHEMA}\nCREATE INDEX broken ON shop.other ('no;\n"
    trial = whole_trial(rows_of(schema), [ORDERS, OTHER], ["shop"], "dc")
    ((lost),) = trial.unreadable
    assert (lost.of.kind, lost.of.keyspace, lost.of.table) == ("index", "shop", "other")
    assert ("table", "other") in _made(trial)

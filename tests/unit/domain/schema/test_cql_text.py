# SPDX-License-Identifier: Apache-2.0
"""Statements of a schema: where they end, what they make, and other names for it."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.schema.cql_text import Statement, rewritten, split_statements
from magnetodb_backup.errors import FormatProblem
from tests.unit.domain.describes import ALTERS, CASSANDRA_41, CASSANDRA_50, FUNCTIONS, ORDERS, VIEW


def only(text: str) -> Statement:
    (statement,) = split_statements(text)
    return statement


def test_a_schema_of_4_1() -> None:
    found = [(s.kind, s.keyspace, s.name, s.table) for s in split_statements(CASSANDRA_41)]
    assert found == [
        ("keyspace", "shop", "shop", ""),
        ("type", "shop", "Address", ""),
        ("type", "shop", "line", ""),
        ("type", "shop", "unused", ""),
        ("function", "shop", "plus", ""),
        ("function", "shop", "plus", ""),
        ("aggregate", "shop", "total", ""),
        ("table", "shop", "orders", "orders"),
        ("alter", "shop", "orders", "orders"),
        ("alter", "shop", "orders", "orders"),
        ("alter", "shop", "orders", "orders"),
        ("index", "shop", "by_customer", "orders"),
        ("index", "shop", "By_Note", "orders"),
        ("view", "shop", "orders_by_line", "orders"),
    ]


@pytest.mark.parametrize("schema", [CASSANDRA_41, CASSANDRA_50], ids=["4.1", "5.0"])
def test_statements_are_kept_as_stored(schema: str) -> None:
    texts = [s.text for s in split_statements(schema)]
    for text in (*ALTERS.split("\n"), VIEW):
        assert text in texts
    assert FUNCTIONS.split("\n\nCREATE")[0] in texts


@pytest.mark.parametrize(
    ("text", "kind", "name", "table"),
    [
        ("create table if not exists KS.T (a int primary key);", "table", "t", "t"),
        ('CREATE TABLE "ks"."T" (a int PRIMARY KEY);', "table", "T", "T"),
        ("CREATE TABLE /* it's */ ks . t (a int PRIMARY KEY);", "table", "t", "t"),
        ("CREATE OR REPLACE FUNCTION ks.f() RETURNS int AS 'a;';", "function", "f", ""),
        ("CREATE INDEX IF NOT EXISTS i ON ks.t (values(c));", "index", "i", "t"),
        ('CREATE INDEX "on" ON ks.t (c);', "index", "on", "t"),
        ("CREATE INDEX ON ks.t (c);", "index", "", "t"),
        ("CREATE TRIGGER tr ON ks.t USING 'x.Y';", "trigger", "tr", "t"),
        ("ALTER TABLE IF EXISTS ks.t ADD c int;", "alter", "t", "t"),
        (
            'CREATE MATERIALIZED VIEW IF NOT EXISTS ks.v AS SELECT "from" FROM ks.t WHERE a > 1;',
            "view",
            "v",
            "t",
        ),
    ],
)
def test_what_a_statement_makes(text: str, kind: str, name: str, table: str) -> None:
    statement = only(text)
    assert (statement.kind, statement.keyspace, statement.name, statement.table) == (
        kind,
        "ks",
        name,
        table,
    )
    assert statement.text == text


@pytest.mark.parametrize(
    "text",
    ["DROP KEYSPACE ks;", "CREATE ROLE r;", "ALTER KEYSPACE ks WITH x = 1;", "CREATE TABLE;"],
)
def test_whatever_else_is_other(text: str) -> None:
    statement = only(text)
    assert (statement.kind, statement.text) == ("other", text)


def test_comments_and_empty_statements_are_left_out() -> None:
    text = "-- it's; one\n// an\"other\n/* ; ' */ ;; CREATE KEYSPACE a WITH x = 1;\n-- end"
    assert [s.text for s in split_statements(text)] == ["CREATE KEYSPACE a WITH x = 1;"]
    assert split_statements("") == ()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("CREATE\nTABLE 'a'' ;", "a string without an end, from line 2"),
        ('CREATE TABLE "a"" ;', "a quoted name without an end, from line 1"),
        ("\n\nAS $$ ' ;", r"a \$\$ body without an end, from line 3"),
        ("/* CREATE TABLE a (a int PRIMARY KEY);", "a comment without an end, from line 1"),
        ("CREATE KEYSPACE a; CREATE TABLE  b (c", "no end: CREATE TABLE b"),
    ],
)
def test_a_truncated_schema_is_refused(text: str, what: str) -> None:
    with pytest.raises(FormatProblem, match=what):
        split_statements(text)


@pytest.mark.parametrize(
    ("options", "without"),
    [
        ("WITH ID = {id} AND gc_grace_seconds = 1;", "WITH gc_grace_seconds = 1;"),
        ("WITH ID = {id};", ";"),
        ("WITH comment = 'ID = ' AND id = {id} AND cdc = true;", None),
        ("WITH COMPACT STORAGE AND ID = {id};", "WITH COMPACT STORAGE;"),
        ("WITH cdc = false;", "WITH cdc = false;"),
        (";", ";"),
    ],
)
def test_the_id_is_taken_out(options: str, without: str | None) -> None:
    head = "CREATE TABLE ks.t (id uuid PRIMARY KEY) "
    text = head + options.format(id="5a1c36ec-f31d-3123-8d1b-41e1c4b4d7f0")
    expected = without if without is not None else "WITH comment = 'ID = ' AND cdc = true;"
    result = rewritten(only(text), keep_id=False)
    assert "".join(result.text.split()) == "".join((head + expected).split())
    assert rewritten(only(text)).text == text


def test_a_keyspace_is_renamed_where_it_qualifies_a_name_only() -> None:
    text = (
        "CREATE TABLE ks.ks (ks int, b frozen<ks.u>, c text MASKED WITH ks.f('ks.t'), "
        "PRIMARY KEY (ks)) WITH comment = 'ks.t' /* ks.t */;"
    )
    assert rewritten(only(text), keyspace={"ks": "New"}.__getitem__).text == (
        'CREATE TABLE "New".ks (ks int, b frozen<"New".u>, c text MASKED WITH "New".f(\'ks.t\'), '
        "PRIMARY KEY (ks)) WITH comment = 'ks.t' /* ks.t */;"
    )


def test_a_function_keeps_its_body() -> None:
    first = only(FUNCTIONS.split("\n\nCREATE")[0])
    result = rewritten(first, keyspace={"shop": "order"}.__getitem__)
    head, body = first.text.split("AS $$")
    assert result.text == head.replace("shop.plus", '"order".plus') + "AS $$" + body
    assert (result.keyspace, result.name) == ("order", "plus")


def test_a_keyspace_statement_and_a_view_are_renamed() -> None:
    keyspace = rewritten(only("CREATE KEYSPACE ks WITH x = {'ks': 'ks'};"), keyspace=str.upper)
    assert keyspace.text == "CREATE KEYSPACE \"KS\" WITH x = {'ks': 'ks'};"
    view = rewritten(only(VIEW), keyspace=lambda _: "s2", table="t2")
    assert view.text == VIEW.replace("VIEW shop.", "VIEW s2.").replace("shop.orders\n", "s2.t2\n")
    assert (view.keyspace, view.name, view.table) == ("s2", "orders_by_line", "t2")


def test_names_that_stay_are_not_touched() -> None:
    text = 'CREATE INDEX "i" ON KS."t" (c);'
    assert rewritten(only(text), keyspace=lambda k: k, table="t", index="i").text == text
    assert rewritten(only(ORDERS)).text == ORDERS

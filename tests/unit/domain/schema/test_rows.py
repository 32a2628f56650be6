# SPDX-License-Identifier: Apache-2.0
"""A schema as rows: one statement that cannot be read spoils only its own object."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.schema.planner import SchemaPlan, Target, plan_schema
from magnetodb_backup.domain.schema.reading import rows_of
from magnetodb_backup.domain.schema.rows import SchemaRow, keyspaces_digest, schema_text
from magnetodb_backup.domain.schema.skips import Skips
from magnetodb_backup.domain.tables import TableName
from tests.unit.domain.describes import CASSANDRA_41, CASSANDRA_50

# As Cassandra 5.0.9 describes them. The body of the first function was given in single quotes.
STRIP = SchemaRow(
    "k", "function", "strip(text)",
    "CREATE FUNCTION k.strip(a text)\n    RETURNS NULL ON NULL INPUT\n    RETURNS text\n"
    '    LANGUAGE java\n    AS $$return a.replaceAll("\\\\$$", "it\'s");$$;',
)  # fmt: skip
ROWS = (
    SchemaRow(
        "k", "keyspace", "k",
        "CREATE KEYSPACE k WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '1'}  "
        "AND durable_writes = true;",
    ),
    SchemaRow("k", "type", "addr", "CREATE TYPE k.addr (\n    street text,\n    city text\n);"),
    STRIP,
    SchemaRow(
        "k", "function", "plain(int, int)",
        "CREATE FUNCTION k.plain(a int, b int)\n    CALLED ON NULL INPUT\n    RETURNS int\n"
        "    LANGUAGE java\n    AS $$\n\nCREATE TABLE x;\n\nCREATE TABLE y;\n return a + b;$$;",
    ),
    SchemaRow(
        "k", "table", "t",
        "CREATE TABLE k.t (\n    k int PRIMARY KEY,\n    a frozen<addr>,\n    v text\n"
        ") WITH ID = d8d71270-ec92-11f1-86b6-07a3f5db1359\n    AND comment = 'it''s; -- \n\n"
        "CREATE TABLE x (a int);\n\nCREATE TABLE y'\n    AND gc_grace_seconds = 864000;",
    ),
    SchemaRow("k", "index", "byv", "CREATE INDEX byv ON k.t (v);"),
)  # fmt: skip
TEXT = schema_text(ROWS)
T = TableName("k", "t")
TARGET = Target(T, T)


def _kinds(plan: SchemaPlan) -> list[tuple[str, str]]:
    assert plan.differences == ()
    return [(s.kind, s.name) for s in plan.create]


def test_the_text_of_an_older_release_is_split_at_its_rows() -> None:
    """Bodies and comments with the borders of statements in them do not mislead."""
    assert [row.statement for row in rows_of(TEXT)] == [row.statement for row in ROWS]
    assert [(r.keyspace, r.kind, r.name) for r in rows_of(TEXT)] == [
        (r.keyspace, r.kind, r.name.partition("(")[0]) for r in ROWS
    ]
    for text in (CASSANDRA_41, CASSANDRA_50):
        assert schema_text(rows_of(text)) == text


@pytest.mark.parametrize("source", [ROWS, TEXT], ids=["rows", "text of an older release"])
def test_a_function_with_dollars_in_its_body_is_made(
    source: str | tuple[SchemaRow, ...],
) -> None:
    """Cassandra describes a body that was given in single quotes between $$ all the same."""
    backup = Schema.read(source)
    assert backup.unreadable == []
    plan = plan_schema(backup, "", [TARGET], ["k"])
    functions = [("function", "strip"), ("function", "plain")]
    assert _kinds(plan) == [
        ("keyspace", "k"), ("type", "addr"), *functions, ("table", "t"), ("index", "byv")
    ]  # fmt: skip
    (strip,) = [s.text for s in plan.create if s.name == "strip"]
    assert strip.endswith("""AS 'return a.replaceAll("\\\\$$", "it''s");';""")
    made = "\n\n".join(s.text for s in plan.create)
    assert _kinds(plan_schema(backup, made, [TARGET], ["k"])) == []


@pytest.mark.parametrize("body", ["a$", "$$;", "$", "x$$y$$z", "$$;\n\nCREATE'", "''$$"])
def test_bodies_with_dollars(body: str) -> None:
    """The rows beside a body are read, also if it contains quotes or dollar signs."""
    odd = STRIP._replace(statement=f"CREATE FUNCTION k.f(a text) LANGUAGE java AS $${body}$$;")
    schema = Schema.read((*ROWS[:2], odd, *ROWS[3:]))
    assert schema.unreadable == []
    (function,) = schema.functions["k", "f"]
    quoted = "'" + body.replace("'", "''") + "'"
    assert function.text.endswith(f" AS {quoted};") or f"$${body}$$" in function.text
    assert T in schema.tables


BROKEN = "CREATE INDEX broken ON k.t (v) WITH OPTIONS = {'a': 'it's'};"


@pytest.mark.parametrize("as_text", [False, True])
def test_what_cannot_be_read_is_named_with_the_remedy(as_text: bool) -> None:
    """The other tables of the backup are restored all the same."""
    other = SchemaRow("o", "table", "t", "CREATE TABLE o.t (k int PRIMARY KEY);")
    rows = (*ROWS, SchemaRow("k", "index", "broken", BROKEN), ROWS[0], other)
    backup = Schema.read(schema_text(rows) if as_text else rows)
    present = "CREATE KEYSPACE o WITH x = 1;\n\nCREATE KEYSPACE k WITH x = 1;"
    name = TableName("o", "t")
    assert _kinds(plan_schema(backup, present, [Target(name, name)], ["o"])) == [("table", "t")]
    (difference,) = plan_schema(backup, present, [TARGET]).differences
    assert difference == (
        "index k.broken cannot be made: the CQL has a string without an end, from line 1; restore "
        "without it by --skip index=k.broken"
    )
    skipped = plan_schema(backup, present, [TARGET], (), Skips.parse(["index=broken"]))
    assert _kinds(skipped) == [("type", "addr"), ("table", "t"), ("index", "byv")]
    assert skipped.notes == (
        "index k.broken is not made: the CQL has a string without an end, from line 1",
    )


def test_a_table_that_cannot_be_read_refuses_itself_only() -> None:
    rows = (*ROWS, SchemaRow("k", "table", "u", 'CREATE TABLE k.u (k int PRIMARY KEY, "v text);'))
    u = TableName("k", "u")
    backup = Schema.read(rows)
    assert plan_schema(backup, "", [TARGET]).differences == ()
    (difference,) = plan_schema(backup, "", [Target(u, u)]).differences
    assert difference.startswith("table k.u cannot be made: the CQL has a quoted name without an")
    # The target's own schema may be odd as well.
    assert plan_schema(TEXT, backup, [TARGET], ["k"]).differences == ()


def test_a_table_whose_columns_cannot_be_read() -> None:
    """Its text has complete tokens, but no columns."""
    odd = TEXT.replace("    v text\n", "    v =\n")
    (difference,) = plan_schema(odd, "", [TARGET]).differences
    assert difference.startswith("table k.t cannot be compared or created: a type is missing")


@pytest.mark.parametrize(
    ("executed", "loaded", "same"),
    [
        (
            "CREATE KEYSPACE k WITH replication = {'class': 'N', 'dc2': '1', 'dc1': '3'};",
            "CREATE KEYSPACE k WITH replication = {'class': 'N', 'dc1': '3', 'dc2': '1'};",
            True,
        ),
        (
            "CREATE KEYSPACE k WITH replication = {'class': 'N', 'dc2': '1', 'dc1': '3'};",
            "CREATE KEYSPACE k WITH replication = {'class': 'N', 'dc1': '1', 'dc2': '3'};",
            False,
        ),
        (
            "ALTER TABLE k.t DROP c USING TIMESTAMP 1589286942065123;",
            "ALTER TABLE k.t DROP c USING TIMESTAMP 1589286942065000;",
            True,
        ),
        (
            "ALTER TABLE k.t DROP c USING TIMESTAMP 1589286942065123;",
            "ALTER TABLE k.t DROP c USING TIMESTAMP 1589286942065;",
            True,
        ),
        (
            "ALTER TABLE k.t DROP c USING TIMESTAMP 1589286942065123;",
            "ALTER TABLE k.t DROP c USING TIMESTAMP 1589286942066000;",
            False,
        ),
        ("AS $$ return f(a, b); $$;", "AS $$ return f(b, a); $$;", False),
    ],
)
def test_digest_is_that_of_the_schema_not_of_who_describes_it(
    executed: str, loaded: str, same: bool
) -> None:
    """The node that executed a statement describes it from memory, the others as it is stored."""
    digests = {
        keyspaces_digest([SchemaRow("k", "keyspace", "k", text)], ["k"])
        for text in (executed, loaded)
    }
    assert len(digests) == (1 if same else 2)

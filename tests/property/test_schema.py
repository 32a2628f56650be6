# SPDX-License-Identifier: Apache-2.0
"""Schemas with hostile strings, bodies, comments and names: nothing in them is changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from magnetodb_backup.domain.schema.cql_text import rewritten
from magnetodb_backup.domain.schema.cql_tokens import TokenKind, tokenize
from magnetodb_backup.domain.schema.planner import (
    Statement,
    Target,
    plan_schema,
    split_statements,
    table_options,
)
from magnetodb_backup.domain.tables import TableName, quote
from magnetodb_backup.errors import FormatProblem
from tests.property.manifests import names

_PIECES = ["'", '"', "$$", "$", ";", "--", "//", "/*", "*/", "\n\n", " ", "ks.t", "ks", ".", "WITH"]
_PIECES += ["CREATE TABLE ks.t (a int PRIMARY KEY);", " ID = ", " AND ", "(", ")", "{", "}", "é"]
hostile = st.lists(st.sampled_from(_PIECES), max_size=8).map("".join)
literals = hostile.map(lambda text: "'" + text.replace("'", "''") + "'")
bodies = hostile.map(lambda text: "$$" + text.replace("$$", "").rstrip("$") + "$$")
comments = hostile.map(lambda text: f"/*{text.replace('*/', '').rstrip('*')} */")
keyspaces = st.just("ks") | names
IDS = st.uuids().map(str)


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    keyspace, name, table = draw(keyspaces), draw(names), draw(names)
    ks, nm, tb = quote(keyspace), quote(name), quote(table)
    literal = draw(literals)
    kind, text = draw(
        st.sampled_from(
            [
                ("keyspace", f"CREATE KEYSPACE {ks} WITH x = {{'class': {literal}}};"),
                ("type", f"CREATE TYPE {ks}.{nm} (\n    a frozen<{tb}>\n);"),
                ("function", f"CREATE FUNCTION {ks}.{nm}(a int)\n    AS {draw(bodies)};"),
                ("aggregate", f"CREATE AGGREGATE {ks}.{nm}(int)\n    INITCOND {literal};"),
                (
                    "table",
                    f"CREATE TABLE {ks}.{tb} (\n    {nm} int PRIMARY KEY\n) "
                    f"WITH ID = {draw(IDS)}\n    AND comment = {literal} {draw(comments)};",
                ),
                ("alter", f"ALTER TABLE {ks}.{tb} DROP {nm} USING TIMESTAMP 1;"),
                ("index", f"CREATE CUSTOM INDEX {nm} ON {ks}.{tb} (c) USING {literal};"),
                (
                    "view",
                    f"CREATE MATERIALIZED VIEW {ks}.{nm} AS\n    SELECT *\n    FROM {ks}.{tb}\n"
                    f"    WHERE a = {literal}\n    PRIMARY KEY (a)\n WITH comment = {literal};",
                ),
            ]
        )
    )
    if kind in ("table", "alter"):
        name = table
    elif kind == "keyspace":
        name = keyspace
    has_table = kind in ("table", "alter", "index", "view")
    return Statement(text, kind, keyspace, name, table if has_table else "")


def _untouchable(text: str) -> list[str]:
    kinds = (TokenKind.STRING, TokenKind.COMMENT)
    return [t.text for t in tokenize(text) if t.kind in kinds]


@given(st.lists(statements(), max_size=6), st.lists(comments, min_size=1))
def test_what_was_joined_is_split_again(made: list[Statement], between: list[str]) -> None:
    assert split_statements("\n\n".join(s.text for s in made) + "\n") == tuple(made)
    with_comments = "\n".join(f"{between[n % len(between)]}{s.text}" for n, s in enumerate(made))
    assert split_statements(with_comments) == tuple(made)


@given(st.text() | hostile)
def test_tokens_make_up_the_text(text: str) -> None:
    try:
        tokens = tokenize(text)
    except FormatProblem:
        return
    assert "".join(t.text for t in tokens) == text


@given(statements(), names, names, names, st.booleans())
def test_renaming_changes_names_only(
    statement: Statement, keyspace: str, table: str, index: str, keep_id: bool
) -> None:
    result = rewritten(
        statement,
        keyspace=lambda k: keyspace if k == statement.keyspace else k,
        table=table,
        index=index,
        keep_id=keep_id,
    )
    assert _untouchable(result.text) == _untouchable(statement.text)
    assert (result.kind, result.keyspace) == (statement.kind, keyspace)
    assert result.table == (table if statement.table else "")
    assert (" ID = " in "".join(_code(result.text))) == (statement.kind == "table" and keep_id)
    assert split_statements(result.text) == (result,)


def _code(text: str) -> list[str]:
    return [t.text for t in tokenize(text) if t.kind not in (TokenKind.STRING, TokenKind.COMMENT)]


@given(statements(), names, names, names)
def test_renaming_back_gives_the_same_names(
    statement: Statement, keyspace: str, table: str, index: str
) -> None:
    there = rewritten(statement, keyspace=lambda _: keyspace, table=table, index=index)
    back = rewritten(
        there,
        keyspace=lambda _: statement.keyspace,
        table=statement.table,
        index=statement.name,
    )
    assert back == statement


@given(keyspaces, names, literals, keyspaces, names)
def test_a_table_goes_anywhere_with_its_comment(
    keyspace: str, table: str, literal: str, to_keyspace: str, to_table: str
) -> None:
    source, target = TableName(keyspace, table), TableName(to_keyspace, to_table)
    backup = (
        f"CREATE KEYSPACE {quote(keyspace)} WITH a = 1;\n\n"
        f"CREATE TABLE {source} (\n    a int PRIMARY KEY\n) WITH comment = {literal}\n"
        "    AND gc_grace_seconds = 7;\n"
    )
    plan = plan_schema(backup, "", [Target(source, target)])
    assert plan.differences == ()
    options = table_options(plan.create, target)
    assert options == {"comment": literal, "gc_grace_seconds": "7"}
    made = "\n\n".join(s.text for s in plan.create)
    again = plan_schema(backup, made, [Target(source, target)])
    assert (again.create, again.differences, again.notes) == ((), (), ())

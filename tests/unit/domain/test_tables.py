# SPDX-License-Identifier: Apache-2.0
"""Names as users type them and as Cassandra has them; descriptions of a schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from magnetodb_backup.domain.tables import (
    ClusterSchema,
    KeyspaceDescription,
    Selection,
    TableDescription,
    TableName,
    check_name,
    parse_name,
    quote,
)
from magnetodb_backup.errors import InvalidValue

TABLE_ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("name", ["a", "A", "0", "_", "Mixed_Case_7", "x" * 222])
def test_names_that_cassandra_could_have(name: str) -> None:
    assert check_name(name, "table") == name


@pytest.mark.parametrize(
    "name", ["", "x" * 223, "a b", "a-b", "a.b", "..", "a/b", "a\0", "a\n", 'a"b', "ä", "٣", "-t"]
)
def test_other_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        check_name(name, "table")
    assert f"{name!r} is not a table name" in str(raised.value)
    assert "letters, digits and underscores" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("plain_1", "plain_1"),
        ("Mixed", '"Mixed"'),
        ("1st", '"1st"'),
        ("_x", '"_x"'),
        ("order", '"order"'),
        ("token", '"token"'),
        ("orders", "orders"),
        ("type", "type"),
    ],
)
def test_quote(name: str, quoted: str) -> None:
    assert quote(name) == quoted


@pytest.mark.parametrize(
    ("text", "name"), [("ks", "ks"), ("Ks", "Ks"), ('"Ks"', "Ks"), (" ks ", "ks"), (' "k" ', "k")]
)
def test_plain_and_quoted_names_keep_their_case(text: str, name: str) -> None:
    assert parse_name(text) == name


@pytest.mark.parametrize("text", ["", " ", '""', '"', 'a"', '"a', '"a"b', "a.b", "a b", '"a b"'])
def test_malformed_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not a keyspace name"):
        parse_name(text)


@pytest.mark.parametrize(
    ("text", "keyspace", "table"),
    [
        ("ks.t", "ks", "t"),
        ("Ks.T", "Ks", "T"),
        ('"Ks".t', "Ks", "t"),
        ('ks."T"', "ks", "T"),
        (' "Ks"."T" ', "Ks", "T"),
    ],
)
def test_table_names(text: str, keyspace: str, table: str) -> None:
    assert TableName.parse(text) == TableName(keyspace, table)


@pytest.mark.parametrize(
    "text",
    ["", "t", "ks.", ".t", "ks..t", "a.b.c", '"ks.t"', 'a"."b', 'ks."t', '"a"b.c', "ks t", "ks;t"],
)
def test_what_is_no_table_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        TableName.parse(text)
    assert f"{text!r} is not a table; write keyspace.table" in str(raised.value)


@pytest.mark.parametrize(("text", "what"), [("a-b.t", "keyspace"), ('ks."a.b"', "table")])
def test_a_wrong_part_is_named(text: str, what: str) -> None:
    with pytest.raises(InvalidValue, match=f"is not a {what} name"):
        TableName.parse(text)


def test_tables_are_ordered_by_keyspace_first() -> None:
    names = [TableName("b", "a"), TableName("a", "b"), TableName("a", "a")]
    assert [str(n) for n in sorted(names)] == ["a.a", "a.b", "b.a"]
    assert str(TableName("Ks", "t")) == '"Ks".t'


@pytest.mark.parametrize("is_view", [False, True])
def test_table_descriptions_survive_json(is_view: bool) -> None:
    table = TableDescription(TableName("Ks", "t"), TABLE_ID, is_view)
    assert TableDescription.from_json(json.loads(json.dumps(table.as_json()))) == table


@pytest.mark.parametrize(
    "change",
    [
        {"id": TABLE_ID[:-1]},
        {"id": TABLE_ID.upper()},
        {"id": "../" + TABLE_ID[3:]},
        {"keyspace": "../etc"},
        {"table": "a/b"},
    ],
    ids=str,
)
def test_descriptions_from_outside_are_checked(change: dict[str, Any]) -> None:
    table = TableDescription(TableName("ks", "t"), TABLE_ID).as_json()
    with pytest.raises(InvalidValue, match=r"is not a (table ID|keyspace name|table name)"):
        TableDescription.from_json({**table, **change})


@pytest.mark.parametrize(
    ("keyspace", "local", "system"),
    [
        (KeyspaceDescription("system", {"class": "o.a.c.locator.LocalStrategy"}), True, True),
        (KeyspaceDescription("system_auth", {"class": "SimpleStrategy"}), False, True),
        (KeyspaceDescription("systematic", {"class": "SimpleStrategy"}), False, False),
        (KeyspaceDescription("system_reports", {"class": "SimpleStrategy"}), False, False),
        (KeyspaceDescription("system_cluster_metadata", {"class": "MetaStrategy"}), False, True),
        (KeyspaceDescription("system_later", virtual=True), False, True),
        (KeyspaceDescription("system_later", {"class": "LocalStrategy"}), True, True),
        (KeyspaceDescription("mine"), False, False),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_kinds_of_keyspaces(keyspace: KeyspaceDescription, local: bool, system: bool) -> None:
    assert (keyspace.is_local, keyspace.is_system) == (local, system)


def test_tables_of_a_keyspace_are_its_own() -> None:
    tables = tuple(TableDescription(TableName(k, "t"), TABLE_ID) for k in ("ks", "Ks", "ks2", "ks"))
    catalogue = ClusterSchema((), tables)
    assert catalogue.tables_of("ks") == (tables[0], tables[3])
    assert catalogue.tables_of("absent") == ()


def test_selections_survive_json() -> None:
    selection = Selection(
        (
            KeyspaceDescription("Empty", {"class": "NetworkTopologyStrategy", "dc1": "3"}),
            KeyspaceDescription("system_auth", {"class": "SimpleStrategy"}),
        ),
        (TableDescription(TableName("system_auth", "roles"), TABLE_ID),),
    )
    document = json.loads(json.dumps(selection.as_json()))
    assert [(k["name"], k["system"]) for k in document["keyspaces"]] == [
        ("Empty", False),
        ("system_auth", True),
    ]
    assert Selection.from_json(document) == selection


@pytest.mark.parametrize(
    "change",
    [
        {"keyspaces": {}},
        {"tables": None},
        {"keyspaces": [{"name": "../x", "replication": {}}]},
        {"tables": [{"keyspace": "ks", "table": "t", "id": "short"}]},
    ],
    ids=str,
)
def test_selections_from_outside_are_checked(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"needs the lists|is not a (table ID|keyspace name)"):
        Selection.from_json({"keyspaces": [], "tables": [], **change})

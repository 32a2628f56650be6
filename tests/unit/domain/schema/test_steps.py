# SPDX-License-Identifier: Apache-2.0
"""Which statements come before the rows and which behind; what counts as carried out."""

from __future__ import annotations

import json

import pytest

from magnetodb_backup.domain.schema.cql_text import Statement, split_statements
from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.schema.planner import Target, plan_schema
from magnetodb_backup.domain.schema.steps import (
    has_other_id,
    is_carried_out,
    is_sai,
    names_of,
    schema_steps,
    statements_by_table,
)
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.tasks.codec import encode
from tests.unit.domain.describes import (
    ALTERS,
    CASSANDRA_50,
    FUNCTIONS,
    INDEXES,
    KEYSPACE,
    ORDERS,
    ORDERS_ID,
    TYPES,
    VIEW,
    described,
)

NAME = TableName("shop", "orders")
LEGACY_INDEX, SAI_INDEX = (s.text for s in split_statements(INDEXES))
PLAN = plan_schema(CASSANDRA_50, "", [Target(NAME, NAME)], ["shop"])
CREATE = [s.text for s in PLAN.create]
VIEWS = [s.text for s in PLAN.views]
OTHER_VIEW = VIEW.replace("SELECT id, at", "SELECT at, id")


def one(text: str) -> Statement:
    (statement,) = split_statements(text)
    return statement


@pytest.mark.parametrize(
    ("text", "sai"),
    [
        ("CREATE CUSTOM INDEX i ON k.t (c) USING 'sai';", True),
        ("CREATE CUSTOM INDEX i ON k.t (c) USING 'StorageAttachedIndex';", True),
        (
            "CREATE CUSTOM INDEX i ON k.t (values(c)) using "
            "'org.apache.cassandra.index.sai.StorageAttachedIndex' WITH OPTIONS = {'a': 'b'};",
            True,
        ),
        ("CREATE INDEX i ON k.t (c);", False),
        ("CREATE INDEX i ON k.t (c) USING 'legacy_local_table';", False),
        ("CREATE CUSTOM INDEX i ON k.t (c) USING 'org.example.Sai';", False),
        ("CREATE CUSTOM INDEX i ON k.t (c) USING 'x' WITH OPTIONS = {'USING': 'sai'};", False),
        ("CREATE TABLE k.sai (id int PRIMARY KEY) WITH comment = 'USING sai';", False),
    ],
)
def test_storage_attached_indexes_are_known(text: str, sai: bool) -> None:
    assert is_sai(one(text)) is sai


def test_an_import_makes_all_indexes_before_and_views_after() -> None:
    steps = schema_steps(CREATE, VIEWS, [], [], streamed=[])
    assert steps.before == tuple(CREATE)
    assert steps.after == tuple(VIEWS)
    assert steps.drop == ()


def test_rows_are_streamed_before_there_are_storage_attached_indexes() -> None:
    steps = schema_steps(CREATE, VIEWS, [], [], streamed=[NAME])
    assert steps.before == tuple(t for t in CREATE if t != SAI_INDEX)
    assert LEGACY_INDEX in steps.before
    assert steps.after == (SAI_INDEX, *VIEWS)
    assert steps.drop == ()


def test_present_storage_attached_indexes_are_dropped_and_made_again() -> None:
    other = "CREATE CUSTOM INDEX other ON shop.customers (mail) USING 'sai';"
    steps = schema_steps([], VIEWS, [SAI_INDEX, other], [OTHER_VIEW], streamed=[NAME])
    assert steps.before == ()
    assert steps.drop == (("shop", "By_Note"),)
    assert steps.after == (SAI_INDEX, OTHER_VIEW), "the view that is there wins"
    assert names_of(steps.after, "view") == [("shop", "orders_by_line")]
    assert names_of(steps.after, "index") == [("shop", "By_Note")]
    assert schema_steps([], [], [SAI_INDEX], [], streamed=[]).drop == ()


def test_what_a_step_keeps_is_json() -> None:
    steps = schema_steps(CREATE, VIEWS, [SAI_INDEX], [], streamed=[NAME])
    assert json.loads(json.dumps(encode(steps))) == {
        "before": list(steps.before),
        "after": list(steps.after),
        "drop": [["shop", "By_Note"]],
        "skipped": [],
    }


def test_nothing_is_carried_out_in_an_empty_cluster() -> None:
    statements = [one(text) for text in (*CREATE, *VIEWS)]
    assert {s.kind for s in statements} == {
        "keyspace", "type", "function", "aggregate", "table", "alter", "index", "view"
    }  # fmt: skip
    assert not any(is_carried_out(s, Schema.read("")) for s in statements)


def test_everything_is_carried_out_in_the_same_schema() -> None:
    present = Schema.read(CASSANDRA_50)
    assert all(is_carried_out(one(text), present) for text in (*CREATE, *VIEWS))


def test_after_any_number_of_statements_exactly_those_are_carried_out() -> None:
    for done in range(len(CREATE) + 1):
        present = Schema.read("\n".join(CREATE[:done]))
        assert [is_carried_out(one(text), present) for text in CREATE] == [
            i < done for i in range(len(CREATE))
        ]


def test_functions_are_told_apart_by_their_arguments() -> None:
    first, second, _ = split_statements(FUNCTIONS)
    present = Schema.read(described(KEYSPACE, TYPES, first.text))
    assert is_carried_out(first, present)
    assert not is_carried_out(second, present)


def test_an_index_of_another_table_does_not_count() -> None:
    present = Schema.read("CREATE INDEX by_customer ON shop.other (customer);")
    assert not is_carried_out(one(LEGACY_INDEX), present)


def test_other_statements_are_never_carried_out() -> None:
    present = Schema.read(described(f"{ORDERS}\n{ALTERS}"))
    assert not is_carried_out(one("DROP TABLE shop.orders;"), present)
    assert not is_carried_out(one("ALTER TABLE shop.orders WITH comment = 'x';"), present)
    assert not is_carried_out(one("ALTER TABLE shop.other DROP gone;"), present)


def test_a_table_of_somebody_else_has_another_id() -> None:
    table = one(ORDERS)
    other = ORDERS.replace(ORDERS_ID, "99999999-f31d-3123-8d1b-41e1c4b4d7f0")
    assert has_other_id(table, Schema.read(other))
    assert not has_other_id(table, Schema.read(ORDERS))
    assert not has_other_id(table, Schema.read(""))
    without = one("CREATE TABLE shop.orders (id int PRIMARY KEY);")
    assert not has_other_id(without, Schema.read(ORDERS))
    assert not has_other_id(one(VIEW), Schema.read(CASSANDRA_50))


def test_late_statements_are_told_by_table() -> None:
    found = statements_by_table([SAI_INDEX, *VIEWS, 'CREATE INDEX ON "K"."T" (c);'])
    assert found == {"shop.orders": [SAI_INDEX, *VIEWS], "K.T": ['CREATE INDEX ON "K"."T" (c);']}

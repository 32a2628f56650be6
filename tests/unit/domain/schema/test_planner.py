# SPDX-License-Identifier: Apache-2.0
"""Schemas of a restore: what is made where the target lacks it."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.schema.planner import (
    SchemaPlan,
    Target,
    plan_schema,
    split_statements,
    table_options,
)
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import InvalidValue
from tests.unit.domain.describes import (
    ALTERS,
    CASSANDRA_41,
    CASSANDRA_50,
    CUSTOMERS_ID,
    FUNCTIONS,
    INDEXES,
    KEYSPACE,
    MASKED,
    ORDERS,
    ORDERS_ID,
    TYPES,
    VIEW,
    described,
)

ADDRESS, LINE, UNUSED = TYPES.split("\n\n")
ADD_INT, ADD_BIGINT, TOTAL = (s.text for s in split_statements(FUNCTIONS))
BY_CUSTOMER, BY_NOTE = INDEXES.split("\n\n")


def target(source: str, name: str = "") -> Target:
    return Target(TableName.parse(source), TableName.parse(name or source))


def texts(plan: SchemaPlan) -> list[str]:
    assert plan.differences == ()
    return [s.text for s in plan.create]


@pytest.mark.parametrize("backup", [CASSANDRA_41, CASSANDRA_50], ids=["4.1", "5.0"])
def test_a_missing_table_is_made_with_all_that_it_needs(backup: str) -> None:
    plan = plan_schema(backup, "", [target("shop.orders")])
    table = next(s.text for s in split_statements(backup) if s.name == "orders")
    assert f"ID = {ORDERS_ID}" in table
    assert texts(plan) == [
        KEYSPACE, LINE, ADDRESS, table, *ALTERS.split("\n"), BY_CUSTOMER, BY_NOTE
    ]  # fmt: skip
    assert [s.text for s in plan.views] == [VIEW]
    assert plan.notes == ()


def test_what_the_target_has_is_not_made_again() -> None:
    present = described(KEYSPACE, LINE)
    plan = plan_schema(CASSANDRA_41, present, [target("shop.orders")])
    assert texts(plan) == [ADDRESS, ORDERS, *ALTERS.split("\n"), BY_CUSTOMER, BY_NOTE]


def test_a_complete_target_needs_nothing() -> None:
    plan = plan_schema(CASSANDRA_50, CASSANDRA_50, [target("shop.orders")], ["shop"])
    assert texts(plan) == []
    assert plan.notes == ()


def test_a_whole_keyspace_has_all_its_types_and_functions() -> None:
    plan = plan_schema(CASSANDRA_41, "", [target("shop.orders")], ["shop"])
    assert sorted(texts(plan)[:7]) == sorted(
        [KEYSPACE, LINE, ADDRESS, UNUSED, ADD_INT, ADD_BIGINT, TOTAL]
    )
    assert [s.kind for s in plan.create[:8]] == [
        "keyspace", "type", "type", "type", "function", "function", "aggregate", "table"
    ]  # fmt: skip


def test_a_whole_keyspace_without_tables() -> None:
    backup = described(KEYSPACE, TOTAL, ADD_INT, LINE)
    assert texts(plan_schema(backup, "", [], ["shop"])) == [KEYSPACE, LINE, ADD_INT, TOTAL]
    present = described(KEYSPACE, LINE, ADD_BIGINT)
    assert texts(plan_schema(backup, present, [], ["shop"])) == [ADD_INT, TOTAL]


def test_masking_functions_are_made_for_their_table() -> None:
    plan = plan_schema(CASSANDRA_50, "", [target("shop.customers")])
    assert texts(plan) == [KEYSPACE, LINE, ADD_INT, ADD_BIGINT, MASKED]


def test_another_keyspace() -> None:
    plan = plan_schema(
        CASSANDRA_50, described(KEYSPACE), [target("shop.customers", '"Sh".customers')], ["shop"]
    )
    expected = [
        s.replace("shop WITH", '"Sh" WITH')
        .replace("TYPE shop.", 'TYPE "Sh".')
        .replace("CREATE FUNCTION shop.", 'CREATE FUNCTION "Sh".')
        .replace("AGGREGATE shop.", 'AGGREGATE "Sh".')
        .replace("TABLE shop.", 'TABLE "Sh".')
        .replace("WITH shop.plus()", 'WITH "Sh".plus()')
        .replace(f"ID = {CUSTOMERS_ID}\n    AND ", "")
        for s in (KEYSPACE, LINE, ADD_INT, ADD_BIGINT, ADDRESS, UNUSED, TOTAL, MASKED)
    ]
    assert sorted(texts(plan)) == sorted(expected)
    assert [s.keyspace for s in plan.create] == ["Sh"] * 8
    assert plan.differences == ()


def test_another_table_in_the_same_keyspace() -> None:
    plan = plan_schema(CASSANDRA_41, CASSANDRA_41, [target("shop.orders", "shop.order")])
    table = ORDERS.replace("shop.orders (", 'shop."order" (').replace(
        f"ID = {ORDERS_ID}\n    AND ", ""
    )
    assert texts(plan) == [
        table,
        *ALTERS.replace("shop.orders", 'shop."order"').split("\n"),
        'CREATE INDEX order_by_customer ON shop."order" (customer);',
        BY_NOTE.replace('"By_Note" ON shop.orders', '"order_By_Note" ON shop."order"'),
    ]
    assert [s.name for s in plan.create] == ["order"] * 4 + ["order_by_customer", "order_By_Note"]
    assert plan.views == ()
    (note,) = plan.notes
    assert "view shop.orders_by_line is not restored" in note


def test_long_index_names_stay_short_and_different() -> None:
    names = ["i" * 221, "i" * 220 + "j"]
    indexes = [f"CREATE INDEX {n} ON shop.orders (customer);" for n in names]
    backup = described(KEYSPACE, TYPES, ORDERS, *indexes)
    plan = plan_schema(backup, backup, [target("shop.orders", "shop.copy")])
    found = [s.name for s in plan.create if s.kind == "index"]
    assert len(set(found)) == 2
    assert all(n.startswith("copy_iii") and len(n) < 222 for n in found)


def test_an_index_name_that_another_table_has_is_prefixed() -> None:
    present = described(
        KEYSPACE.replace("shop", "other"),
        "CREATE TABLE other.t (customer int PRIMARY KEY) WITH cdc = false;",
        "CREATE INDEX by_customer ON other.t (customer);",
    )
    plan = plan_schema(CASSANDRA_41, present, [target("shop.orders", "other.orders")])
    assert [s.name for s in plan.create if s.kind == "index"] == ["orders_by_customer", "By_Note"]


def test_an_id_that_another_table_has_is_not_taken() -> None:
    present = described(KEYSPACE, TYPES, ORDERS.replace("shop.orders", "shop.moved"))
    plan = plan_schema(CASSANDRA_41, present, [target("shop.orders")])
    assert ORDERS.replace(f"ID = {ORDERS_ID}\n    AND ", "") == texts(plan)[0]
    assert plan.notes == ("table shop.orders gets a new ID, as shop.moved has its old one",)


def test_one_table_to_two_targets_and_two_to_one() -> None:
    both = [target("shop.orders"), target("shop.orders", "b.orders")]
    plan = plan_schema(CASSANDRA_41, "", both)
    assert [str(TableName(s.keyspace, s.name)) for s in plan.create if s.kind == "table"] == [
        "shop.orders", "b.orders"
    ]  # fmt: skip
    same = [target("shop.orders"), target("shop.customers", "shop.orders")]
    plan = plan_schema(CASSANDRA_50, "", same)
    assert plan.differences == ("table shop.orders is the target of several tables",)


def test_triggers_are_left_to_the_operator() -> None:
    backup = CASSANDRA_41 + "CREATE TRIGGER \"T\" ON shop.orders USING 'x.Y';\n"
    plan = plan_schema(backup, "", [target("shop.orders")])
    assert all(s.kind != "trigger" for s in plan.create)
    assert plan.notes == ('table shop.orders: trigger "T" is not restored; make it by hand',)


def test_a_table_that_cql_cannot_make_is_refused_by_name() -> None:
    plan = plan_schema(CASSANDRA_41, CASSANDRA_50, [target("shop.legacy")])
    assert plan.create == ()
    (difference,) = plan.differences
    assert "table shop.legacy does not exist, and CQL cannot make it" in difference


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shop.nothing", "table shop.nothing is not in the backup's schema"),
        ("shop.orders_by_line", "table shop.orders_by_line is a materialized view in the backup's"),
        ("system.local", None),
        ("system_auth.roles", None),
    ],
)
def test_tables_that_the_backup_does_not_make(name: str, message: str | None) -> None:
    plan = plan_schema(CASSANDRA_41, CASSANDRA_41, [target(name)], [name.partition(".")[0]])
    assert plan.create == ()
    if message:
        assert message in plan.differences[0]
    else:
        assert plan.differences == ()
        assert plan.notes == (f"table {name} is Cassandra's own; its structure is not compared",)


def test_a_keyspace_that_the_backup_lacks_is_named_once() -> None:
    backup = described(ORDERS, MASKED, LINE, ADDRESS)
    plan = plan_schema(backup, "", [target("shop.orders"), target("shop.customers")])
    assert plan.differences == ("keyspace shop is not in the backup's schema",)


def test_names_and_schemas_from_outside_are_checked() -> None:
    wrong = Target(TableName("shop", "orders"), TableName("shop", 'x" (a int); DROP'))
    with pytest.raises(InvalidValue, match="is not a table name"):
        plan_schema(CASSANDRA_41, "", [wrong])


def test_options_of_a_table() -> None:
    statements = split_statements(CASSANDRA_41)
    options = table_options(statements, TableName("shop", "orders"))
    assert options["gc_grace_seconds"] == "864000"
    assert options["id"] == ORDERS_ID
    assert options["crc_check_chance"] == "1.0E-4"
    assert options["caching"] == "{'keys': 'ALL', 'rows_per_partition': 'NONE'}"
    assert options["comment"].endswith("isn''t closed -- /* '")
    assert table_options(statements, TableName("shop", "Orders")) == {}

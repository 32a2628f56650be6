# SPDX-License-Identifier: Apache-2.0
"""Objects of the schema that a restore leaves out as requested."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.schema.planner import Target, plan_schema
from magnetodb_backup.domain.schema.skips import Skip, Skips, broken_without, leave_out
from magnetodb_backup.domain.schema.steps import SchemaSteps, schema_steps
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import InvalidValue
from tests.unit.domain.describes import CASSANDRA_50

ORDERS, CUSTOMERS = TableName("shop", "orders"), TableName("shop", "customers")


def _steps(table: TableName = ORDERS, *, streamed: bool = False) -> SchemaSteps:
    plan = plan_schema(CASSANDRA_50, "", [Target(table, table)], ["shop"])
    create, views = ([s.text for s in each] for each in (plan.create, plan.views))
    return schema_steps(create, views, [], [], {table} if streamed else ())


@pytest.mark.parametrize(
    ("text", "skip"),
    [
        ("index=by_v", Skip("index", "", "by_v")),
        ("view=shop.by_v", Skip("view", "shop", "by_v")),
        ('index="Shop"."By_V"', Skip("index", "Shop", "By_V")),
        ("function=shop.f", Skip("function", "shop", "f")),
        ("trigger=t", Skip("trigger", "", "t")),
    ],
)
def test_what_may_be_skipped(text: str, skip: Skip) -> None:
    assert Skip.parse(text) == skip


@pytest.mark.parametrize("text", ["", "index", "index=", "table=t", "by_v", "view=shop.", "=x"])
def test_what_does_not_say_what_to_skip(text: str) -> None:
    with pytest.raises(InvalidValue, match="write index=NAME, view=NAME, function=NAME or"):
        Skip.parse(text)


@pytest.mark.parametrize("streamed", [False, True])
def test_skipped_objects_are_not_created(streamed: bool) -> None:
    options = ['index="By_Note"', "view=shop.orders_by_line", "function=plus", "function=total"]
    skips = Skips.parse([*options, "view=other.orders_by_line"])
    steps, left_out = leave_out(_steps(streamed=streamed), skips)
    assert {(s.kind, s.name) for s in left_out} == {
        ("index", "By_Note"), ("view", "orders_by_line"), ("function", "plus"),
        ("aggregate", "total"),
    }  # fmt: skip
    assert steps.after == ()
    assert not any("FUNCTION" in text or "By_Note" in text for text in steps.before)
    assert any("by_customer" in text for text in steps.before)
    assert skips.unused() == ("view=other.orders_by_line",)
    assert broken_without(left_out, steps.before) == []


def test_what_needs_a_skipped_function_is_named() -> None:
    steps, left_out = leave_out(_steps(CUSTOMERS), Skips.parse(["function=shop.plus"]))
    aggregate, table = sorted(set(broken_without(left_out, steps.before)))
    assert aggregate == (
        "aggregate shop.total needs the function shop.plus, which --skip leaves out; say --skip "
        "function=shop.total too"
    )
    assert table.startswith("table shop.customers needs the function shop.plus, which --skip")

# SPDX-License-Identifier: Apache-2.0
"""The scope ``tables``."""

from __future__ import annotations

from typing import Any

import pytest

from magnetodb_backup.errors import InvalidValue, UnknownTable
from magnetodb_backup.scopes.tables import Tables
from tests.unit.scopes.cluster_schema import SCHEMA, keyspaces, tables


def select(*names: str) -> tuple[list[str], list[str]]:
    selection = Tables({"tables": list(names)}).select(SCHEMA)
    return keyspaces(selection), tables(selection)


def test_tables_of_several_keyspaces_in_order_and_once() -> None:
    assert select("orders.lines", "accounts.people", "orders.heads", "orders.lines") == (
        ["accounts", "orders"],
        ["accounts.people", "orders.heads", "orders.lines"],
    )


def test_a_materialized_view_can_be_selected() -> None:
    assert select("orders.by_day") == (["orders"], ["orders.by_day"])


@pytest.mark.parametrize("name", ["Accounts.People", '"Accounts"."People"', '"Accounts".People'])
def test_case_decides_with_and_without_quotes(name: str) -> None:
    assert select(name) == (["Accounts"], ['"Accounts"."People"'])


def test_every_unknown_table_is_named_with_a_hint_where_only_the_case_differs() -> None:
    with pytest.raises(UnknownTable) as raised:
        select("orders.lines", "orders.LINES", "accounts.People", "orders.absent")
    assert str(raised.value) == (
        "table orders.\"LINES\" does not exist (did you mean 'lines'?); "
        "table accounts.\"People\" does not exist (did you mean 'people'?); "
        "table orders.absent does not exist"
    )


def test_hints_come_from_the_same_keyspace_only() -> None:
    with pytest.raises(UnknownTable) as raised:
        select("orders.people")
    assert str(raised.value) == "table orders.people does not exist"


def test_an_unknown_keyspace_is_named_once() -> None:
    with pytest.raises(UnknownTable) as raised:
        select("Orders.lines", "Orders.heads")
    assert str(raised.value) == "keyspace 'Orders' does not exist (did you mean 'orders'?)"


@pytest.mark.parametrize("name", ["system.local", "system_views.clients"])
def test_tables_of_local_and_virtual_keyspaces_are_refused(name: str) -> None:
    with pytest.raises(UnknownTable, match=r"cannot be backed up"):
        select("orders.lines", name)


@pytest.mark.parametrize(
    "parameters", [{}, {"tables": []}, {"tables": "orders.lines"}, {"tables": [None]}], ids=str
)
def test_a_list_of_names_is_needed(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"'tables' needs 'tables': a list of at least one name"):
        Tables(parameters)


def test_other_parameters_are_refused() -> None:
    with pytest.raises(InvalidValue, match=r"'tables' has only tables; remove keyspace$"):
        Tables({"tables": ["orders.lines"], "keyspace": "orders"})


@pytest.mark.parametrize("name", ["lines", "orders.", "a.b.c", "orders.li-nes"])
def test_impossible_names_are_refused_before_the_cluster_is_asked(name: str) -> None:
    with pytest.raises(InvalidValue, match=r"is not a table"):
        Tables({"tables": ["orders.lines", name]})

# SPDX-License-Identifier: Apache-2.0
"""The scope ``keyspaces``."""

from __future__ import annotations

from typing import Any

import pytest

from magnetodb_backup.errors import EmptySelection, InvalidValue, UnknownTable
from magnetodb_backup.scopes.keyspaces import Keyspaces
from tests.unit.scopes.cluster_schema import SCHEMA, keyspaces, tables


def select(*names: str) -> tuple[list[str], list[str]]:
    selection = Keyspaces({"keyspaces": list(names)}).select(SCHEMA)
    return keyspaces(selection), tables(selection)


def test_one_keyspace_with_all_its_tables() -> None:
    assert select("orders") == (["orders"], ["orders.by_day", "orders.heads", "orders.lines"])


def test_several_keyspaces_in_order_and_once() -> None:
    expected = (
        ["orders", "system_auth"],
        ["orders.by_day", "orders.heads", "orders.lines", "system_auth.roles"],
    )
    assert select("system_auth", "orders", "system_auth") == expected


@pytest.mark.parametrize("name", ["Accounts", '"Accounts"'])
def test_case_decides_with_and_without_quotes(name: str) -> None:
    assert select(name) == (["Accounts"], ['"Accounts"."People"'])


def test_an_empty_keyspace_is_selected_beside_one_with_tables() -> None:
    assert select("empty", "accounts") == (["accounts", "empty"], ["accounts.people"])


def test_an_empty_keyspace_alone_is_an_error() -> None:
    with pytest.raises(EmptySelection, match=r"nothing to back up: empty has no table"):
        select("empty")


def test_every_unknown_keyspace_is_named_with_a_hint_where_only_the_case_differs() -> None:
    with pytest.raises(UnknownTable) as raised:
        select("orders", "ACCOUNTS", "order", "Orders")
    assert str(raised.value) == (
        "keyspace 'ACCOUNTS' does not exist (did you mean 'Accounts', 'accounts'?); "
        "keyspace 'order' does not exist; "
        "keyspace 'Orders' does not exist (did you mean 'orders'?)"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("system", "'system' is local to each node and cannot be backed up"),
        ("system_schema", "'system_schema' is local to each node"),
        ("system_views", "'system_views' is virtual and cannot be backed up"),
    ],
)
def test_what_cannot_be_backed_up_is_refused(name: str, reason: str) -> None:
    with pytest.raises(UnknownTable, match=reason):
        select("orders", name)


def test_traces_are_backed_up_where_they_are_asked_for() -> None:
    assert select("system_traces") == (["system_traces"], ["system_traces.events"])


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"keyspaces": []},
        {"keyspaces": "orders"},
        {"keyspaces": None},
        {"keyspaces": {"orders": 1}},
        {"keyspaces": ["orders", 5]},
    ],
    ids=str,
)
def test_a_list_of_names_is_needed(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"'keyspaces' needs 'keyspaces': a list of at least"):
        Keyspaces(parameters)


def test_other_parameters_are_refused() -> None:
    with pytest.raises(InvalidValue, match=r"'keyspaces' has only keyspaces; remove tables$"):
        Keyspaces({"keyspaces": ["orders"], "tables": ["orders.lines"]})


@pytest.mark.parametrize("name", ["", "a.b", "../x", 'a"b', "x" * 223])
def test_impossible_names_are_refused_before_the_cluster_is_asked(name: str) -> None:
    with pytest.raises(InvalidValue, match=r"is not a keyspace name"):
        Keyspaces({"keyspaces": ["orders", name]})

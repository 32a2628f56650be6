# SPDX-License-Identifier: Apache-2.0
"""What scopes, also those of other packages, share."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.tables import KeyspaceDescription
from magnetodb_backup.errors import EmptySelection, InvalidValue
from magnetodb_backup.scopes.selecting import backed_up, hint_of, names, only, selection
from tests.unit.scopes.cluster_schema import SCHEMA


def test_a_selection_is_ordered_and_has_each_table_once() -> None:
    lines, heads, roles = (
        next(t for t in SCHEMA.tables if t.name.table == name)
        for name in ("lines", "heads", "roles")
    )
    keyspaces = [KeyspaceDescription("system_auth"), KeyspaceDescription("orders")]
    found = selection(keyspaces, iter([roles, lines, heads, lines]))
    assert found.tables == (heads, lines, roles)
    assert found.keyspaces == (keyspaces[1], keyspaces[0])


def test_a_selection_without_keyspaces_is_that_of_the_cluster() -> None:
    with pytest.raises(EmptySelection, match=r"nothing to back up: the cluster has no table"):
        selection([], [])


def test_only_what_nodes_share_is_backed_up() -> None:
    assert {k.name for k in SCHEMA.keyspaces if not backed_up(k)} == {
        "system",
        "system_schema",
        "system_views",
    }


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ORDERS", " (did you mean 'orders'?)"),
        ("ACCOUNTS", " (did you mean 'Accounts', 'accounts'?)"),
        ("order", ""),
    ],
)
def test_a_hint_is_given_where_only_the_case_differs(name: str, hint: str) -> None:
    assert hint_of(name, [k.name for k in SCHEMA.keyspaces]) == hint


def test_parameters_are_taken_or_refused_by_name() -> None:
    only({"owner": "me"}, "mine", ("owner", "since"))
    with pytest.raises(InvalidValue, match=r"'mine' has only owner, since; remove a, b$"):
        only({"b": 1, "owner": "me", "a": 2}, "mine", ("owner", "since"))
    assert names({"owners": ["x", "y"]}, "mine", "owners") == ["x", "y"]
    with pytest.raises(InvalidValue, match=r"'mine' needs 'owners'"):
        names({"owner": ["x"]}, "mine", "owners")

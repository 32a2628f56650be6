# SPDX-License-Identifier: Apache-2.0
"""The scope ``all``."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.tables import ClusterSchema, KeyspaceDescription
from magnetodb_backup.errors import EmptySelection, InvalidValue
from magnetodb_backup.scopes.all_keyspaces import AllKeyspaces
from tests.unit.scopes.cluster_schema import SCHEMA, keyspaces, tables


def test_all_that_nodes_share_is_selected_in_order() -> None:
    selection = AllKeyspaces({}).select(SCHEMA)
    assert keyspaces(selection) == [
        "Accounts",
        "accounts",
        "empty",
        "orders",
        "system_auth",
        "system_distributed",
    ]
    assert tables(selection) == [
        '"Accounts"."People"',
        "accounts.people",
        "orders.by_day",
        "orders.heads",
        "orders.lines",
        "system_auth.roles",
        "system_distributed.repair_history",
    ]


def test_ids_and_views_are_kept() -> None:
    selection = AllKeyspaces({}).select(SCHEMA)
    by_name = {t.name: t for t in SCHEMA.tables}
    assert all(by_name[t.name] == t for t in selection.tables)
    assert [str(t.name) for t in selection.tables if t.is_view] == ["orders.by_day"]


def test_it_has_no_parameters() -> None:
    with pytest.raises(InvalidValue, match=r"'all' has no parameters; remove keyspaces, tables$"):
        AllKeyspaces({"tables": [], "keyspaces": ["orders"]})


def test_a_cluster_without_tables_is_an_error() -> None:
    local = [k for k in SCHEMA.keyspaces if k.is_local]
    with pytest.raises(EmptySelection, match=r"the cluster has no table; choose another scope"):
        AllKeyspaces({}).select(ClusterSchema(tuple(local), SCHEMA.tables))
    empty = (KeyspaceDescription("empty"), KeyspaceDescription("bare"))
    with pytest.raises(EmptySelection, match=r"bare, empty has no table"):
        AllKeyspaces({}).select(ClusterSchema(empty, ()))

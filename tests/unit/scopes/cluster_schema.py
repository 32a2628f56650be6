# SPDX-License-Identifier: Apache-2.0
"""A cluster's schema with all that a scope has to tell apart."""

from __future__ import annotations

from magnetodb_backup.domain.tables import (
    ClusterSchema,
    KeyspaceDescription,
    Selection,
    TableDescription,
    TableName,
)

_LOCAL = {"class": "org.apache.cassandra.locator.LocalStrategy"}
_SHARED = {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "dc1": "3"}
_KEYSPACES = (
    KeyspaceDescription("orders", _SHARED),
    KeyspaceDescription("system", _LOCAL),
    KeyspaceDescription("system_schema", _LOCAL),
    KeyspaceDescription("system_auth", _SHARED),
    KeyspaceDescription("system_distributed", _SHARED),
    KeyspaceDescription("system_traces", _SHARED),
    KeyspaceDescription("system_views", {}, virtual=True),
    KeyspaceDescription("Accounts", _SHARED),
    KeyspaceDescription("accounts", _SHARED),
    KeyspaceDescription("empty", _SHARED),
)
# In no order at all: Cassandra returns keyspaces by the hash of their name.
_TABLES = (
    "system_traces.events",
    "orders.lines",
    "system.local",
    "system_schema.tables",
    "orders.by_day",
    "Accounts.People",
    "accounts.people",
    "orders.heads",
    "system_views.clients",
    "system_auth.roles",
    "system_distributed.repair_history",
)


def _description(number: int, text: str) -> TableDescription:
    return TableDescription(
        TableName.parse(text), f"{number:032x}", is_view=text == "orders.by_day"
    )


SCHEMA = ClusterSchema(
    _KEYSPACES, tuple(_description(number, text) for number, text in enumerate(_TABLES))
)


def tables(selection: Selection) -> list[str]:
    """Return the names of the selected tables, in order."""
    return [str(table.name) for table in selection.tables]


def keyspaces(selection: Selection) -> list[str]:
    """Return the names of the selected keyspaces, in order."""
    return [keyspace.name for keyspace in selection.keyspaces]

# SPDX-License-Identifier: Apache-2.0
"""The statements that apply a backup's schema to an empty Cassandra of one node."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from magnetodb_backup.domain.schema.cql_structure import read_options
from magnetodb_backup.domain.schema.cql_text import Statement
from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.schema.plan import Target
from magnetodb_backup.domain.schema.planner import plan_schema
from magnetodb_backup.domain.schema.reading import Unreadable
from magnetodb_backup.domain.schema.rows import SchemaRow
from magnetodb_backup.domain.tables import SYSTEM_KEYSPACES, TableName, quote

# Cassandra's own ways to distribute replicas: on one node they cannot be tried.
_DISTRIBUTED = ("SimpleStrategy", "NetworkTopologyStrategy", "EverywhereStrategy")
_KEPT_IN_TRIALS = ("keyspace", "type", "function", "table", "alter")


@dataclass(frozen=True)
class Trial:
    """Statements in the order of a restore, and what has none.

    ``impossible`` has the reason of each such table, ``unreadable`` are other objects.
    """

    statements: tuple[Statement, ...]
    impossible: Mapping[TableName, str]
    unreadable: tuple[Unreadable, ...] = ()


def whole_trial(
    rows: Iterable[SchemaRow], tables: Collection[TableName], keyspaces: Collection[str], dc: str
) -> Trial:
    """Return everything that a restore of these tables and whole keyspaces would create.

    ``dc`` is the name of the data centre of the one node.
    """
    schema = Schema.read(rows)
    own = [name for name in keyspaces if name not in SYSTEM_KEYSPACES]
    wanted = [t for t in tables if t.keyspace not in SYSTEM_KEYSPACES and t not in schema.views]
    plan = plan_schema(schema, Schema(), [Target(t, t) for t in wanted], own)
    trial = _trial((*plan.create, *plan.views), plan.differences, wanted, dc)
    lost = [u for u in schema.unreadable if u.of.keyspace in own and u.of.kind != "table"]
    return replace(trial, unreadable=tuple(lost))


def tables_trial(rows: Iterable[SchemaRow], tables: Collection[TableName], dc: str) -> Trial:
    """Return what is needed so that the SSTables of these tables and views can be read."""
    schema = Schema.read(rows)
    views = {t: schema.views[t] for t in tables if t in schema.views}
    bases = [TableName(view.keyspace, view.table) for view in views.values()]
    own = [t for t in tables if t.keyspace not in SYSTEM_KEYSPACES and t not in views]
    wanted = list(dict.fromkeys((*own, *bases)))
    plan = plan_schema(schema, Schema(), [Target(t, t) for t in wanted])
    create = [s for s in plan.create if s.kind in _KEPT_IN_TRIALS]
    return _trial((*create, *views.values()), plan.differences, wanted, dc)


def _trial(
    statements: Sequence[Statement],
    differences: Sequence[str],
    tables: Sequence[TableName],
    dc: str,
) -> Trial:
    made = {TableName(s.keyspace, s.name) for s in statements if s.kind == "table"}
    impossible = {}
    for table in tables:
        if table not in made:
            reasons = [d for d in differences if str(table) in d] or list(differences)
            impossible[table] = "; ".join(reasons) or "the backup's schema does not have it"
    return Trial(tuple(_on_one_node(s, dc) for s in statements), impossible)


def _on_one_node(statement: Statement, dc: str) -> Statement:
    """Return a keyspace's statement with the one replica that a single node can have."""
    if statement.kind != "keyspace":
        return statement
    replication = read_options(statement).get("replication", "")
    if not any(f"{name}'" in replication for name in _DISTRIBUTED):
        return statement  # a class of the operator's, which may be missing
    text = (
        f"CREATE KEYSPACE {quote(statement.name)} WITH replication = "
        f"{{'class': 'NetworkTopologyStrategy', '{dc}': '1'}};"
    )
    return Statement(text, "keyspace", statement.keyspace, statement.name, statement.table)

# SPDX-License-Identifier: Apache-2.0
"""Grants as statements: Cassandra forgets those on what is dropped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from magnetodb_backup.domain.schema.cql_text import Statement
from magnetodb_backup.domain.schema.rows import SchemaRow
from magnetodb_backup.domain.tables import KeyspaceDescription, TableName, quote

GRANT = "grant"  # the type of a row


@dataclass(frozen=True)
class Granted:
    """A row of ``system_auth.role_permissions``; ``resource`` as Cassandra stores it."""

    role: str
    resource: str
    permissions: tuple[str, ...]


def grant_rows(granted: Iterable[Granted]) -> tuple[SchemaRow, ...]:
    """Return the statements that give the grants on keyspaces, tables and functions of users.

    A row's name is that of the table or the function, empty for a whole keyspace.
    """
    return tuple(
        SchemaRow(keyspace, GRANT, name, f"GRANT {permission} ON {resource} TO {_role(each.role)};")
        for each in sorted(granted, key=lambda g: (g.resource, g.role))
        for keyspace, name, resource in _resource(each.resource)
        for permission in sorted(each.permissions)
    )


def _resource(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield keyspace, name and CQL of a resource; nothing for roles, beans, and everything."""
    kind, _, rest = text.partition("/")
    keyspace, _, name = rest.partition("/")
    if kind not in ("data", "functions") or not keyspace:
        return
    if KeyspaceDescription(keyspace).is_system:
        return
    if kind == "data":
        if not name:
            yield keyspace, "", f"KEYSPACE {quote(keyspace)}"
        elif name == "*":
            yield keyspace, "", f"ALL TABLES IN KEYSPACE {quote(keyspace)}"
        else:
            yield keyspace, name, f"TABLE {quote(keyspace)}.{quote(name)}"
    elif not name:
        yield keyspace, "", f"ALL FUNCTIONS IN KEYSPACE {quote(keyspace)}"
    else:
        function, _, types = name.removesuffix("]").partition("[")
        # The classes of the types; CQL takes these in quotes.
        arguments = ", ".join(f"'{t}'" for t in types.split("^") if t)
        yield keyspace, function, f"FUNCTION {quote(keyspace)}.{quote(function)}({arguments})"


def _role(name: str) -> str:
    return quote(name)


def lost_grants(grants: Iterable[SchemaRow], created: Collection[Statement]) -> tuple[str, ...]:
    """Return the grants on objects that are created again under their own names."""
    keyspaces = {s.keyspace for s in created if s.kind == "keyspace"}
    names = {TableName(s.keyspace, s.name) for s in created if s.kind != "keyspace"}
    return tuple(
        row.statement
        for row in grants
        if TableName(row.keyspace, row.name) in names or row.keyspace in keyspaces
    )

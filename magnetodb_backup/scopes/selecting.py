# SPDX-License-Identifier: Apache-2.0
"""Helpers of the scopes: parameters, look-ups, errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from magnetodb_backup.domain.tables import (
    ClusterSchema,
    KeyspaceDescription,
    Selection,
    TableDescription,
)
from magnetodb_backup.errors import EmptySelection, InvalidValue, UnknownTable


def only(parameters: Mapping[str, Any], scope: str, allowed: Sequence[str]) -> None:
    """Refuse parameters that the scope does not have.

    :raises InvalidValue: naming them and the known ones.
    """
    unknown = sorted(set(parameters) - set(allowed))
    if unknown:
        has = f"has only {', '.join(allowed)}" if allowed else "has no parameters"
        raise InvalidValue(f"the scope {scope!r} {has}; remove {', '.join(unknown)}")


def names(parameters: Mapping[str, Any], scope: str, key: str) -> list[str]:
    """Return the parameter ``key``: a list of at least one name.

    :raises InvalidValue: if it is anything else.
    """
    value = parameters.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise InvalidValue(f"the scope {scope!r} needs {key!r}: a list of at least one name")
    return value


def backed_up(keyspace: KeyspaceDescription) -> bool:
    """Return whether the keyspace can be backed up: not virtual and not local to a node."""
    return not keyspace.virtual and not keyspace.is_local


def look_up_keyspaces(
    schema: ClusterSchema, wanted: Iterable[str]
) -> dict[str, KeyspaceDescription]:
    """Return the wanted keyspaces by name.

    :raises UnknownTable: naming all that do not exist or cannot be backed up.
    """
    existing = {k.name: k for k in schema.keyspaces}
    found, wrong = {}, []
    for name in dict.fromkeys(wanted):
        keyspace = existing.get(name)
        if keyspace is None:
            wrong.append(f"keyspace {name!r} does not exist{hint_of(name, existing)}")
        elif not backed_up(keyspace):
            kind = "virtual" if keyspace.virtual else "local to each node"
            wrong.append(f"keyspace {name!r} is {kind} and cannot be backed up")
        else:
            found[name] = keyspace
    if wrong:
        raise UnknownTable("; ".join(wrong))
    return found


def hint_of(name: str, existing: Iterable[str]) -> str:
    """Return a hint if the name exists in another case, else an empty text."""
    similar = sorted(e for e in existing if e.casefold() == name.casefold())
    return f" (did you mean {', '.join(map(repr, similar))}?)" if similar else ""


def selection(
    keyspaces: Iterable[KeyspaceDescription], tables: Iterable[TableDescription]
) -> Selection:
    """Return an ordered selection.

    :raises EmptySelection: if it has no table.
    """
    chosen = Selection(
        tuple(sorted(keyspaces, key=lambda k: k.name)),
        tuple(sorted(set(tables), key=lambda t: t.name)),
    )
    if not chosen.tables:
        what = ", ".join(k.name for k in chosen.keyspaces) or "the cluster"
        raise EmptySelection(f"nothing to back up: {what} has no table; choose another scope")
    return chosen

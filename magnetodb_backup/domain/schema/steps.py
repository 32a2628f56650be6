# SPDX-License-Identifier: Apache-2.0
"""Orders the statements of a schema plan, and finds those already in effect in a cluster."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from magnetodb_backup.domain.schema.cql_structure import (
    Structure,
    read_alteration,
    read_options,
    read_signature,
    read_structure,
)
from magnetodb_backup.domain.schema.cql_text import Statement, parse, split_statements
from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.tables import TableName

_SAI = re.compile(r"'(org\.apache\.cassandra\.index\.sai\.)?(sai|StorageAttachedIndex)'", re.I)


@dataclass(frozen=True)
class SchemaSteps:
    """The statements of a restore: ``before`` and ``after`` the delivery of rows.

    ``drop`` are existing indexes of ``after``, by keyspace and name, that block the delivery.
    ``skipped`` are those statements that the request leaves out, of existing objects too.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    drop: tuple[tuple[str, str], ...]
    skipped: tuple[str, ...] = ()


def is_sai(statement: Statement) -> bool:
    """Return whether a statement creates a storage-attached index."""
    if statement.kind != "index":
        return False
    parsed = parse(statement.text)
    rest = [t for t in parsed.tokens[parsed.rest :] if t.is_significant]
    return any(
        word.is_word("USING") and _SAI.fullmatch(kind.text) is not None
        for word, kind in pairwise(rest)
    )


def schema_steps(
    create: Sequence[str],
    views: Sequence[str],
    kept_indexes: Sequence[str],
    kept_views: Sequence[str],
    streamed: Collection[TableName],
) -> SchemaSteps:
    """Split the statements of a plan into those before and after the delivery of rows.

    Cassandra rejects streamed SSTables next to storage-attached indexes, so these are created
    afterwards, also on existing tables (``kept_indexes``). Views are created afterwards too,
    because imports do not update them. Of two views with one name the existing one
    (``kept_views``) is used.
    """
    planned = [(text, s) for text in create for s in split_statements(text)]
    late = [text for text, s in planned if is_sai(s) and TableName(s.keyspace, s.table) in streamed]
    kept = [
        (text, s)
        for text in kept_indexes
        for s in split_statements(text)
        if TableName(s.keyspace, s.table) in streamed
    ]
    after = {
        (s.kind, s.keyspace, s.name): text
        for text in (*(t for t, _ in kept), *late, *views, *kept_views)
        for s in split_statements(text)
    }
    return SchemaSteps(
        tuple(text for text, _ in planned if text not in late),
        tuple(after.values()),
        tuple((s.keyspace, s.name) for _, s in kept),
    )


def is_carried_out(statement: Statement, present: Schema) -> bool:
    """Return whether the object that a statement creates exists in the schema ``present``.

    A table counts with any ID and columns; see ``has_other_id()``.
    """
    name = (statement.keyspace, statement.name)
    table = TableName(statement.keyspace, statement.table)
    match statement.kind:
        case "keyspace":
            return statement.name in present.keyspaces
        case "type":
            return name in present.types
        case "function" | "aggregate":
            signature = read_signature(statement)
            return any(read_signature(f) == signature for f in present.functions.get(name, ()))
        case "table":
            return present.table(table) is not None
        case "index":
            return any(i.name == statement.name for i in present.indexes.get(table, ()))
        case "view":
            return TableName(*name) in present.views
        case "alter":
            return _is_altered(statement, present, table)
    return False


def has_other_id(statement: Statement, present: Schema) -> bool:
    """Return whether the table to create exists with another ID, created by another client."""
    there = present.table(TableName(statement.keyspace, statement.table))
    if statement.kind != "table" or there is None:
        return False
    wanted = read_options(statement).get("id")
    return wanted is not None and read_options(there).get("id", wanted) != wanted


def _is_altered(statement: Statement, present: Schema, table: TableName) -> bool:
    """Return whether a statement drops or adds columns of a table that the plan creates."""
    there = present.table(table)
    if there is None:
        return False
    structure = read_structure(there, present.alters.get(table, ()))
    alteration = read_alteration(statement)
    if alteration.added is not None:
        return _is_added_again(structure, alteration.added.name)
    return bool(alteration.dropped) and all(c in structure.dropped for c in alteration.dropped)


def _is_added_again(structure: Structure, column: str) -> bool:
    # A plan makes the column with the table, drops it, and adds it again.
    return column in structure.dropped and column in structure.columns


def names_of(statements: Iterable[str], kind: str) -> list[tuple[str, str]]:
    """Return keyspace and name of the objects that statements of one kind create, in order."""
    return [
        (s.keyspace, s.name)
        for text in statements
        for s in split_statements(text)
        if s.kind == kind
    ]


def statements_by_table(statements: Iterable[str]) -> dict[str, list[str]]:
    """Return the statements of indexes and views by their table, as ``keyspace.table``."""
    found: dict[str, list[str]] = {}
    for text in statements:
        for statement in split_statements(text):
            found.setdefault(f"{statement.keyspace}.{statement.table}", []).append(text)
    return found

# SPDX-License-Identifier: Apache-2.0
"""What a restore lacks where statements of the backup's schema cannot be read."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from magnetodb_backup.domain.schema.cql_text import Statement
from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.schema.reading import Unreadable
from magnetodb_backup.domain.schema.skips import KINDS, Skips
from magnetodb_backup.domain.tables import TableName


def judge_unreadable(
    backup: Schema,
    present: Schema,
    tables: Mapping[TableName, TableName],
    whole_keyspaces: Collection[str],
    skips: Skips,
) -> tuple[list[str], list[str]]:
    """Return differences and notes for what belongs to the restored tables and keyspaces.

    ``tables`` are the targets by their sources. What is skipped, or exists, is only a note.
    """
    keyspaces = {source.keyspace: target.keyspace for source, target in tables.items()}
    differences, notes = [], []
    for lost in backup.unreadable:
        of = lost.of
        if not _is_needed(of, tables, whole_keyspaces):
            continue
        goal = keyspaces.get(of.keyspace, of.keyspace)
        if skips.has(of.kind, goal, of.name) or _is_present(of, goal, present):
            notes.append(f"{lost.label} is not made: {lost.reason}")
        else:
            differences.append(cannot_be_made(lost))
    return differences, notes


def cannot_be_made(lost: Unreadable) -> str:
    """Return the difference of an object that cannot be read, with the remedy."""
    kind = "function" if lost.of.kind == "aggregate" else lost.of.kind
    remedy = "choose other tables by --table"
    if kind in KINDS:
        remedy = f"restore without it by --skip {kind}={lost.of.keyspace}.{lost.of.name}"
    return f"{lost.label} cannot be made: {lost.reason}; {remedy}"


def _is_needed(
    of: Statement, tables: Mapping[TableName, TableName], whole_keyspaces: Collection[str]
) -> bool:
    if of.kind in ("function", "aggregate"):
        return of.keyspace in whole_keyspaces
    if of.kind == "type":  # which tables use it cannot be told from the others
        return of.keyspace in whole_keyspaces or any(t.keyspace == of.keyspace for t in tables)
    return of.kind in KINDS and TableName(of.keyspace, of.table) in tables


def _is_present(of: Statement, goal: str, present: Schema) -> bool:
    match of.kind:
        case "function" | "aggregate":
            return (goal, of.name) in present.functions
        case "type":
            return (goal, of.name) in present.types
        case "view":
            return TableName(goal, of.name) in present.views
        case "index":
            indexes = (i for t, each in present.indexes.items() if t.keyspace == goal for i in each)
            return any(index.name == of.name for index in indexes)
    return False

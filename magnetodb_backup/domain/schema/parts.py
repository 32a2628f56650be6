# SPDX-License-Identifier: Apache-2.0
"""A whole schema from DESCRIBE, by name; and the differences of two tables or types."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from magnetodb_backup.domain.schema.cql_structure import (
    Column,
    DroppedColumn,
    Structure,
    read_fields,
    read_options,
)
from magnetodb_backup.domain.schema.cql_text import Statement, split_statements
from magnetodb_backup.domain.schema.reading import Unreadable, read_row, rows_of, unreadable
from magnetodb_backup.domain.schema.rows import SchemaRow
from magnetodb_backup.domain.tables import TableName, quote
from magnetodb_backup.errors import FormatProblem

Named = tuple[str, str]  # a keyspace and the name of a type, function or view in it


@dataclass
class Schema:
    """The statements of a schema, by the objects that they create.

    ``commented`` are tables that Cassandra shows only in a comment, because CQL cannot create them;
    ``ids`` has the tables and views by their IDs. ``statements`` are all in their order, but those
    of ``unreadable`` objects.
    """

    keyspaces: dict[str, Statement] = field(default_factory=dict)
    types: dict[Named, Statement] = field(default_factory=dict)
    functions: dict[Named, list[Statement]] = field(default_factory=dict)
    tables: dict[TableName, Statement] = field(default_factory=dict)
    commented: dict[TableName, Statement] = field(default_factory=dict)
    alters: dict[TableName, list[Statement]] = field(default_factory=dict)
    indexes: dict[TableName, list[Statement]] = field(default_factory=dict)
    triggers: dict[TableName, list[Statement]] = field(default_factory=dict)
    views: dict[TableName, Statement] = field(default_factory=dict)
    ids: dict[str, TableName] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    @classmethod
    def read(cls, source: str | Iterable[SchemaRow]) -> Schema:
        """Read the rows that DESCRIBE SCHEMA returned, or their joined text."""
        schema = cls()
        for row in rows_of(source) if isinstance(source, str) else source:
            try:
                schema._add_row(row)
            except FormatProblem as error:
                schema.unreadable.append(unreadable(row, error))
        return schema

    def _add_row(self, row: SchemaRow) -> None:
        statements, comments = read_row(row)
        for statement in statements:
            self._add(statement)
            self.statements.append(statement)
        for table in _tables_in(comments):
            self.commented[TableName(table.keyspace, table.name)] = table

    def lost(self, kind: str, keyspace: str, name: str) -> Unreadable | None:
        """Return the object of this kind and name if its statement cannot be read."""
        for found in self.unreadable:
            of = found.of
            if (of.kind, of.keyspace, of.name) == (kind, keyspace, name):
                return found
        return None

    def _add(self, statement: Statement) -> None:
        name = (statement.keyspace, statement.name)
        table = TableName(statement.keyspace, statement.table)
        match statement.kind:
            case "keyspace":
                self.keyspaces[statement.name] = statement
            case "type":
                self.types[name] = statement
            case "function" | "aggregate":
                self.functions.setdefault(name, []).append(statement)
            case "table":
                self.tables[table] = statement
                self._add_id(table, statement)
            case "alter":
                self.alters.setdefault(table, []).append(statement)
            case "index":
                self.indexes.setdefault(table, []).append(statement)
            case "trigger":
                self.triggers.setdefault(table, []).append(statement)
            case "view":
                self.views[TableName(*name)] = statement
                self._add_id(TableName(*name), statement)

    def _add_id(self, name: TableName, statement: Statement) -> None:
        if table_id := read_options(statement).get("id"):
            self.ids[table_id] = name

    def table(self, name: TableName) -> Statement | None:
        """Return the statement of a table, also from a comment."""
        return self.tables.get(name) or self.commented.get(name)


def _tables_in(comments: Iterable[str]) -> list[Statement]:
    found = []
    for comment in comments:
        begin = comment.find("CREATE TABLE ")
        if begin < 0:
            continue
        try:
            statements = split_statements(comment[begin:].removesuffix("*/"))
        except FormatProblem:  # a comment is free to hold anything
            continue
        found += [s for s in statements if s.kind == "table"]
    return found


def _diff(title: str, backup: Sequence[str], present: Sequence[str]) -> str:
    lines = difflib.unified_diff(backup, present, "backup", "present", lineterm="")
    return "\n".join([title, *lines])


def type_difference(name: str, backup: Statement, present: Statement) -> str:
    """Return the differences of a type's fields that forbid its values; empty if there are none.

    Fields that were appended since do not: values without them are valid.
    """
    one, other = ([str(f) for f in read_fields(s)[0]] for s in (backup, present))
    if other[: len(one)] == one:
        return ""
    return _diff(
        f"type {name} has other fields than in the backup; restore the tables under another "
        "keyspace name (--to-keyspace):",
        one,
        other,
    )


def appended_fields(backup: Statement, present: Statement) -> list[str]:
    """Return the names of the fields that a type got since the backup."""
    count = len(read_fields(backup)[0])
    return [quote(f.name) for f in read_fields(present)[0][count:]]


def added_columns(backup: Structure, present: Structure) -> list[Column]:
    """Return the columns that a table got since the backup; SSTables without them are valid."""
    return [
        column
        for name, column in sorted(present.columns.items())
        if name not in backup.columns and not _may_have_cells(backup, present, column)
    ]


def _may_have_cells(backup: Structure, present: Structure, column: Column) -> bool:
    """Return whether the backup's SSTables may have cells that a column must not show.

    It had been dropped when the backup was made: its cells come back unless the drop is on record
    here too, and cannot be read as another type.
    """
    dropped = backup.dropped.get(column.name)
    if dropped is None:
        return False
    return (
        column.name not in present.dropped
        or _is_other_type(dropped, column)
        or dropped.column.is_static != column.is_static
    )


def table_difference(name: TableName, backup: Structure, present: Structure) -> str:
    """Return the differences of two tables that forbid the backup's SSTables; empty if none."""
    added = {column.name for column in added_columns(backup, present)}
    columns = {n: c for n, c in present.columns.items() if n not in added}
    one, other = backup.lines(), replace(present, columns=columns).lines()
    for column in sorted({*backup.dropped, *present.dropped}):
        here, there = backup.dropped.get(column), present.dropped.get(column)
        # Dropped on one side only does not hinder, unless SSTables of the time before the drop
        # have the column with another type than it has now.
        if (here and there) or _has_other_type(backup, column) or _has_other_type(present, column):
            one += [f"dropped column {here.column}"] if here else []
            other += [f"dropped column {there.column}"] if there else []
    if one == other:
        return ""
    return _diff(
        f"table {name} has another structure than in the backup; restore it under another name "
        "(--to-table):",
        one,
        other,
    )


def _has_other_type(structure: Structure, name: str) -> bool:
    dropped, column = structure.dropped.get(name), structure.columns.get(name)
    return dropped is not None and column is not None and _is_other_type(dropped, column)


def _is_other_type(dropped: DroppedColumn, column: Column) -> bool:
    # Cassandra records a dropped user-defined type as the tuple of its fields.
    return dropped.column.type != column.type and "tuple<" not in dropped.column.type


@dataclass(frozen=True)
class DropDifferences:
    """Columns that were dropped at other times than in the backup, each as a message.

    ``returning``: cells that were dropped before the backup would come back. ``lost``: cells that
    were dropped after the backup would not come back.
    """

    returning: tuple[str, ...]
    lost: tuple[str, ...]


def compare_drops(name: TableName, backup: Structure, present: Structure) -> DropDifferences:
    """Compare when columns were dropped: Cassandra hides all cells that are not newer.

    The columns have the same type and place in both tables.
    """
    returning, lost = [], []
    for column in sorted({*backup.dropped, *present.dropped}):
        here, there = backup.dropped.get(column), present.dropped.get(column)
        if here and (there is None or there.time < here.time):
            returning.append(_returning(name, here, there, present.columns.get(column)))
        elif there and column in backup.columns and (here is None or there.time > here.time):
            before = f", in the backup at {here.timestamp}" if here else ""
            lost.append(
                f"table {name}: column {quote(column)} was dropped at {there.timestamp} here"
                f"{before}, and added again: values written before the drop do not come back. "
                "For all rows of the backup drop the table first, so that the restore creates it, "
                "or restore it under another name (--to-table); --existing merge takes the drop "
                "for a deletion"
            )
    return DropDifferences(tuple(returning), tuple(lost))


def _returning(
    name: TableName, here: DroppedColumn, there: DroppedColumn | None, column: Column | None
) -> str:
    drop = f"ALTER TABLE {name} DROP {quote(here.column.name)} USING TIMESTAMP {here.timestamp};"
    if column is None:
        remedy = f"ALTER TABLE {name} ADD {here.column}; {drop}"
    else:
        remedy = f"{drop} ALTER TABLE {name} ADD {column};"
    present = f"at {there.timestamp} here" if there else "not here"
    return (
        f"table {name}: column {quote(here.column.name)} was dropped at {here.timestamp} in the "
        f"backup, {present}: values written before the drop would come back. Run first: "
        f"{remedy} or restore the table under another name (--to-table)"
    )


def option_notes(what: str, backup: Statement, present: Statement) -> list[str]:
    """Return a note for each option with different values on both sides."""
    one, other = read_options(backup), read_options(present)
    return [
        f"{what}: {option} is {other[option]} here, {value} in the backup"
        for option, value in one.items()
        if option != "id" and option in other and other[option] != value
    ]

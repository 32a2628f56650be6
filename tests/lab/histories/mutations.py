# SPDX-License-Identifier: Apache-2.0
"""INSERT, UPDATE, DELETE and ALTER TABLE: what they do to rows, and their text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.lab.histories.commands import Command
from tests.lab.histories.operations import (
    AddColumn,
    Change,
    Count,
    Delete,
    DropColumn,
    How,
    Ttl,
    Where,
    Write,
)
from tests.lab.histories.rows import Cell, Row, Table, every_clustering
from tests.lab.histories.tables import COUNTS, Column, Structure
from tests.lab.histories.values import Type, elements, literal


def count(table: Table, name: str, operation: Count) -> Iterator[Command]:
    """Change a counter."""
    rows = table.rows
    if table.structure.kind is COUNTS and operation.key not in rows.uncounted:
        rows.counts[operation.key] = rows.counts.get(operation.key, 0) + operation.by
        yield Command(f"UPDATE {name} SET n = n + {operation.by} WHERE p = {operation.key}")


def add_or_drop_column(
    table: Table, name: str, operation: AddColumn | DropColumn
) -> Iterator[Command]:
    """Alter a table, if that is possible."""
    structure, column = table.structure, operation.column
    if structure.kind is COUNTS or column not in structure.kind.columns:
        return
    if isinstance(operation, AddColumn) and column not in structure.columns:
        table.structure = structure.with_added(column)
        yield Command(f"ALTER TABLE {name} ADD {structure.kind.columns[column]}")
    elif isinstance(operation, DropColumn) and column in structure.columns:
        table.structure = structure.without(column, operation.at)
        yield Command(f"ALTER TABLE {name} DROP {column} USING TIMESTAMP {operation.at}")


def write(
    table: Table, name: str, operation: Write, next_element: Callable[[], int]
) -> Iterator[Command]:
    """Perform INSERT or UPDATE, as far as the table has the columns."""
    yield from _Writing(table, name, next_element).perform(operation)


class _Writing:
    def __init__(self, table: Table, name: str, next_element: Callable[[], int]) -> None:
        self._table, self._name, self._next_element = table, name, next_element

    def perform(self, write: Write) -> Iterator[Command]:
        structure = self._table.structure
        if structure.kind is COUNTS:
            return
        has_row = write.clustering is not None or not structure.kind.clustering
        is_insert = write.is_insert and has_row
        changes = [
            (structure.kind.columns[change.column], change)
            for change in write.changes
            if change.column in structure.columns
            and (has_row or structure.kind.columns[change.column].is_static)
            and (change.how is How.SET or not is_insert)
        ]
        if not changes and not is_insert:
            return
        clustering = (write.clustering or ()) if structure.kind.clustering else ()
        partition = self._table.rows.partitions[write.key]
        for column, change in changes:
            row = partition.static if column.is_static else partition.rows[clustering]
            self._change(row, column, change, write)
        if is_insert:
            marker = Cell(write.at, None if write.ttl is Ttl.SHORT else True)
            partition.rows[clustering].add(Row(marker=marker))
            yield Command(self._insert(write, clustering, changes))
        else:
            if all(column.is_static for column, _ in changes):
                clustering = ()
            yield Command(self._update(write, clustering, changes))

    def _change(self, row: Row, column: Column, change: Change, write: Write) -> None:
        expired = write.ttl is Ttl.SHORT
        if not column.type.is_collection:
            value = None if expired else change.value
            assert not isinstance(value, tuple)
            row.write(column.name, None, Cell(write.at, value))
            return
        if change.how is How.SET:
            row.delete_collection(column.name, write.at - 1)  # so that these elements stay
        if change.value is None:
            return
        for path, value in elements(column.type, change.value):
            if column.type is Type.LIST:
                path = self._next_element()
            gone = expired or change.how is How.REMOVE
            row.write(column.name, path, Cell(write.at, None if gone else value))

    def _insert(
        self, write: Write, clustering: tuple[int, ...], changes: Sequence[tuple[Column, Change]]
    ) -> str:
        keys = ("p", *self._table.structure.kind.clustering)
        names = [*keys, *(column.name for column, _ in changes)]
        values = [str(value) for value in (write.key, *clustering)]
        values += [literal(column.type, change.value) for column, change in changes]
        return (
            f"INSERT INTO {self._name} ({', '.join(names)}) VALUES ({', '.join(values)})"
            f"{_using(write)}"
        )

    def _update(
        self, write: Write, clustering: tuple[int, ...], changes: Sequence[tuple[Column, Change]]
    ) -> str:
        settings = ", ".join(_setting(column, change) for column, change in changes)
        where = _where(self._table.structure, write.key, Where(clustering))
        return f"UPDATE {self._name}{_using(write)} SET {settings} WHERE {where}"


def _using(write: Write) -> str:
    ttl = f" AND TTL {write.ttl.value}" if write.ttl is not Ttl.NONE else ""
    return f" USING TIMESTAMP {write.at}{ttl}"


def _setting(column: Column, change: Change) -> str:
    if change.how is How.SET:
        return f"{column.name} = {literal(column.type, change.value)}"
    type_ = column.type
    if change.how is How.REMOVE and type_ is Type.MAP:  # by its keys
        keys = [key for key, _ in elements(type_, change.value)]
        return f"{column.name} = {column.name} - {literal(Type.SET, keys)}"
    text = literal(type_, change.value)
    return f"{column.name} = {column.name} {change.how.value} {text}"


def _where(structure: Structure, key: int, where: Where) -> str:
    names = structure.kind.clustering
    parts = [f"p = {key}"]
    parts += [f"{name} = {value}" for name, value in zip(names, where.prefix, strict=False)]
    if where.is_range:
        name = names[len(where.prefix)]
        for bound, sign in ((where.lower, ">"), (where.upper, "<")):
            if bound is not None:
                parts.append(f"{name} {sign}{'=' if bound.is_inclusive else ''} {bound.value}")
    return " AND ".join(parts)


def delete(table: Table, name: str, delete: Delete) -> Iterator[Command]:
    """Perform DELETE, as far as the table has the columns."""
    structure, rows = table.structure, table.rows
    kind = structure.kind
    where = delete.where if kind.clustering else Where()
    if kind is COUNTS:
        if not delete.columns:
            rows.counts.pop(delete.key, None)
            rows.uncounted.add(delete.key)
            yield Command(f"DELETE FROM {name} WHERE p = {delete.key}")
        return
    partition = rows.partitions[delete.key]
    columns: list[str] = []
    if delete.columns:
        is_row = len(where.prefix) == len(kind.clustering)
        is_partition = not where.prefix and not where.is_range
        for column_name, element in delete.columns:
            column = kind.columns.get(column_name)
            if column is None or column_name not in structure.columns:
                continue
            if not (is_partition if column.is_static else is_row):
                continue
            row = partition.static if column.is_static else partition.rows[where.prefix]
            columns.append(_delete_value(row, column, element, delete.at))
        if not columns:
            return
    elif not where.prefix and not where.is_range:
        partition.deleted = max(partition.deleted, delete.at)
    else:
        for clustering in every_clustering():
            if where.has(clustering):
                partition.rows[clustering].add(Row(deleted=delete.at))
    what = f"{', '.join(columns)} " if columns else ""
    condition = _where(structure, delete.key, where)
    yield Command(f"DELETE {what}FROM {name} USING TIMESTAMP {delete.at} WHERE {condition}")


def _delete_value(row: Row, column: Column, element: int | None, at: int) -> str:
    """Delete a value or an element; return it as CQL names it."""
    if element is not None and column.type in (Type.MAP, Type.SET):
        row.write(column.name, element, Cell(at, None))
        return f"{column.name}[{element}]"
    if column.type.is_collection:
        row.delete_collection(column.name, at)
    else:
        row.write(column.name, None, Cell(at, None))
    return column.name

# SPDX-License-Identifier: Apache-2.0
"""A keyspace as operations leave it, and the commands that do the same in Cassandra."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.lab.histories.commands import Action, Command
from tests.lab.histories.mutations import add_or_drop_column, count, delete, write
from tests.lab.histories.operations import (
    AddColumn,
    Compact,
    Count,
    CreateTable,
    Delete,
    DropColumn,
    DropKeyspace,
    DropTable,
    Flush,
    Operation,
    Truncate,
    Write,
)
from tests.lab.histories.rows import Rows, Shown, Table
from tests.lab.histories.tables import Kind, Structure

REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


@dataclass
class Keyspace:
    """A keyspace. ``kinds`` are those of tables that histories create.

    ``elements`` counts the elements of lists: Cassandra sorts them by the moments of their writes.
    """

    name: str
    kinds: Mapping[str, Kind]
    exists: bool = False
    tables: dict[str, Table] = field(default_factory=dict)
    elements: int = 0

    def copy(self) -> Keyspace:
        """Return a copy that later operations do not change."""
        tables = {
            name: Table(table.structure, copy.deepcopy(table.rows))
            for name, table in self.tables.items()
        }
        return replace(self, tables=tables)

    def read(self) -> dict[str, list[Shown]]:
        """Return what each table has."""
        return {name: table.read() for name, table in self.tables.items()}

    def perform(self, operations: Sequence[Operation]) -> list[Command]:
        """Perform operations; return the commands that do the same in Cassandra."""
        return [command for operation in operations for command in self._perform(operation)]

    def _perform(self, operation: Operation) -> Iterator[Command]:
        match operation:
            case DropKeyspace():
                yield from self._drop()
            case CreateTable():
                yield from self._create(operation)
            case _ if (table := self.tables.get(operation.table)) is not None:
                name = f"{self.name}.{operation.table}"
                match operation:
                    case Write():
                        yield from write(table, name, operation, self._next_element)
                    case Delete():
                        yield from delete(table, name, operation)
                    case Count():
                        yield from count(table, name, operation)
                    case AddColumn() | DropColumn():
                        yield from add_or_drop_column(table, name, operation)
                    case DropTable() | Truncate() | Flush() | Compact():
                        yield from self._whole_table(table, name, operation)

    def _next_element(self) -> int:
        self.elements += 1
        return self.elements

    def _drop(self) -> Iterator[Command]:
        if self.exists:
            self.exists, self.tables = False, {}
            yield Command(f"DROP KEYSPACE {self.name}")

    def _create(self, operation: CreateTable) -> Iterator[Command]:
        if not self.exists:
            self.exists = True
            yield Command(f"CREATE KEYSPACE {self.name} WITH replication = {REPLICATION}")
        kind = self.kinds.get(operation.table)
        if kind is not None and operation.table not in self.tables:
            structure = Structure.first(kind, operation.variant)
            self.tables[operation.table] = Table(structure)
            yield Command(structure.create(self.name, operation.table))

    def _whole_table(
        self, table: Table, name: str, operation: DropTable | Truncate | Flush | Compact
    ) -> Iterator[Command]:
        match operation:
            case DropTable(leaves_files=leaves_files):
                del self.tables[operation.table]
                if leaves_files:
                    yield Command(Action.DROP_LEAVING_FILES, name)
                else:
                    yield Command(f"DROP TABLE {name}")
            case Truncate():
                table.rows = Rows()
                yield Command(f"TRUNCATE {name}")
            case Flush():
                yield Command(Action.FLUSH, name)
            case Compact():
                yield Command(Action.COMPACT, name)

# SPDX-License-Identifier: Apache-2.0
"""The tables that random histories write to: their columns, and their structure at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.lab.histories.values import NEVER, Type

_OPTIONS = {  # by the table's name; a restore switches compactions of the second one off and on
    "t": "compaction = {'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}",
    "u": "compaction = {'class': 'SizeTieredCompactionStrategy'}",
}


@dataclass(frozen=True)
class Column:
    """A column that is no part of the key."""

    name: str
    type: Type
    is_static: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.type.value}{' static' if self.is_static else ''}"


@dataclass(frozen=True)
class Kind:
    """A kind of table. ``later`` are columns that a history may add."""

    name: str
    clustering: tuple[str, ...]
    first: tuple[Column, ...]
    later: tuple[Column, ...] = ()

    @property
    def columns(self) -> Mapping[str, Column]:
        """Return all columns that a table of this kind may have."""
        return {column.name: column for column in (*self.first, *self.later)}


_COMMON = (Column("a", Type.TEXT), Column("b", Type.INT), Column("m", Type.MAP))
_LATER = (Column("x", Type.TEXT), Column("y", Type.SET))

WIDE = Kind(
    "wide",
    ("c", "d"),
    (
        Column("s", Type.TEXT, is_static=True),
        Column("e", Type.MAP, is_static=True),
        *_COMMON,
        Column("f", Type.FROZEN),
        Column("k", Type.SET),
        Column("l", Type.LIST),
    ),
    _LATER,
)
FLAT = Kind("flat", (), _COMMON, _LATER)
COUNTS = Kind("counts", (), (Column("n", Type.COUNTER),))


@dataclass(frozen=True)
class Structure:
    """A table's columns, and when columns were dropped (microseconds).

    The ``variant`` 1 of a wide table has its rows in descending order, that of a flat one fewer
    columns.
    """

    kind: Kind
    variant: int
    columns: frozenset[str]
    dropped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def first(cls, kind: Kind, variant: int = 0) -> Structure:
        """Return the structure of a new table."""
        columns = kind.first[:1] if kind is FLAT and variant else kind.first
        return cls(kind, variant, frozenset(column.name for column in columns))

    def dropped_at(self, column: str) -> int:
        """Return the time up to which cells of a column are dropped."""
        return self.dropped.get(column, NEVER)

    def without(self, column: str, at: int) -> Structure:
        """Return the structure after ``ALTER TABLE … DROP``."""
        return replace(self, columns=self.columns - {column}, dropped={**self.dropped, column: at})

    def with_added(self, column: str) -> Structure:
        """Return the structure after ``ALTER TABLE … ADD``; a drop stays on record."""
        return replace(self, columns=self.columns | {column})

    def create(self, keyspace: str, table: str) -> str:
        """Return the statement that creates the table."""
        kind = self.kind
        keys = ", ".join(("p", *kind.clustering))
        columns = [f"{name} int" for name in ("p", *kind.clustering)]
        columns += [str(column) for column in kind.columns.values() if column.name in self.columns]
        order = "CLUSTERING ORDER BY (c DESC, d ASC) AND " if kind is WIDE and self.variant else ""
        return (
            f"CREATE TABLE {keyspace}.{table} ({', '.join(columns)}, PRIMARY KEY ({keys})) "
            f"WITH {order}{_OPTIONS[table]}"
        )

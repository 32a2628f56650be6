# SPDX-License-Identifier: Apache-2.0
"""The rows of a table with all deletions, by Cassandra's rules of reconciliation.

Each cell keeps its newest write. A deletion hides what is not newer than itself; nothing is ever
purged, because no history lasts for ``gc_grace_seconds``. A deleted range is the same as the
deletion of each of its rows, because histories write to few keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.lab.histories.tables import Column, Structure
from tests.lab.histories.values import NEVER, Type, Value, as_bytes

KEYS, CLUSTERINGS = 2, (3, 2)  # how many values each part of a key has in histories
Clustering = tuple[int, ...]
Path = int | None  # an element of a collection; None for other columns
Shown = tuple[tuple[str, Any], ...]  # a row as read: columns, sorted by name


@dataclass(frozen=True)
class Cell:
    """A write at a time (microseconds); without a value it is deleted or has expired."""

    at: int
    value: Value | None


def newest(one: Cell | None, other: Cell | None) -> Cell | None:
    """Return the cell that stays: the newest, else the deleted one, else the greater value."""
    if one is None or other is None:
        return one or other
    if one.at != other.at:
        return max(one, other, key=lambda cell: cell.at)
    if one.value is None or other.value is None:
        return one if one.value is None else other
    return one if as_bytes(one.value) >= as_bytes(other.value) else other


@dataclass
class Row:
    """A row or, without a ``marker``, what is static in a partition.

    ``marker`` is what INSERT leaves: the row exists without values, too. ``collections`` has the
    deletions of whole collections.
    """

    deleted: int = NEVER
    marker: Cell | None = None
    cells: dict[tuple[str, Path], Cell] = field(default_factory=dict)
    collections: dict[str, int] = field(default_factory=dict)

    def write(self, column: str, path: Path, cell: Cell) -> None:
        """Write a cell."""
        kept = newest(self.cells.get((column, path)), cell)
        assert kept is not None
        self.cells[column, path] = kept

    def delete_collection(self, column: str, at: int) -> None:
        """Delete all elements of a collection."""
        self.collections[column] = max(at, self.collections.get(column, NEVER))

    def add(self, other: Row) -> None:
        """Merge another row into this one."""
        self.deleted = max(self.deleted, other.deleted)
        self.marker = newest(self.marker, other.marker)
        for (column, path), cell in other.cells.items():
            self.write(column, path, cell)
        for column, at in other.collections.items():
            self.delete_collection(column, at)

    def values(self, structure: Structure, deleted: int) -> dict[str, Any]:
        """Return the values that are not null, by column; ``deleted`` is the partition's time."""
        hidden = max(deleted, self.deleted)
        found: dict[str, dict[Any, Value]] = {}
        for (name, path), cell in sorted(self.cells.items(), key=_by_path):
            dropped = max(structure.dropped_at(name), self.collections.get(name, NEVER))
            if cell.value is not None and cell.at > max(hidden, dropped):
                found.setdefault(name, {})[path] = cell.value
        columns = structure.kind.columns
        return {
            name: _whole(columns[name], of_column)
            for name, of_column in found.items()
            if name in structure.columns
        }

    def exists(self, deleted: int) -> bool:
        """Return whether its marker is alive."""
        marker = self.marker
        if marker is None or marker.value is None:
            return False
        return marker.at > max(deleted, self.deleted)


def _by_path(item: tuple[tuple[str, Path], Cell]) -> tuple[str, int]:
    (column, path), _ = item
    return column, path or 0


def _whole(column: Column, cells: Mapping[Any, Value]) -> Any:
    match column.type:
        case Type.MAP:
            return tuple(sorted(cells.items()))
        case Type.SET:
            return tuple(sorted(cells))
        case Type.LIST:
            return tuple(cells.values())
        case Type.FROZEN:
            (value,) = cells.values()
            assert isinstance(value, frozenset)
            return tuple(sorted(value))
        case _:
            (value,) = cells.values()
            return value


@dataclass
class Partition:
    """The rows of a partition key."""

    deleted: int = NEVER
    static: Row = field(default_factory=Row)
    rows: dict[Clustering, Row] = field(default_factory=lambda: defaultdict(Row))

    def add(self, other: Partition) -> None:
        """Merge another partition into this one."""
        self.deleted = max(self.deleted, other.deleted)
        self.static.add(other.static)
        for clustering, row in other.rows.items():
            self.rows[clustering].add(row)

    def read(self, structure: Structure) -> Iterator[tuple[Clustering | None, dict[str, Any]]]:
        """Yield its rows; one without a clustering if there are static values only."""
        static = self.static.values(structure, self.deleted)
        alone = bool(static)
        for clustering, row in self.rows.items():
            values = row.values(structure, self.deleted)
            if values or row.exists(self.deleted):
                alone = False
                yield clustering, {**static, **values}
        if alone:
            yield None, static


@dataclass
class Rows:
    """What a table has. ``counts`` are counters, ``uncounted`` those that were deleted.

    A counter that was deleted must not be used again, says Cassandra.
    """

    partitions: dict[int, Partition] = field(default_factory=lambda: defaultdict(Partition))
    counts: dict[int, int] = field(default_factory=dict)
    uncounted: set[int] = field(default_factory=set)

    def add(self, other: Rows) -> None:
        """Merge other rows into these. Counters are not merged by histories."""
        for key, partition in other.partitions.items():
            self.partitions[key].add(partition)

    def read(self, structure: Structure) -> list[Shown]:
        """Return what SELECT returns, sorted."""
        shown: list[Shown] = []
        empty = dict.fromkeys(structure.columns)
        for key, partition in self.partitions.items():
            for clustering, values in partition.read(structure):
                names = structure.kind.clustering
                keys = dict(zip(names, clustering or [None] * len(names), strict=True))
                shown.append(as_shown({"p": key, **empty, **keys, **values}))
        shown += [as_shown({"p": key, "n": n}) for key, n in self.counts.items()]
        return sorted(shown, key=repr)


def as_shown(row: Mapping[str, Any]) -> Shown:
    """Return a row as histories compare it."""
    return tuple(sorted(row.items()))


@dataclass
class Table:
    """A table's structure and rows."""

    structure: Structure
    rows: Rows = field(default_factory=Rows)

    def read(self) -> list[Shown]:
        """Return what SELECT returns, sorted."""
        return self.rows.read(self.structure)


def every_clustering() -> list[Clustering]:
    """Return all clusterings that histories write to in a partition."""
    return [(c, d) for c in range(CLUSTERINGS[0]) for d in range(CLUSTERINGS[1])]

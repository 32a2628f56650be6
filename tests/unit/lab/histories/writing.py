# SPDX-License-Identifier: Apache-2.0
"""Short ways to write operations; times are small numbers."""

from __future__ import annotations

from tests.lab.histories.model import Keyspace
from tests.lab.histories.operations import (
    Change,
    CreateTable,
    Delete,
    How,
    Operation,
    Ttl,
    Where,
    Write,
)
from tests.lab.histories.tables import COUNTS, FLAT, WIDE
from tests.lab.histories.values import Written

ROW = (0, 0)
THE_ROW = Where(ROW)
KINDS = {"t": WIDE, "u": FLAT}
COUNTERS = {"t": COUNTS}


def keyspace(*operations: Operation) -> Keyspace:
    """Return a keyspace with the tables t (wide), u (flat) after some operations."""
    made = Keyspace("ks", KINDS)
    made.perform([CreateTable("t", 0), CreateTable("u", 0), *operations])
    return made


def insert(at: int, *, ttl: Ttl = Ttl.NONE, table: str = "t", **values: Written | None) -> Write:
    """Return an INSERT into the only row."""
    changes = tuple(Change(name, How.SET, value) for name, value in values.items())
    return Write(table, 0, ROW, changes, True, ttl, at)


def update(
    at: int, *, how: How = How.SET, ttl: Ttl = Ttl.NONE, table: str = "t", **values: Written | None
) -> Write:
    """Return an UPDATE of the only row."""
    changes = tuple(Change(name, how, value) for name, value in values.items())
    return Write(table, 0, ROW, changes, False, ttl, at)


def delete(at: int, where: Where = THE_ROW, *columns: str, element: int | None = None) -> Delete:
    """Return a DELETE in table t; of the only row, if nothing else is said."""
    return Delete("t", 0, where, tuple((name, element) for name in columns), at)


def values(found: Keyspace, table: str = "t") -> list[dict[str, object]]:
    """Return the rows of a table without keys and nulls."""
    keys = {"p", "c", "d"}
    return [
        {name: value for name, value in row if value is not None and name not in keys}
        for row in found.tables[table].read()
    ]

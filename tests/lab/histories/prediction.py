# SPDX-License-Identifier: Apache-2.0
"""What a restore has to do: refuse, or leave exactly these rows.

The rule, as the user's guide states it: ``refuse`` and ``replace`` leave the backup's rows, and
``merge`` the newest write of each cell, where deletions are writes, too. Nothing but the targets
changes. ``refuse`` refuses tables that have rows. What the backup's files contradict is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from magnetodb_backup.domain.restore.records import Existing
from tests.lab.histories.model import Keyspace
from tests.lab.histories.rows import Table
from tests.lab.histories.tables import FLAT, Structure


@dataclass(frozen=True)
class Request:
    """A request for a restore: ``tables`` of the keyspace, or all; beside under another name."""

    existing: Existing
    tables: tuple[str, ...] = ()
    to_keyspace: bool = False
    to_table: str = ""

    def within(self, backup: Keyspace) -> Request:
        """Return the request without tables that the backup lacks; of all tables, if none is left.

        A new name is for one table, and another one than its own.
        """
        tables = tuple(t for t in self.tables if t in backup.tables)
        to_table = self.to_table
        if to_table:
            tables = tuple(t for t in (tables or backup.tables) if t != to_table)[:1]
            to_table = to_table if tables else ""
        to_keyspace = self.to_keyspace or bool(self.to_table and not to_table)
        return Request(self.existing, tables, to_keyspace, to_table)


@dataclass(frozen=True)
class Prediction:
    """The reasons for which targets are refused, by table; or the target keyspace afterwards."""

    refused: Mapping[str, str]
    keyspace: Keyspace


def predict(backup: Keyspace, present: Keyspace, request: Request) -> Prediction:
    """Return what a restore into the keyspace ``present`` has to do."""
    refused: dict[str, str] = {}
    after = present.copy()
    after.exists, after.elements = True, max(backup.elements, present.elements)
    for source in request.tables or backup.tables:
        target = request.to_table or source
        table, there = backup.copy().tables[source], present.tables.get(target)
        if there is None:
            after.tables[target] = table
        elif reason := _reason(table, there, request):
            refused[target] = reason
        else:
            rows = after.tables[target].rows
            if request.existing is Existing.MERGE:
                rows.add(table.rows)
            else:
                after.tables[target].rows = table.rows
    return Prediction(refused, present.copy() if refused else after)


def _reason(backup: Table, present: Table, request: Request) -> str:
    if request.existing is Existing.REFUSE and (request.to_keyspace or request.to_table):
        return "the target exists"
    if request.existing is Existing.REFUSE and present.read():
        return "it has rows"
    return contradiction(backup.structure, present.structure, request.existing)


def contradiction(backup: Structure, present: Structure, existing: Existing) -> str:
    """Return why a table cannot take the backup's SSTables; empty if it can."""
    if backup.kind is not present.kind:
        return "it is another table"
    if backup.variant != present.variant and backup.kind is not FLAT:
        return "its rows have another order"
    if missing := backup.columns - present.columns:
        return f"it lacks the columns {', '.join(sorted(missing))}"
    for column in sorted({*backup.dropped, *present.dropped}):
        ours, theirs = backup.dropped_at(column), present.dropped_at(column)
        if theirs < ours:
            return f"cells of {column} that were dropped before the backup would come back"
        if theirs > ours and column in backup.columns and existing is not Existing.MERGE:
            return f"cells of {column} would not come back"
    return ""

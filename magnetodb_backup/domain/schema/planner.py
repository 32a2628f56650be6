# SPDX-License-Identifier: Apache-2.0
"""Compares the schema of a backup with the target's: objects to create, and differences."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from magnetodb_backup.domain.schema.cql_structure import (
    names_in,
    read_fields,
    read_options,
    read_signature,
    read_structure,
    same_text,
    tail,
)
from magnetodb_backup.domain.schema.cql_text import Statement, rewritten, split_statements
from magnetodb_backup.domain.schema.parts import (
    Named,
    Schema,
    added_columns,
    appended_fields,
    compare_drops,
    option_notes,
    table_difference,
    type_difference,
)
from magnetodb_backup.domain.schema.plan import SchemaPlan, Target, table_options
from magnetodb_backup.domain.schema.skips import Skips
from magnetodb_backup.domain.schema.unreadable import cannot_be_made, judge_unreadable
from magnetodb_backup.domain.tables import KeyspaceDescription, TableName, check_name, quote
from magnetodb_backup.errors import FormatProblem

__all__ = [
    "SchemaPlan",
    "Statement",
    "Target",
    "plan_schema",
    "split_statements",
    "table_options",
]

_LONGEST_INDEX_NAME = 221


def plan_schema(
    backup: Schema | str,
    present: Schema | str,
    targets: Sequence[Target],
    whole_keyspaces: Collection[str] = (),
    skips: Skips | None = None,
) -> SchemaPlan:
    """Compare two results of DESCRIBE SCHEMA WITH INTERNALS for the tables to be restored.

    ``whole_keyspaces`` (names in the backup) are created even without tables, with all their
    types, functions and aggregates. ``skips`` are not missed where they cannot be read.

    :raises InvalidValue: for a target name that is not valid in Cassandra.
    """
    for target in targets:
        check_name(target.target.keyspace, "keyspace")
        check_name(target.target.table, "table")
    ours, there = (Schema.read(s) if isinstance(s, str) else s for s in (backup, present))
    return _Planner(ours, there, targets, whole_keyspaces, skips or Skips()).plan()


class _Planner:
    def __init__(
        self,
        backup: Schema,
        present: Schema,
        targets: Sequence[Target],
        whole_keyspaces: Collection[str],
        skips: Skips,
    ) -> None:
        self._backup, self._present, self._skips = backup, present, skips
        self._targets, self._whole = targets, whole_keyspaces
        self._differences: list[str] = []
        self._notes: list[str] = []
        self._lost: list[str] = []
        self._keyspaces: dict[str, Statement] = {}  # to be made, as the following, by target name
        self._types: dict[Named, Statement] = {}
        self._functions: list[Statement] = []
        self._tables: list[Statement] = []
        self._indexes: list[Statement] = []
        self._views: list[Statement] = []
        self._compared: set[tuple[Named, str]] = set()
        self._appended: set[Named] = set()  # types that have more fields in the target
        self._grown: set[TableName] = set()
        self._index_names = {
            (table.keyspace, index.name): table
            for table, indexes in present.indexes.items()
            for index in indexes
        }

    def plan(self) -> SchemaPlan:
        taken: set[TableName] = set()
        for target in self._targets:
            if target.target in taken:
                self._differences.append(f"table {target.target} is the target of several tables")
            else:
                with self._reading(f"table {target.source}"):
                    self._place(target)
            taken.add(target.target)
        for keyspace in self._whole:
            goals = {t.target.keyspace for t in self._targets if t.source.keyspace == keyspace}
            for goal in sorted(goals or {keyspace}):
                self._place_keyspace(keyspace, goal)
        for target in self._targets:
            self._place_views(target)
        tables = {t.source: t.target for t in self._targets}
        differences, notes = judge_unreadable(
            self._backup, self._present, tables, self._whole, self._skips
        )
        self._differences += differences
        self._notes += notes
        functions = sorted(self._functions, key=lambda s: s.kind != "function")
        create = (
            *self._keyspaces.values(),
            *self._types.values(),
            *functions,
            *self._tables,
            *self._indexes,
        )
        return SchemaPlan(
            create,
            tuple(self._views),
            tuple(self._differences),
            tuple(dict.fromkeys(self._notes)),
            tuple(sorted(self._grown)),
            tuple(self._lost),
        )

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Turn a statement that cannot be read into a difference of the object it belongs to."""
        try:
            yield
        except FormatProblem as error:
            self._differences.append(f"{what} cannot be compared or created: {error}")

    # Tables.

    def _place(self, target: Target) -> None:
        """Plan to create one table, or compare it with the existing one."""
        name = target.target
        source = self._backup.table(target.source)
        present = self._present.table(name)
        if source is None and present is None and _is_system(name) and target.source == name:
            self._notes.append(f"table {name} is Cassandra's own; its structure is not compared")
        elif source is None and (lost := self._backup.lost("table", *target.source)):
            self._differences.append(cannot_be_made(lost))
        elif source is None:
            what = "a materialized view in" if target.source in self._backup.views else "not in"
            self._differences.append(f"table {target.source} is {what} the backup's schema")
        elif name in self._present.views:
            self._differences.append(f"table {name}: there is a materialized view of this name")
        elif present is not None:
            self._compare(target, source, present)
        elif target.source not in self._backup.tables:
            self._differences.append(
                f"table {name} does not exist, and CQL cannot make it: the backup's schema has "
                f"{target.source} only in a comment, for it was made by Cassandra's old API"
            )
        else:
            self._create(target, source)

    def _create(self, target: Target, source: Statement) -> None:
        name = target.target
        self._make_keyspace(target.source.keyspace, name.keyspace)
        self._need(target, source)
        table_id = read_options(source).get("id", "")
        owner = self._present.ids.get(table_id, target.source)
        if name == target.source and owner != name:
            self._notes.append(f"table {name} gets a new ID, as {owner} has its old one")
        keep_id = name == target.source and owner == name
        self._tables.append(self._renamed(target, source, keep_id=keep_id))
        self._tables += [
            self._renamed(target, s) for s in self._backup.alters.get(target.source, ())
        ]
        for index in self._backup.indexes.get(target.source, ()):
            self._indexes.append(
                self._renamed(target, index, index=self._index_name(target, index))
            )
        self._notes += [
            f"table {name}: trigger {quote(trigger.name)} is not restored; make it by hand"
            for trigger in self._backup.triggers.get(target.source, ())
            if not self._skips.has("trigger", name.keyspace, trigger.name)
        ]

    def _compare(self, target: Target, source: Statement, present: Statement) -> None:
        name = target.target
        self._need(target, source)
        alters = [self._renamed(target, s) for s in self._backup.alters.get(target.source, ())]
        ours = self._renamed(target, source)
        one = read_structure(ours, alters)
        other = read_structure(present, self._present.alters.get(name, ()))
        difference = table_difference(name, one, other)
        if difference:
            self._differences.append(difference)
        elif added := added_columns(one, other):
            self._grown.add(name)
            self._notes.append(
                f"table {name}: columns added since the backup are null in restored rows: "
                f"{', '.join(str(column) for column in added)}"
            )
        if not difference:
            drops = compare_drops(name, one, other)
            self._differences += drops.returning
            self._lost += drops.lost
        self._notes += option_notes(f"table {name}", ours, present)
        found = {tail(s) for s in self._present.indexes.get(name, ())}
        self._notes += [
            f"table {name}: index {quote(index.name)} of the backup is missing here"
            for index in self._backup.indexes.get(target.source, ())
            if tail(self._renamed(target, index)) not in found
        ]

    def _need(self, target: Target, table: Statement) -> None:
        """Plan the types and masking functions that a table needs."""
        structure = read_structure(table, self._backup.alters.get(target.source, ()))
        source, goal = target.source.keyspace, target.target.keyspace
        for name in sorted(structure.types):
            self._place_type(source, goal, name)
        if any(
            (goal, name) in self._appended for name in self._with_parts(source, structure.types)
        ):
            self._grown.add(target.target)
        for column in structure.columns.values():
            if column.mask and not column.mask.startswith("system."):
                mask = _function_name(column.mask)
                for function in self._backup.functions.get((source, mask), ()):
                    self._place_function(source, goal, function)

    def _with_parts(self, keyspace: str, names: Collection[str]) -> set[str]:
        """Return the names of types and of all types that these consist of."""
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            statement = self._backup.types.get((keyspace, name))
            if statement is not None and name not in found:
                found.add(name)
                left += read_fields(statement)[1]
        return found

    def _renamed(
        self, target: Target, statement: Statement, *, keep_id: bool = True, index: str = ""
    ) -> Statement:
        old, new = target.source, target.target
        return rewritten(
            statement,
            keyspace=lambda k: new.keyspace if k == old.keyspace else k,
            table=new.table,
            index=index or None,
            keep_id=keep_id,
        )

    def _index_name(self, target: Target, index: Statement) -> str:
        """Return a name that no index of another table in the keyspace has."""
        if not index.name:
            return ""
        name, keyspace = index.name, target.target.keyspace
        is_copy = target.source.keyspace == keyspace and target.source != target.target
        if is_copy or (keyspace, name) in self._index_names:
            name = _shortened(f"{target.target.table}_{name}")
        while (keyspace, name) in self._index_names:
            name = _shortened(f"{name}_")
        self._index_names[keyspace, name] = target.target
        return name

    # What belongs to a keyspace.

    def _place_keyspace(self, source: str, goal: str) -> None:
        if source not in self._backup.keyspaces and _is_system(TableName(source, "")):
            return
        self._make_keyspace(source, goal)
        for keyspace, name in self._backup.types:
            if keyspace == source:
                with self._reading(f"type {keyspace}.{name}"):
                    self._place_type(source, goal, name)
        for (keyspace, _), functions in self._backup.functions.items():
            for function in functions if keyspace == source else ():
                with self._reading(f"{function.kind} {keyspace}.{function.name}"):
                    self._place_function(source, goal, function)
        ours, present = self._backup.keyspaces.get(source), self._present.keyspaces.get(goal)
        if ours and present:
            self._notes += option_notes(f"keyspace {quote(goal)}", ours, present)

    def _make_keyspace(self, source: str, goal: str) -> None:
        if goal in self._present.keyspaces or goal in self._keyspaces:
            return
        statement = self._backup.keyspaces.get(source)
        if statement is None:
            difference = f"keyspace {quote(source)} is not in the backup's schema"
            if difference not in self._differences:
                self._differences.append(difference)
        else:
            self._keyspaces[goal] = _moved(statement, source, goal)

    def _place_type(self, source: str, goal: str, name: str) -> None:
        """Plan a type after those that it uses; names of Cassandra's own types are ignored."""
        statement = self._backup.types.get((source, name))
        if statement is None or ((goal, name), source) in self._compared:
            return
        self._compared.add(((goal, name), source))
        for used in sorted(read_fields(statement)[1]):
            self._place_type(source, goal, used)
        statement = _moved(statement, source, goal)
        present = self._present.types.get((goal, name)) or self._types.get((goal, name))
        if present is None:
            self._types[goal, name] = statement
        elif difference := type_difference(f"{quote(goal)}.{quote(name)}", statement, present):
            self._differences.append(difference)
        elif appended := appended_fields(statement, present):
            self._appended.add((goal, name))
            self._notes.append(
                f"type {quote(goal)}.{quote(name)}: fields added since the backup are null in "
                f"restored values: {', '.join(appended)}"
            )

    def _place_function(self, source: str, goal: str, function: Statement) -> None:
        for name in sorted(names_in(function)):
            self._place_type(source, goal, name)
        function = _moved(function, source, goal)
        known = [
            *self._present.functions.get((goal, function.name), ()),
            *(f for f in self._functions if (f.keyspace, f.name) == (goal, function.name)),
        ]
        signature = read_signature(function)
        same = [f for f in known if read_signature(f) == signature]
        if not same:
            self._functions.append(function)
        elif not same_text(same[0], function):
            self._notes.append(
                f"{function.kind} {quote(goal)}.{quote(function.name)}({', '.join(signature)}) "
                "exists with another definition than in the backup, and is not changed"
            )

    # Views.

    def _place_views(self, target: Target) -> None:
        old, new = target.source, target.target
        for name, view in self._backup.views.items():
            if (view.keyspace, view.table) != (old.keyspace, old.table):
                continue
            goal = TableName(new.keyspace, name.table)
            there = self._present.views.get(goal)
            if old.keyspace == new.keyspace and old != new:
                self._notes.append(
                    f"view {name} is not restored: its table goes to {new} beside it; make a view "
                    "of another name by hand"
                )
            elif goal in self._present.tables or (there and there.table != new.table):
                self._notes.append(f"view {goal} is not restored: another table has its name")
            else:
                owner = self._present.ids.get(read_options(view).get("id", ""), name)
                keep_id = goal == name and owner == name
                self._views.append(self._renamed(target, view, keep_id=keep_id))


def _function_name(mask: str) -> str:
    """Return a function's exact name without its keyspace, from ``[keyspace.]name`` in CQL."""
    name = mask.rpartition(".")[2]
    return name[1:-1] if name.startswith('"') else name


def _moved(statement: Statement, source: str, goal: str) -> Statement:
    return rewritten(statement, keyspace=lambda k: goal if k == source else k)


def _is_system(table: TableName) -> bool:
    return KeyspaceDescription(table.keyspace).is_system


def _shortened(name: str) -> str:
    """Return a name that is short enough; different long names stay different."""
    if len(name) <= _LONGEST_INDEX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: _LONGEST_INDEX_NAME - 13]}_{digest}"

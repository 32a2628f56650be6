# SPDX-License-Identifier: Apache-2.0
"""The objects of a schema that a restore leaves out because the request says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.schema.cql_structure import names_in, read_structure
from magnetodb_backup.domain.schema.cql_text import Statement, split_statements
from magnetodb_backup.domain.schema.steps import SchemaSteps
from magnetodb_backup.domain.tables import TableName, parse_name
from magnetodb_backup.errors import InvalidValue

KINDS = ("index", "view", "function", "trigger")


@dataclass(frozen=True)
class Skip:
    """An object to leave out; ``keyspace`` is empty for any. Aggregates count as functions."""

    kind: str
    keyspace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Skip:
        """Read ``kind=name`` or ``kind=keyspace.name``.

        :raises InvalidValue: for anything else.
        """
        kind, _, rest = text.partition("=")
        keyspace, dot, name = rest.rpartition(".")
        if kind not in KINDS or not name:
            raise InvalidValue(
                f"{text!r} does not say what to skip; write index=NAME, view=NAME, function=NAME "
                "or trigger=NAME, and keyspace.NAME where several keyspaces have that name"
            )
        return cls(kind, parse_name(keyspace) if dot else "", _object_name(name, kind))

    def __str__(self) -> str:
        return f"{self.kind}={f'{self.keyspace}.' if self.keyspace else ''}{self.name}"

    def matches(self, kind: str, keyspace: str, name: str) -> bool:
        """Return whether the object is one to leave out."""
        kind = "function" if kind == "aggregate" else kind
        return (kind, name) == (self.kind, self.name) and self.keyspace in ("", keyspace)


def _object_name(text: str, kind: str) -> str:
    # Names of functions may have other signs than those of tables.
    if len(text) > 2 and text.startswith('"') and text.endswith('"'):
        return text[1:-1].replace('""', '"')
    return text if kind == "function" else parse_name(text, kind)


class Skips:
    """All objects to leave out."""

    def __init__(self, wanted: Iterable[Skip] = ()) -> None:
        self._wanted = tuple(wanted)
        self._found: set[Skip] = set()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Skips:
        """Read the options of a request; see ``Skip.parse()``."""
        return cls(Skip.parse(text) for text in texts)

    def has(self, kind: str, keyspace: str, name: str) -> bool:
        """Return whether an object is left out."""
        found = [s for s in self._wanted if s.matches(kind, keyspace, name)]
        self._found.update(found)
        return bool(found)

    def has_view(self, view: TableName) -> bool:
        """Return whether a view is left out."""
        return self.has("view", view.keyspace, view.table)

    def kept(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return the statements that create what is not left out."""
        return tuple(text for text in texts if not self.left_out((text,)))

    def left_out(self, texts: Iterable[str]) -> tuple[Statement, ...]:
        """Return the statements that create what is left out."""
        return tuple(
            s
            for text in texts
            for s in split_statements(text)
            if self.has(s.kind, s.keyspace, s.name)
        )

    def used(self) -> tuple[str, ...]:
        """Return the options that matched an object so far."""
        return tuple(str(s) for s in self._wanted if s in self._found)

    def unused(self) -> tuple[str, ...]:
        """Return the options that matched no object so far."""
        return tuple(str(s) for s in self._wanted if s not in self._found)


def leave_out(steps: SchemaSteps, skips: Skips) -> tuple[SchemaSteps, tuple[Statement, ...]]:
    """Return the statements without those to skip, and these.

    What blocks the delivery is dropped in any case.
    """
    left_out = skips.left_out((*steps.before, *steps.after))
    skipped = tuple(statement.text for statement in left_out)
    return SchemaSteps(
        skips.kept(steps.before), skips.kept(steps.after), steps.drop, skipped
    ), left_out


def broken_without(left_out: Sequence[Statement], kept: Iterable[str]) -> list[str]:
    """Return a problem for each kept table or aggregate that needs a function left out."""
    functions = [s for s in left_out if s.kind == "function"]
    return [
        f"{statement.kind} {statement.keyspace}.{statement.name} needs the function "
        f"{function.keyspace}.{function.name}, which --skip leaves out; {_remedy(statement)}"
        for text in (kept if functions else ())
        for statement in split_statements(text)
        for function in functions
        if _needs(statement, function)
    ]


def _remedy(statement: Statement) -> str:
    if statement.kind == "aggregate":
        return f"say --skip function={statement.keyspace}.{statement.name} too"
    return "restore it without --skip, or choose other tables by --table"


def _needs(statement: Statement, function: Statement) -> bool:
    if statement.kind == "table":
        masks = [c.mask.rpartition(".")[2] for c in read_structure(statement).columns.values()]
        return any(mask.strip('"') == function.name for mask in masks)
    if statement.kind == "aggregate":
        same = statement.keyspace == function.keyspace
        return same and function.name in names_in(statement)
    return False

# SPDX-License-Identifier: Apache-2.0
"""What a table, a type or a function is made of, read from its CQL statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from magnetodb_backup.domain.schema.cql_text import Cursor, Statement, parse, shown
from magnetodb_backup.domain.schema.cql_tokens import TokenKind, canonical
from magnetodb_backup.domain.tables import quote
from magnetodb_backup.errors import FormatProblem


@dataclass(frozen=True)
class Column:
    """A column or field; ``mask`` is a masking function as ``keyspace.name`` or ``name``."""

    name: str
    type: str
    is_static: bool = False
    mask: str = ""

    def __str__(self) -> str:
        return f"{quote(self.name)} {self.type}{' static' if self.is_static else ''}"


@dataclass(frozen=True)
class DroppedColumn:
    """A column as it was when it was dropped; ``timestamp`` is in microseconds, as text."""

    column: Column
    timestamp: str

    @property
    def time(self) -> int:
        """Return the timestamp as a number; the earliest one, if it is not known."""
        return int(self.timestamp) if self.timestamp.isdigit() else 0


@dataclass(frozen=True)
class Alteration:
    """What an ALTER TABLE does: it drops columns at a time, or adds one, or something else."""

    dropped: tuple[str, ...] = ()
    timestamp: str = ""
    added: Column | None = None
    types: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Structure:
    """A table's columns (those that exist), keys, dropped columns and names of the types used."""

    columns: Mapping[str, Column]
    partition_key: tuple[str, ...]
    clustering: tuple[tuple[str, str], ...]  # column and ASC or DESC
    is_compact: bool = False
    dropped: Mapping[str, DroppedColumn] = field(default_factory=dict)
    types: frozenset[str] = frozenset()

    def lines(self) -> list[str]:
        """Return one line per key part and column, the same for equal structures."""
        keys = {*self.partition_key, *(name for name, _ in self.clustering)}
        result = [
            f"partition key {n}: {self._shown(name)}"
            for n, name in enumerate(self.partition_key, start=1)
        ]
        result += [
            f"clustering {n}: {self._shown(name)} {order}"
            for n, (name, order) in enumerate(self.clustering, start=1)
        ]
        result += [f"column {c}" for name, c in sorted(self.columns.items()) if name not in keys]
        return [*result, "compact storage"] if self.is_compact else result

    def _shown(self, name: str) -> str:
        return str(self.columns.get(name, f"{quote(name)} (no such column)"))


class _Reader(Cursor):
    """Reads types, columns and keys; ``types`` collects the names of types that were met."""

    def __init__(self, statement: Statement) -> None:
        parsed = parse(statement.text)
        super().__init__(parsed.tokens, parsed.rest)
        self.types: set[str] = set()

    def expect(self, *words: str) -> None:
        if not self.accept(*words):
            raise FormatProblem(f"{' '.join(words)} is missing in the CQL: {shown(self.tokens)}")

    def name(self) -> str:
        token = self.next()
        if not token.is_name:
            raise FormatProblem(f"{token.text!r} is no name in the CQL: {shown(self.tokens)}")
        return token.name

    def type(self) -> str:
        """Read a type, which may contain others."""
        first = self.at
        if self._type_is_literal():
            self.next()
            return canonical(self.tokens[first : self.at])
        place = self.place()
        if place is None:
            raise FormatProblem(f"a type is missing in the CQL: {shown(self.tokens)}")
        self.types.add(self.tokens[place.name].name)
        if self.accept("<"):
            self.type()
            while self.accept(","):
                self.type()
            self.expect(">")
        return canonical(self.tokens[first : self.at])

    def _type_is_literal(self) -> bool:  # a class of Cassandra's in quotes; a vector's dimension
        token = self.peek()
        return token is not None and token.kind in (TokenKind.STRING, TokenKind.NUMBER)

    def column(self) -> Column:
        """Read a column without what makes it a key."""
        column = Column(self.name(), self.type())
        if self.accept("STATIC"):
            column = replace(column, is_static=True)
        if self.accept("MASKED", "WITH"):
            first = self.at
            self.place()
            column = replace(column, mask=canonical(self.tokens[first : self.at]))
        return column

    def names(self) -> tuple[str, ...]:
        """Read ``name`` or ``(name, name)``."""
        if not self.accept("("):
            return (self.name(),)
        result = [self.name()]
        while self.accept(","):
            result.append(self.name())
        self.expect(")")
        return tuple(result)


def read_structure(table: Statement, alters: Iterable[Statement] = ()) -> Structure:
    """Read a CREATE TABLE and the ALTER TABLE statements that follow it.

    :raises FormatProblem: if it is not one.
    """
    reader = _Reader(table)
    reader.expect("(")
    columns: dict[str, Column] = {}
    keys: tuple[str, ...] = ()
    clustering: tuple[str, ...] = ()
    while True:
        if reader.accept("PRIMARY", "KEY"):
            reader.expect("(")
            keys = reader.names()
            while reader.accept(","):
                clustering += (reader.name(),)
            reader.expect(")")
        else:
            column = reader.column()
            columns[column.name] = column
            reader.skip_until("PRIMARY", ",", ")")
            if reader.accept("PRIMARY", "KEY"):
                keys = (column.name,)
        reader.skip_until(",", ")")
        if not reader.accept(","):
            break
    reader.expect(")")
    order, is_compact = _key_options(reader)
    dropped = _alter(alters, columns, reader.types)
    return Structure(
        columns,
        keys,
        tuple((name, order.get(name, "ASC")) for name in clustering),
        is_compact,
        dropped,
        frozenset(reader.types),
    )


def _key_options(reader: _Reader) -> tuple[dict[str, str], bool]:
    order: dict[str, str] = {}
    is_compact = False
    while reader.accept("WITH") or reader.accept("AND"):
        if reader.accept("COMPACT", "STORAGE"):
            is_compact = True
        elif reader.accept("CLUSTERING", "ORDER", "BY"):
            reader.expect("(")
            while not reader.accept(")"):
                name = reader.name()
                order[name] = "DESC" if reader.accept("DESC") else "ASC"
                reader.accept("ASC")
                reader.accept(",")
        reader.skip_until("AND", ";")
    return order, is_compact


def read_alteration(statement: Statement) -> Alteration:
    """Read an ALTER TABLE; one that neither drops nor adds columns is empty."""
    reader = _Reader(statement)
    if reader.accept("DROP"):
        names = reader.names()
        timestamp = reader.next().text if reader.accept("USING", "TIMESTAMP") else ""
        return Alteration(dropped=names, timestamp=timestamp)
    if reader.accept("ADD"):
        column = reader.column()
        return Alteration(added=column, types=frozenset(reader.types))
    return Alteration()


def _alter(
    alters: Iterable[Statement], columns: dict[str, Column], types: set[str]
) -> dict[str, DroppedColumn]:
    dropped = {}
    for statement in alters:
        alteration = read_alteration(statement)
        for name in alteration.dropped:
            if name in columns:
                dropped[name] = DroppedColumn(columns.pop(name), alteration.timestamp)
        if alteration.added is not None:
            columns[alteration.added.name] = alteration.added
        types |= alteration.types
    return dropped


def read_options(statement: Statement) -> dict[str, str]:
    """Return the ``name = value`` options after WITH, each value in one spelling of CQL."""
    cursor = Cursor(parse(statement.text).tokens)
    options: dict[str, str] = {}
    if not cursor.skip_until("WITH"):
        return options
    while cursor.accept("WITH") or cursor.accept("AND"):
        name = cursor.next()
        if cursor.accept("="):
            first = cursor.at
            cursor.skip_until("AND", ";")
            options[name.name] = canonical(cursor.tokens[first : cursor.at])
        else:
            cursor.skip_until("AND", ";")
    return options


def read_fields(statement: Statement) -> tuple[tuple[Column, ...], frozenset[str]]:
    """Return a CREATE TYPE's fields and the names of the types that they use."""
    reader = _Reader(statement)
    reader.expect("(")
    fields = [reader.column()]
    while reader.accept(","):
        fields.append(reader.column())
    reader.expect(")")
    return tuple(fields), frozenset(reader.types)


def read_signature(statement: Statement) -> tuple[str, ...]:
    """Return the types of the arguments of a function or an aggregate."""
    reader = _Reader(statement)
    reader.expect("(")
    result: list[str] = []
    while not reader.accept(")"):
        if statement.kind == "function":
            reader.name()
        result.append(reader.type())
        reader.accept(",")
    return tuple(result)


def names_in(statement: Statement) -> frozenset[str]:
    """Return every name in a statement: types that it uses are among them."""
    return frozenset(t.name for t in parse(statement.text).tokens if t.is_name)


def tail(statement: Statement) -> str:
    """Return an index's definition without its name and table, in one spelling."""
    parsed = parse(statement.text)
    return canonical(parsed.tokens[parsed.rest :])


def same_text(one: Statement, other: Statement) -> bool:
    """Compare two statements without regard to blanks and spelling of names."""
    texts: Sequence[str] = [canonical(parse(s.text).tokens) for s in (one, other)]
    return texts[0] == texts[1]

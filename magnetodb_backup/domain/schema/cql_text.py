# SPDX-License-Identifier: Apache-2.0
"""CQL as text: its statements, and the objects they create; no full parser.

The contents of strings, ``$$`` bodies and comments are never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from magnetodb_backup.domain.schema.cql_tokens import (
    Token,
    TokenKind,
    tokenize,
    tokens_before_an_open_end,
)
from magnetodb_backup.domain.tables import quote
from magnetodb_backup.errors import FormatProblem

_SHOWN = 60  # characters of a statement in an error


@dataclass(frozen=True)
class NamePlace:
    """The position of a name among the tokens; ``keyspace`` is -1 for an unqualified one."""

    keyspace: int
    name: int


class Cursor:
    """Reads the significant tokens from the left."""

    def __init__(self, tokens: Sequence[Token], at: int = 0) -> None:
        self.tokens = tokens
        self.at = at
        self._skip()

    def _skip(self) -> None:
        while self.at < len(self.tokens) and not self.tokens[self.at].is_significant:
            self.at += 1

    def peek(self) -> Token | None:
        """Return the next token, None at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def next(self) -> Token:
        """Consume the next token.

        :raises FormatProblem: at the end.
        """
        token = self.peek()
        if token is None:
            raise FormatProblem(f"the CQL ends too early: {shown(self.tokens)}")
        self.at += 1
        self._skip()
        return token

    def sees(self, *words: str) -> bool:
        """Return whether the next token is one of these keywords or signs."""
        token = self.peek()
        return token is not None and token.is_word(*words)

    def accept(self, *words: str) -> bool:
        """Consume these keywords or signs if all of them are next."""
        before = self.at
        for word in words:
            if not self.sees(word):
                self.at = before
                return False
            self.next()
        return True

    def place(self) -> NamePlace | None:
        """Consume ``name`` or ``keyspace.name``; return None if no name is next."""
        token = self.peek()
        if token is None or not token.is_name:
            return None
        first = self.at
        self.next()
        if not self.accept("."):
            return NamePlace(-1, first)
        token = self.peek()
        if token is None or not token.is_name:
            return None
        second = self.at
        self.next()
        return NamePlace(first, second)

    def skip_until(self, *words: str) -> bool:
        """Move to the first of these keywords outside brackets; return False if there is none."""
        depth = 0
        while (token := self.peek()) is not None:
            if depth <= 0 and token.is_word(*words):
                return True
            depth += token.is_word("(", "{", "[") - token.is_word(")", "}", "]")
            self.next()
        return False


def shown(tokens: Sequence[Token]) -> str:
    """Return the beginning of a statement for a message."""
    text = " ".join("".join(t.text for t in tokens).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


@dataclass(frozen=True)
class Statement:
    """One statement with its ``;``, as stored.

    ``kind`` is keyspace, type, function, aggregate, table, alter, index, view, trigger or other.
    ``name`` is the name of the created object (of the table for ``alter``), exact and without
    quotes; ``table`` is the table of the object (the base table of a view), else empty.
    """

    text: str
    kind: str
    keyspace: str
    name: str
    table: str


@dataclass(frozen=True)
class Parsed:
    """The tokens of a statement and the positions of its names; ``rest`` is the one after them."""

    tokens: tuple[Token, ...]
    kind: str = "other"
    name: NamePlace | None = None
    table: NamePlace | None = None
    rest: int = 0

    def text_of(self, index: int) -> str:
        """Return the exact name at a position, empty for none."""
        return self.tokens[index].name if index >= 0 else ""


_KINDS = {
    "keyspace": "keyspace",
    "schema": "keyspace",
    "type": "type",
    "function": "function",
    "aggregate": "aggregate",
    "table": "table",
    "columnfamily": "table",
    "index": "index",
    "trigger": "trigger",
}


@lru_cache(maxsize=16)  # a statement is asked about several times in a row
def parse(text: str) -> Parsed:
    """Parse one statement; the kind of an unknown one is ``other``."""
    return _parse(tokenize(text))


def _parse(tokens: tuple[Token, ...]) -> Parsed:
    cursor = Cursor(tokens)
    if cursor.accept("ALTER", "TABLE"):
        cursor.accept("IF", "EXISTS")
        table = cursor.place()
        return Parsed(tokens, "alter", table, table, cursor.at) if table else Parsed(tokens)
    if not cursor.accept("CREATE"):
        return Parsed(tokens)
    cursor.accept("OR", "REPLACE")
    if cursor.accept("MATERIALIZED", "VIEW"):
        kind = "view"
    else:
        cursor.accept("CUSTOM")
        kind = _KINDS.get(cursor.next().name, "other")
    cursor.accept("IF", "NOT", "EXISTS")
    if kind == "other":
        return Parsed(tokens)
    if kind == "index" and cursor.sees("ON"):  # without a name
        name = None
    elif (name := cursor.place()) is None:
        return Parsed(tokens)
    table = name if kind == "table" else None
    rest = cursor.at
    if kind in ("index", "trigger", "view"):
        if not cursor.skip_until("FROM" if kind == "view" else "ON"):
            return Parsed(tokens)
        cursor.next()
        if (table := cursor.place()) is None:
            return Parsed(tokens)
        rest = cursor.at
    return Parsed(tokens, kind, name, table, rest)


def parse_beginning(text: str) -> Parsed:
    """Parse as much of a statement as has complete tokens; the kind may be ``other``."""
    tokens = tokens_before_an_open_end(text)
    try:
        return _parse(tokens)
    except FormatProblem:
        return Parsed(tokens)


def as_statement(parsed: Parsed) -> Statement:
    """Return the statement that was parsed."""
    text = "".join(t.text for t in parsed.tokens)
    name = parsed.text_of(parsed.name.name) if parsed.name else ""
    table = parsed.text_of(parsed.table.name) if parsed.table else ""
    owner = parsed.table if parsed.kind in ("index", "trigger") else parsed.name
    keyspace = parsed.text_of(owner.keyspace) if owner else ""
    if parsed.kind == "keyspace":
        keyspace = name
    return Statement(text, parsed.kind, keyspace, name, table)


def scan(text: str) -> tuple[tuple[Statement, ...], tuple[str, ...]]:
    """Return the statements and the comments between them.

    :raises FormatProblem: for strings and comments without an end, and a last statement without.
    """
    statements: list[Statement] = []
    comments: list[str] = []
    current: list[Token] = []
    for token in tokenize(text):
        if not current and not token.is_significant:
            if token.kind is TokenKind.COMMENT:
                comments.append(token.text)
            continue
        current.append(token)
        if token.is_word(";"):
            if len(current) > 1:
                statements.append(as_statement(_parse(tuple(current))))
            current = []
    if current:
        raise FormatProblem(f"the CQL's last statement has no end: {shown(current)}")
    return tuple(statements), tuple(comments)


def split_statements(text: str) -> tuple[Statement, ...]:
    """Return the statements in their order; comments between them are left out.

    :raises FormatProblem: for strings and comments without an end, and a last statement without.
    """
    return scan(text)[0]


def rewritten(
    statement: Statement,
    *,
    keyspace: Callable[[str], str] = lambda name: name,
    table: str | None = None,
    index: str | None = None,
    keep_id: bool = True,
) -> Statement:
    """Return a statement with other names.

    ``keyspace`` gives every keyspace's new name, wherever it qualifies a name; ``table`` is the
    new name of the table that the statement belongs to, ``index`` that of the index.
    """
    parsed = parse(statement.text)
    tokens = list(parsed.tokens)

    def put(place: int, name: str) -> None:
        if tokens[place].name != name:
            tokens[place] = Token(TokenKind.QUOTED, quote(name))

    for place in _qualifiers(parsed.tokens):
        put(place, keyspace(parsed.text_of(place)))
    if parsed.kind == "keyspace" and parsed.name:
        put(parsed.name.name, keyspace(parsed.text_of(parsed.name.name)))
    if table is not None and parsed.table:
        put(parsed.table.name, table)
    if index is not None and parsed.kind == "index" and parsed.name:
        put(parsed.name.name, index)
    text = "".join(t.text for t in (tokens if keep_id else _without_id(tokens)))
    return as_statement(parse(text))


def _qualifiers(tokens: Sequence[Token]) -> list[int]:
    """Return the places of names that are followed by a dot and a name."""
    places = [i for i, t in enumerate(tokens) if t.is_significant]
    found = []
    for n, place in enumerate(places[:-2]):
        dot, name = tokens[places[n + 1]], tokens[places[n + 2]]
        if tokens[place].is_name and dot.is_word(".") and name.is_name:
            found.append(place)
    return found


def _without_id(tokens: list[Token]) -> list[Token]:
    """Remove ``ID = ...`` from the options, with a WITH or AND that is not needed any more."""
    cursor = Cursor(tokens)
    if not cursor.skip_until("WITH"):
        return tokens
    joint = cursor.at  # the WITH or AND before an option
    cursor.next()
    while not cursor.sees("ID"):
        if not cursor.skip_until("AND"):
            return tokens
        joint = cursor.at
        cursor.next()
    first = cursor.at
    for _ in range(3):  # ID = uuid
        cursor.next()
    if tokens[joint].is_word("WITH") and cursor.accept("AND"):
        return tokens[:first] + tokens[cursor.at :]
    return tokens[:joint] + tokens[cursor.at :]

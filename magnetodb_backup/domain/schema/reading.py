# SPDX-License-Identifier: Apache-2.0
"""Reads a schema row by row, so that one unreadable statement spoils only its own object.

DESCRIBE returns rows. Older backups have only their joined text, which is split here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.schema.cql_text import Statement, as_statement, parse_beginning, scan
from magnetodb_backup.domain.schema.cql_tokens import token_spans
from magnetodb_backup.domain.schema.rows import SchemaRow
from magnetodb_backup.errors import FormatProblem

# The end of one row and the beginning of another; both may also be within a string.
_BORDER = re.compile(r"(?<=[;/])\n\n(?=CREATE |ALTER |/\*)")
_FUNCTION = re.compile(r"CREATE\s+(?:OR\s+REPLACE\s+)?FUNCTION\s", re.I)
_BODY_END = re.compile(r"\$\$;(?=\s*\Z|\n\n(?:CREATE |ALTER |/\*))")
_JOINED = 16  # pieces that one statement with borders in its strings may consist of


@dataclass(frozen=True)
class Unreadable:
    """An object whose statement cannot be read; ``of`` has its names as far as they are known."""

    of: Statement
    reason: str

    @property
    def label(self) -> str:
        """Its kind, keyspace and name, for messages."""
        return f"{self.of.kind} {'.'.join(n for n in (self.of.keyspace, self.of.name) if n)}"


def rows_of(text: str) -> tuple[SchemaRow, ...]:
    """Split the text of a schema into rows; what cannot be read is a row, too.

    A statement ends where its strings, names and comments are closed. One that never closes ends
    at the next border, and a function at the ``$$`` before a border.
    """
    return tuple(_row(piece) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    borders = [m.start() for m in _BORDER.finditer(text)] + [len(text)]
    start = 0
    while start < len(text):
        end = _end(text, start, borders)
        if piece := text[start:end].strip():
            yield piece
        start = max(end, start + 1)
        while start < len(text) and text[start].isspace():
            start += 1


def _end(text: str, start: int, borders: Sequence[int]) -> int:
    following = borders[bisect_right(borders, start) :][:_JOINED]
    if _FUNCTION.match(text, start):
        body = _body_start(text[start : following[0]])
        if body and (end := _BODY_END.search(text, start + body)):
            return end.end()
    for border in following:
        try:
            scan(text[start:border])
        except FormatProblem:
            continue
        return border
    return following[0]


def _row(piece: str) -> SchemaRow:
    statement = as_statement(parse_beginning(piece))
    return SchemaRow(statement.keyspace, statement.kind, statement.name, piece)


def read_row(row: SchemaRow) -> tuple[tuple[Statement, ...], tuple[str, ...]]:
    """Return the statements of a row and the comments between them.

    :raises FormatProblem: if they cannot be read.
    """
    return scan(_with_plain_body(row.statement))


def unreadable(row: SchemaRow, error: FormatProblem) -> Unreadable:
    """Return the object of a row that cannot be read."""
    found = as_statement(parse_beginning(row.statement))
    kind = found.kind if found.kind != "other" else row.kind
    return Unreadable(
        Statement(
            row.statement, kind, row.keyspace or found.keyspace, found.name or row.name, found.table
        ),
        str(error),
    )


def _with_plain_body(text: str) -> str:
    """Return a function's statement with its body as a string where it holds ``$$`` itself.

    Cassandra accepts such a body in single quotes, and describes it between ``$$`` regardless.
    """
    if not _FUNCTION.match(text):
        return text
    end = text.rstrip().removesuffix("$$;")
    start = _body_start(text)
    if not start or end == text.rstrip() or start > len(end):
        return text
    body = end[start:]
    if "$$" not in body and not body.endswith("$"):
        return text
    return f"{text[: start - 2]}'{body.replace(chr(39), chr(39) * 2)}';"


def _body_start(function: str) -> int:
    """Return the position after the ``$$`` that opens a body; 0 if there is none."""
    for token, start in token_spans(function):
        if token.startswith("$$"):
            return start + 2
    return 0

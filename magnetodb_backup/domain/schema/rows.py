# SPDX-License-Identifier: Apache-2.0
"""The rows of DESCRIBE SCHEMA: one statement each, with the keyspace that it belongs to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

# A map of texts, as the options of a replication strategy.
_TEXT = "'(?:[^']|'')*'"
_MAP = re.compile(f"= {{({_TEXT}: {_TEXT}(?:, {_TEXT}: {_TEXT})*)}}")
_ENTRY = re.compile(f"{_TEXT}: {_TEXT}")
_DROPPED_AT = re.compile(r"(?<= USING TIMESTAMP )[0-9]+(?=;)")
_MILLISECONDS = 13  # digits of a time in milliseconds


class SchemaRow(NamedTuple):
    """One object of the schema; ``kind`` is keyspace, table, type …, names have no quotes."""

    keyspace: str
    kind: str
    name: str
    statement: str


def schema_text(rows: Iterable[SchemaRow]) -> str:
    """Return the statements of all rows as one text."""
    return "\n\n".join(row.statement for row in rows) + "\n"


def keyspaces_digest(rows: Iterable[SchemaRow], keyspaces: Collection[str]) -> str:
    """Return the SHA-256 of the statements of these keyspaces; their order does not matter.

    Nor do differences that nodes with one schema show: the node that executed a statement
    describes it with the map options in the order of the statement, and the time at which a column
    was dropped in microseconds; the other nodes, and itself after a restart, read both from tables
    that order maps and store milliseconds.
    """
    digest = hashlib.sha256()
    for row in sorted(
        row._replace(statement=_normalised(row.statement))
        for row in rows
        if row.keyspace in keyspaces
    ):
        digest.update("\0".join((*row, "")).encode())
    return digest.hexdigest()


def _normalised(statement: str) -> str:
    ordered = _MAP.sub(
        lambda found: f"= {{{', '.join(sorted(_ENTRY.findall(found[1])))}}}", statement
    )
    return _DROPPED_AT.sub(_in_milliseconds, ordered)


def _in_milliseconds(time: re.Match[str]) -> str:
    return time[0] if len(time[0]) == _MILLISECONDS else str(int(time[0]) // 1000)


def unquoted(name: str) -> str:
    """Return a name as Cassandra stores it; DESCRIBE quotes those that CQL has to quote."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name

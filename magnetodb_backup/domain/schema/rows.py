# SPDX-License-Identifier: Apache-2.0
"""The rows of DESCRIBE SCHEMA: one statement each, with the keyspace that it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import NamedTuple


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
    """Return the SHA-256 of the statements of these keyspaces; their order does not matter."""
    digest = hashlib.sha256()
    for row in sorted(row for row in rows if row.keyspace in keyspaces):
        digest.update("\0".join((*row, "")).encode())
    return digest.hexdigest()


def unquoted(name: str) -> str:
    """Return a name as Cassandra stores it; DESCRIBE quotes those that CQL has to quote."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name

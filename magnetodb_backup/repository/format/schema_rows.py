# SPDX-License-Identifier: Apache-2.0
"""The rows of a schema as JSON Lines; the text beside them, which the manifest names, proves them.

The first line has the format, the backup's ID, and whether the grants could be read. Each other
line is a row; those of the type ``grant`` are not in the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from magnetodb_backup.domain.backup.manifest import FORMAT
from magnetodb_backup.domain.schema.grants import GRANT
from magnetodb_backup.domain.schema.rows import SchemaRow, schema_text
from magnetodb_backup.errors import FormatProblem

_MEMBERS = ("keyspace", "type", "name", "statement")


@dataclass(frozen=True)
class StoredSchema:
    """The rows of a backup's schema, and its grants; None if they are not known."""

    rows: tuple[SchemaRow, ...]
    grants: tuple[SchemaRow, ...] | None = None


def schema_rows_bytes(backup_id: str, schema: StoredSchema) -> bytes:
    """Return the stored form of a schema's rows."""
    header = {"format": FORMAT, "backup_id": backup_id, "grants": schema.grants is not None}
    lines = [header, *(_line(row) for row in _all(schema))]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _line(row: SchemaRow) -> dict[str, str]:
    return dict(zip(_MEMBERS, row, strict=True))


def _all(schema: StoredSchema) -> Iterable[SchemaRow]:
    return (*schema.rows, *(schema.grants or ()))


def parse_schema_rows(body: bytes, name: str, text: str) -> StoredSchema:
    """Return the stored rows, whose joined statements are ``text``.

    :raises FormatProblem: if the object is malformed, or the rows are of another schema.
    """
    try:
        header, *lines = [json.loads(line) for line in body.decode().split("\n") if line]
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}")
        rows = [SchemaRow(*(str(line[name]) for name in _MEMBERS)) for line in lines]
        of_schema = tuple(row for row in rows if row.kind != GRANT)
        if schema_text(of_schema) != text:
            raise ValueError("its statements are not those of schema.cql")
        grants = tuple(row for row in rows if row.kind == GRANT) if header["grants"] else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatProblem(f"{name}: malformed rows of a schema ({error})") from None
    return StoredSchema(of_schema, grants)

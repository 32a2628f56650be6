# SPDX-License-Identifier: Apache-2.0
"""The rows of a schema as JSON Lines; the text beside them, which the manifest names, proves them.

The first line has the format and the backup's ID, each other line a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from magnetodb_backup.domain.backup.manifest import FORMAT
from magnetodb_backup.domain.schema.rows import SchemaRow, schema_text
from magnetodb_backup.errors import FormatProblem


def schema_rows_bytes(backup_id: str, rows: Iterable[SchemaRow]) -> bytes:
    """Return the stored form of a schema's rows."""
    lines = [{"format": FORMAT, "backup_id": backup_id}, *(_line(row) for row in rows)]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def parse_schema_rows(body: bytes, name: str, text: str) -> tuple[SchemaRow, ...]:
    """Return the stored rows, whose joined statements are ``text``.

    :raises FormatProblem: if the object is malformed, or the rows are of another schema.
    """
    try:
        header, *lines = [json.loads(line) for line in body.decode().splitlines()]
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}")
        rows = tuple(SchemaRow(**line) for line in lines)
        if schema_text(rows) != text:
            raise ValueError("its statements are not those of schema.cql")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatProblem(f"{name}: malformed rows of a schema ({error})") from None
    return rows

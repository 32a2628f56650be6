# SPDX-License-Identifier: Apache-2.0
"""The rows of a schema as JSON Lines; the text beside them, which the manifest names, proves them.

The first line has the format, the backup's ID, whether the grants could be read, and the SHA-256 of
the lines that follow; backups of older releases lack it. Each other line is a row; those of the
type ``grant`` are not in the text.
"""

from __future__ import annotations

import hashlib
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
    body = "".join(json.dumps(_line(row)) + "\n" for row in _all(schema)).encode()
    return _header(backup_id, schema, hashlib.sha256(body).hexdigest()) + body


def _header(backup_id: str, schema: StoredSchema, sha256: str) -> bytes:
    header: dict[str, object] = {"format": FORMAT, "backup_id": backup_id}
    header["grants"] = schema.grants is not None
    if sha256:
        header["sha256"] = sha256
    return json.dumps(header).encode() + b"\n"


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
        digest = hashlib.sha256(body.partition(b"\n")[2]).hexdigest()
        if header.get("sha256", digest) != digest:
            raise ValueError("its lines do not have the SHA-256 that the first line names")
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


def check_schema_rows(body: bytes, name: str, text: str, backup_id: str) -> None:
    """Require that stored rows are, byte for byte, what this or an older release stores.

    :raises FormatProblem: otherwise; the first line has no digest of its own.
    """
    schema = parse_schema_rows(body, name, text)
    whole = schema_rows_bytes(backup_id, schema)
    older = _header(backup_id, schema, "") + whole.partition(b"\n")[2]
    if body not in (whole, older):
        raise FormatProblem(f"{name}: is not as it was stored; another program has changed it")

# SPDX-License-Identifier: Apache-2.0
"""The types of columns that all supported databases store alike."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import DateTime, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine
from typing_extensions import override

from magnetodb_backup.errors import InvalidValue

_MARIADB = ("mysql", "mariadb")


class UtcTime(TypeDecorator[datetime]):
    """An aware time, stored as UTC with microseconds, without zones of the database."""

    impl = DateTime
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in _MARIADB:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(timezone.utc).replace(tzinfo=None) if value else None

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=timezone.utc) if value else None


_LONGEST_DOCUMENT = 12_000_000  # bytes


class Document(TypeDecorator[Any]):
    """A JSON document, in MariaDB of up to 12 MB.

    More than 16 MB has no room in MariaDB's MEDIUMTEXT, nor in its usual ``max_allowed_packet``,
    and a statement that is too large looks like an outage. Other databases take 1 GB.
    """

    impl = Text
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in _MARIADB:
            return dialect.type_descriptor(mysql.MEDIUMTEXT())
        return dialect.type_descriptor(Text())

    @override
    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        text = json.dumps(value, separators=(",", ":"))  # ASCII
        if dialect.name in _MARIADB and len(text) > _LONGEST_DOCUMENT:
            raise InvalidValue(
                f"a document of {len(text):,} bytes is too large for the database, which takes "
                f"{_LONGEST_DOCUMENT:,}; back up fewer tables or nodes at once"
            )
        return text

    @override
    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


# MariaDB's TEXT ends at 64 kB; an error may name thousands of tables.
LONG_TEXT = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")

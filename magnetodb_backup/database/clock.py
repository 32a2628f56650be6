# SPDX-License-Identifier: Apache-2.0
"""The clock of the database: processes whose own clocks differ agree on it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class DatabaseTime(FunctionElement[float]):
    """The database's own clock, in seconds since the epoch, with fractions."""

    type = Double()
    inherit_cache = True


@compiles(DatabaseTime, "sqlite")
def _sqlite_time(element: Any, compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"  # any version of SQLite, milliseconds


@compiles(DatabaseTime, "mysql")
def _mysql_time(element: Any, compiler: Any, **_: Any) -> str:
    return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000000.0)"


@compiles(DatabaseTime, "postgresql")
def _postgresql_time(element: Any, compiler: Any, **_: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"

# SPDX-License-Identifier: Apache-2.0
"""What a comparison of schemas is about, and what it results in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from magnetodb_backup.domain.schema.cql_structure import read_options
from magnetodb_backup.domain.schema.cql_text import Statement
from magnetodb_backup.domain.tables import TableName


@dataclass(frozen=True)
class Target:
    """The source and the target name of a table."""

    source: TableName
    target: TableName


@dataclass(frozen=True)
class SchemaPlan:
    """The changes needed before tables can be restored.

    ``create`` are statements to execute in this order, with the target's names: keyspaces, types,
    functions, aggregates, tables each with its alters, indexes. ``views`` are those of the
    tables. ``differences`` forbid the restore, each with the name of a table or type and mostly
    a unified diff; ``notes`` do not. ``grown`` are target tables whose rows have columns or fields
    that the backup's lack. ``lost`` forbid a restore of exactly the backup's rows: cells that would
    not come back.
    """

    create: tuple[Statement, ...]
    views: tuple[Statement, ...]
    differences: tuple[str, ...]
    notes: tuple[str, ...]
    grown: tuple[TableName, ...] = ()
    lost: tuple[str, ...] = ()


def table_options(statements: Iterable[Statement], table: TableName) -> Mapping[str, str]:
    """Return the options in a table's WITH, as CQL; empty for an unknown table."""
    for statement in statements:
        if statement.kind == "table" and TableName(statement.keyspace, statement.name) == table:
            return read_options(statement)
    return {}

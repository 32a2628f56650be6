# SPDX-License-Identifier: Apache-2.0
"""Nodes, tables and selections in the form that tasks and step results carry.

The domain's own classes validate names and hold tokens as numbers; JSON has tokens as text, because
they have 64 bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import Selection, TableDescription, TableName, check_name
from magnetodb_backup.tasks.codec import decode, encode


@dataclass(frozen=True)
class Member:
    """A node of the ring; ``tokens`` as text."""

    host_id: str
    address: str
    dc: str
    rack: str
    version: str
    tokens: tuple[str, ...]
    schema_version: str = ""

    @classmethod
    def of(cls, member: RingMember) -> Member:
        """Return the form of a ring member that is exchanged."""
        return decode(cls, member.as_json())

    def ring_member(self) -> RingMember:
        """Return the ring member that this describes."""
        return RingMember.from_json(encode(self))


@dataclass(frozen=True)
class PresentMember:
    """A node that takes part in a job, and the ID of its worker."""

    member: Member
    worker_id: str


@dataclass(frozen=True)
class SelectedTable:
    """A table or materialized view; ``id`` is 32 hexadecimal digits."""

    keyspace: str
    table: str
    id: str
    is_view: bool = False

    @classmethod
    def of(cls, table: TableDescription) -> SelectedTable:
        """Return the form of a table that is exchanged."""
        return cls(table.name.keyspace, table.name.table, table.id, table.is_view)

    def description(self) -> TableDescription:
        """Return the table that this names.

        :raises InvalidValue: for a name or an ID that Cassandra could not have.
        """
        return TableDescription.from_json(encode(self))


@dataclass(frozen=True)
class SelectedKeyspace:
    """A keyspace of which tables are selected; ``system`` if it is Cassandra's own."""

    name: str
    replication: Mapping[str, str] = field(default_factory=dict)
    system: bool = False


@dataclass(frozen=True)
class SelectedTables:
    """A selection as jobs and workers exchange it."""

    keyspaces: tuple[SelectedKeyspace, ...]
    tables: tuple[SelectedTable, ...]

    @classmethod
    def of(cls, selection: Selection) -> SelectedTables:
        """Return the form of a selection that is exchanged."""
        return decode(cls, selection.as_json())

    def selection(self) -> Selection:
        """Return the selection that this describes.

        :raises InvalidValue: for a name or an ID that Cassandra could not have.
        """
        return Selection.from_json(
            {
                "keyspaces": [encode(k) for k in self.keyspaces],
                "tables": [encode(t) for t in self.tables],
            }
        )

    def without(self, keyspaces: Collection[str]) -> SelectedTables:
        """Return the selection without these keyspaces and their tables."""
        return SelectedTables(
            tuple(k for k in self.keyspaces if k.name not in keyspaces),
            tuple(t for t in self.tables if t.keyspace not in keyspaces),
        )

    def digest(self) -> str:
        """Return the SHA-256 of names and IDs of the tables outside Cassandra's own keyspaces.

        Each release of Cassandra has tables of its own in those.
        """
        system = {keyspace.name for keyspace in self.keyspaces if keyspace.system}
        tables = (table for table in self.tables if table.keyspace not in system)
        lines = sorted(f"{t.keyspace}.{t.table} {t.id}\n" for t in tables)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def table_name(pair: tuple[str, str]) -> TableName:
    """Return the table that a pair of keyspace and table names.

    :raises InvalidValue: for a name that Cassandra could not have.
    """
    keyspace, table = pair
    return TableName(check_name(keyspace, "keyspace"), check_name(table, "table"))

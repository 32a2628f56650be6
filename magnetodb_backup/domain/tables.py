# SPDX-License-Identifier: Apache-2.0
"""Names of keyspaces and tables, and their description in the schema of a cluster."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from magnetodb_backup.errors import InvalidValue

# Cassandra allows letters, digits and underscores, at most 222 characters since 4.1 (48 before).
_NAME = re.compile(r"[A-Za-z0-9_]{1,222}")
_UNQUOTED = re.compile(r"[a-z][a-z0-9_]*")
# Words that CQL takes for its own where a name is expected.
_RESERVED = re.compile(
    r"add|allow|alter|and|apply|asc|authorize|batch|begin|by|columnfamily|create|default|"
    r"delete|desc|describe|drop|entries|execute|from|full|grant|if|in|index|infinity|insert|"
    r"into|is|keyspace|limit|materialized|mbean|mbeans|modify|nan|norecursive|not|null|of|on|"
    r"or|order|primary|rename|replace|revoke|schema|select|set|table|to|token|truncate|"
    r"unlogged|unset|update|use|using|view|where|with"
)
# Cassandra's SchemaConstants and VirtualSchemaKeyspace from 4.0 to 6.0. Other names that begin with
# system_ are free for users.
SYSTEM_KEYSPACES = frozenset(
    {
        "system",
        "system_accord",
        "system_accord_debug",
        "system_accord_debug_remote",
        "system_auth",
        "system_cluster_metadata",
        "system_distributed",
        "system_metrics",
        "system_schema",
        "system_traces",
        "system_views",
        "system_virtual_schema",
    }
)
_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^".]+)')


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it is valid in Cassandra, so that it can be part of a path or of CQL.

    :raises InvalidValue: otherwise; the message calls it ``what``.
    """
    if not _NAME.fullmatch(name):
        raise InvalidValue(
            f"{name!r} is not a {what} name: letters, digits and underscores, 1 to 222 of them"
        )
    return name


def quote(name: str) -> str:
    """Return ``name`` as CQL: in double quotes unless it is lower case and not a keyword."""
    is_plain = _UNQUOTED.fullmatch(name) and not _RESERVED.fullmatch(name)
    return name if is_plain else '"' + name.replace('"', '""') + '"'


def parse_name(text: str, what: str = "keyspace") -> str:
    """Read one name as a user types it: ``"Quoted"`` or plain; plain keeps its case.

    Cassandra folds unquoted names to lower case only in CQL. A shell easily removes the quotes, so
    a plain name keeps its case and is compared with existing names.
    """
    match = _PART.fullmatch(text.strip())
    if match is None:
        raise InvalidValue(f'{text!r} is not a {what} name; write name or "Name"')
    return check_name(match["quoted"] or match["plain"], what)


class TableName(NamedTuple):
    """A table's full name, exactly as Cassandra stores it (case kept, no quotes).

    As a tuple it is ``[keyspace, table]`` in JSON.
    """

    keyspace: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read ``keyspace.table``; either part may be in double quotes.

        :raises InvalidValue: if there are not exactly two parts.
        """
        parts = list(_PART.finditer(text.strip()))
        if len(parts) != 2 or text.strip() != f"{parts[0][0]}.{parts[1][0]}":
            raise InvalidValue(f"{text!r} is not a table; write keyspace.table")
        return cls(parse_name(parts[0][0]), parse_name(parts[1][0], "table"))

    def __str__(self) -> str:
        return f"{quote(self.keyspace)}.{quote(self.table)}"


@dataclass(frozen=True)
class TableDescription:
    """One table or materialized view of the schema; ``id`` is 32 hexadecimal digits."""

    name: TableName
    id: str
    is_view: bool = False

    def as_json(self) -> dict[str, object]:
        """Return the form of the table in selections and manifests."""
        return {
            "keyspace": self.name.keyspace,
            "table": self.name.table,
            "id": self.id,
            "is_view": self.is_view,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> TableDescription:
        """Read what ``as_json()`` returned.

        :raises InvalidValue: for a name or an ID that is not valid in Cassandra.
        """
        table_id = str(data["id"])
        if not re.fullmatch("[0-9a-f]{32}", table_id):
            raise InvalidValue(f"{table_id!r} is not a table ID of 32 hexadecimal digits")
        return cls(
            TableName(
                check_name(str(data["keyspace"]), "keyspace"),
                check_name(str(data["table"]), "table"),
            ),
            table_id,
            bool(data.get("is_view", False)),
        )


@dataclass(frozen=True)
class TableSettings:
    """Options of a table or view that exists; ``compaction`` as in ``system_schema.tables``."""

    gc_grace_seconds: int
    compaction: Mapping[str, str]


@dataclass(frozen=True)
class IndexDescription:
    """A secondary index: ``kind`` as in ``system_schema.indexes``; a custom one has a class."""

    table: TableName
    name: str
    kind: str
    class_name: str = ""

    @property
    def is_attached(self) -> bool:
        """True for SAI, whose files are beside the SSTables; Cassandra builds missing ones."""
        return self.class_name.rpartition(".")[2].lower() in ("sai", "storageattachedindex")

    @property
    def is_with_sstables(self) -> bool:
        """True if each SSTable has its own part of the index (SAI and SASI)."""
        return self.is_attached or self.class_name.endswith("SASIIndex")


@dataclass(frozen=True)
class KeyspaceDescription:
    """A keyspace: ``replication`` as in ``system_schema.keyspaces``; virtual ones are marked."""

    name: str
    replication: Mapping[str, str] = field(default_factory=dict)
    virtual: bool = False

    @property
    def is_local(self) -> bool:
        """True for LocalStrategy: data of one node, without meaning on another node."""
        return self.replication.get("class", "").endswith("LocalStrategy")

    @property
    def is_system(self) -> bool:
        """True for the keyspaces that Cassandra creates itself."""
        return self.name in SYSTEM_KEYSPACES or self.virtual or self.is_local


@dataclass(frozen=True)
class ClusterSchema:
    """The keyspaces and tables of a cluster: the input of a scope."""

    keyspaces: tuple[KeyspaceDescription, ...]
    tables: tuple[TableDescription, ...]

    def tables_of(self, keyspace: str) -> tuple[TableDescription, ...]:
        """Return a keyspace's tables and views, in the schema's order."""
        return tuple(t for t in self.tables if t.name.keyspace == keyspace)


@dataclass(frozen=True)
class Selection:
    """The tables that a scope selected, in order, and their keyspaces.

    ``keyspaces`` also names selected keyspaces that have no table.
    """

    keyspaces: tuple[KeyspaceDescription, ...]
    tables: tuple[TableDescription, ...]

    def without(self, keyspaces: Collection[str]) -> Selection:
        """Return the selection without these keyspaces and their tables."""
        return Selection(
            tuple(k for k in self.keyspaces if k.name not in keyspaces),
            tuple(t for t in self.tables if t.name.keyspace not in keyspaces),
        )

    def as_json(self) -> dict[str, object]:
        """Return the form of the selection in jobs and backup manifests."""
        return {
            "keyspaces": [
                {"name": k.name, "replication": dict(k.replication), "system": k.is_system}
                for k in self.keyspaces
            ],
            "tables": [t.as_json() for t in self.tables],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Selection:
        """Read what ``as_json()`` returned.

        :raises InvalidValue: for a name or an ID that is not valid in Cassandra.
        """
        keyspaces = data["keyspaces"]
        tables = data["tables"]
        if not isinstance(keyspaces, list) or not isinstance(tables, list):
            raise InvalidValue("a selection needs the lists 'keyspaces' and 'tables'")
        return cls(
            tuple(
                KeyspaceDescription(check_name(str(k["name"]), "keyspace"), dict(k["replication"]))
                for k in keyspaces
            ),
            tuple(TableDescription.from_json(t) for t in tables),
        )

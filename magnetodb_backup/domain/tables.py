# SPDX-License-Identifier: Apache-2.0
"""Names of keyspaces and tables, and what a cluster's schema says of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^".]+)')


def check_name(name: str, what: str) -> str:
    """Return ``name`` if Cassandra could have it; it may then become part of a path or of CQL.

    :raises InvalidValue: otherwise; ``what`` is the word for it in the message.
    """
    if not _NAME.fullmatch(name):
        raise InvalidValue(
            f"{name!r} is not a {what} name: letters, digits and underscores, 1 to 222 of them"
        )
    return name


def quote(name: str) -> str:
    """Return ``name`` as CQL wants it: in double quotes unless plain lower case and no keyword."""
    is_plain = _UNQUOTED.fullmatch(name) and not _RESERVED.fullmatch(name)
    return name if is_plain else '"' + name.replace('"', '""') + '"'


def parse_name(text: str, what: str = "keyspace") -> str:
    """Read one name as a user types it: ``"Quoted"`` or plain; plain keeps its case.

    Cassandra folds unquoted names to lower case only in CQL. In a shell the quotes are easily
    lost, so a plain name is taken as it is and only compared with what exists.
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
        """Return the table as selections and manifests have it."""
        return {
            "keyspace": self.name.keyspace,
            "table": self.name.table,
            "id": self.id,
            "is_view": self.is_view,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> TableDescription:
        """Read what ``as_json()`` returned.

        :raises InvalidValue: for a name or an ID that Cassandra could not have.
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
class IndexDescription:
    """A secondary index: ``kind`` as in ``system_schema.indexes``, of custom ones their class."""

    table: TableName
    name: str
    kind: str
    class_name: str = ""

    @property
    def is_attached(self) -> bool:
        """True for SAI: it lies beside the SSTables, and Cassandra builds what is missing."""
        return self.class_name.rpartition(".")[2].lower() in ("sai", "storageattachedindex")

    @property
    def is_with_sstables(self) -> bool:
        """True if each SSTable has its own part of the index, so that it comes and goes with it."""
        return self.is_attached or self.class_name.endswith("SASIIndex")


@dataclass(frozen=True)
class KeyspaceDescription:
    """A keyspace: ``replication`` as in ``system_schema.keyspaces``, virtual ones marked."""

    name: str
    replication: Mapping[str, str] = field(default_factory=dict)
    virtual: bool = False

    @property
    def is_local(self) -> bool:
        """True for LocalStrategy: the node's own, meaningless on another node."""
        return self.replication.get("class", "").endswith("LocalStrategy")

    @property
    def is_system(self) -> bool:
        """True for the keyspaces that Cassandra makes itself."""
        return self.name == "system" or self.name.startswith("system_")


@dataclass(frozen=True)
class ClusterSchema:
    """What exists in the cluster: the input of a scope."""

    keyspaces: tuple[KeyspaceDescription, ...]
    tables: tuple[TableDescription, ...]

    def tables_of(self, keyspace: str) -> tuple[TableDescription, ...]:
        """Return a keyspace's tables and views, in the schema's order."""
        return tuple(t for t in self.tables if t.name.keyspace == keyspace)


@dataclass(frozen=True)
class Selection:
    """The tables that a scope selected, in order, and the keyspaces they make whole or in part.

    ``keyspaces`` also names selected keyspaces that have no table.
    """

    keyspaces: tuple[KeyspaceDescription, ...]
    tables: tuple[TableDescription, ...]

    def as_json(self) -> dict[str, object]:
        """Return the selection as jobs and backup manifests have it."""
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

        :raises InvalidValue: for a name or an ID that Cassandra could not have.
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

# SPDX-License-Identifier: Apache-2.0
"""The tasks of a verification: to read packs, to parse SSTables, to try a schema.

Those that read an earlier state of the store are kinds of their own: a worker of an older release
refuses them, instead of reading the present state.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.repository.findings import DESCRIBED, FURTHER, NodeChecked
from magnetodb_backup.tasks.kinds import Task, TaskKind

# What one node describes; its count has all. A result must fit into a message.
MOST_DESCRIBED = 100


@dataclass(frozen=True)
class Failure:
    """What Cassandra refuses: an SSTable of a table, or the statement of an object.

    ``kind`` is ``sstable``, or the kind of the object: keyspace, table, index … ``table`` is empty
    for an object that belongs to a keyspace. ``name`` is the SSTable (``nb-1-big``), empty for the
    whole table, or the object. ``detail`` is Cassandra's message.
    """

    kind: str
    keyspace: str
    table: str
    name: str
    detail: str


@dataclass(frozen=True)
class Failures:
    """The first failures, the number of all, and every table with one, with its first detail.

    ``tables`` are keyspace, table (empty for objects of a keyspace) and detail.
    """

    described: tuple[Failure, ...] = ()
    count: int = 0
    tables: tuple[tuple[str, str, str], ...] = ()

    def by_table(self) -> dict[TableName, str]:
        """Return the detail of each table with a failure."""
        return {TableName(keyspace, table): detail for keyspace, table, detail in self.tables}


@dataclass(frozen=True, kw_only=True)
class ReadPacks(Task[NodeChecked]):
    """Read the packs of one node backup, all or those of a sample, and compare their digests.

    ``host_id`` is the node that does it, ``source`` and ``address`` those of the node backup,
    ``manifest`` its node manifest. ``job_id`` names what an earlier attempt has read already.
    The result describes ``described`` problems, and names ``further`` packs of others.
    """

    kind: ClassVar[TaskKind] = TaskKind.VERIFY_READ
    result: ClassVar[type[NodeChecked]] = NodeChecked

    host_id: str
    cluster: str
    backup_id: str
    job_id: str
    source: str
    address: str
    manifest: StoredObject
    sample: Sample | None = None
    described: int = DESCRIBED
    further: int = FURTHER


@dataclass(frozen=True, kw_only=True)
class ReadPacksAsOf(ReadPacks):
    """Do what ``ReadPacks`` does in the store as it was at ``as_of`` (UTC)."""

    kind: ClassVar[TaskKind] = TaskKind.VERIFY_READ_AS_OF

    as_of: datetime


@dataclass(frozen=True)
class Parsed:
    """What a node's verifier read; sizes in bytes. ``version`` is that of its Cassandra."""

    tables: int
    sstables: int
    bytes: int
    failures: Failures
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class ParseSSTables(Task[Parsed]):
    """Let Cassandra's verifier read every SSTable of one node backup.

    ``host_id`` is the node that does it, ``source`` the host ID of the node backup, ``manifest``
    its node manifest. ``job_id`` names what has been done already, by an earlier attempt.
    """

    kind: ClassVar[TaskKind] = TaskKind.VERIFY_PARSE
    result: ClassVar[type[Parsed]] = Parsed

    host_id: str
    cluster: str
    backup_id: str
    job_id: str
    source: str
    manifest: StoredObject


@dataclass(frozen=True, kw_only=True)
class ParseSSTablesAsOf(ParseSSTables):
    """Do what ``ParseSSTables`` does in the store as it was at ``as_of`` (UTC)."""

    kind: ClassVar[TaskKind] = TaskKind.VERIFY_PARSE_AS_OF

    as_of: datetime


@dataclass(frozen=True)
class SchemaApplied:
    """How many statements were tried on a scratch Cassandra of this version, and the refused."""

    statements: int
    failures: Failures
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class ApplySchema(Task[SchemaApplied]):
    """Apply the schema of a backup to an empty scratch Cassandra."""

    kind: ClassVar[TaskKind] = TaskKind.VERIFY_SCHEMA
    result: ClassVar[type[SchemaApplied]] = SchemaApplied

    host_id: str
    cluster: str
    backup_id: str


@dataclass(frozen=True, kw_only=True)
class ApplySchemaAsOf(ApplySchema):
    """Do what ``ApplySchema`` does in the store as it was at ``as_of`` (UTC)."""

    kind: ClassVar[TaskKind] = TaskKind.VERIFY_SCHEMA_AS_OF

    as_of: datetime

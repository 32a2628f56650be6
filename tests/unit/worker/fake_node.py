# SPDX-License-Identifier: Apache-2.0
"""A Cassandra node that consists of directories: snapshots are real hard links."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from magnetodb_backup.domain.fingerprints import TokenRange
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.grants import Granted
from magnetodb_backup.domain.schema.rows import SchemaRow
from magnetodb_backup.domain.tables import (
    ClusterSchema,
    IndexDescription,
    KeyspaceDescription,
    TableDescription,
    TableName,
    TableSettings,
)
from magnetodb_backup.errors import CassandraUnavailable, CommandFailed, UnknownTable
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.remembered import NodeMemory
from tests.unit.cassandra.tree import DataDirectories, table
from tests.unit.worker import fake_changes

HOST = "11111111-1111-4111-8111-111111111111"
CLUSTER = "test cluster"
SIMPLE = {"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "1"}


def member(number: int, **values: Any) -> RingMember:
    """Return the ring member whose host ID consists of this digit."""
    n = str(number)
    host_id = f"{n * 8}-{n * 4}-4{n * 3}-8{n * 3}-{n * 12}"
    return RingMember(
        **{
            "host_id": host_id,
            "address": f"127.0.0.{number}",
            "dc": "dc1",
            "rack": "r1",
            "version": "5.0.9",
            "tokens": (number * 100,),
            "schema_version": "schema-1",
            **values,
        }
    )


class FakeNode:
    """State of the node; it is asked over CQL and told by node control."""

    def __init__(
        self, root: Path, number: int = 1, tables: Sequence[TableDescription] = ()
    ) -> None:
        self.data = DataDirectories(root / f"node{number}")
        self.me = member(number)
        self.members: tuple[RingMember, ...] = (self.me,)
        self.controlled_host_id = self.me.host_id
        self.tables = list(tables or [table("ks", "t", 1), table("ks", "u", 2)])
        self.replication = dict(SIMPLE)
        self.schema = self._first_schema = fake_changes.schema_text(self.tables, SIMPLE)
        self.fixed_schema_version = ""  # whatever text describes it
        self.granted: tuple[Granted, ...] | None = ()  # to roles
        self.settings: dict[str, str] = {}  # of cassandra.yaml, beside the directories
        self.mode = "NORMAL"
        self.boots: int | None = 1  # grows with each start
        self.unsettled: dict[str, str] = {}  # nodes that join, leave or move, by address
        self.on_ring_look: Callable[[], None] = lambda: None
        self.shows_gossip = True  # over CQL, since Cassandra 4.1
        self.cql_down = self.control_down = self.clears_nothing = False
        self.starting = False  # in normal operation, but not yet able to serve clients
        self.refused_once: set[str] = set()
        self.connections = self.closed = 0
        self.make_cql: Callable[[FakeNode], FakeCql] = FakeCql
        self.log: list[str] = []
        self.ring: Sequence[FakeNode] = (self,)  # who hears of schema changes
        self.generation = 100  # of the last SSTable that was imported
        self.malformed: set[bytes] = set()  # contents that Cassandra refuses
        self.refuses_loader: Exception | None = None
        self.silent_rehearsals = 0
        self.takes_nothing_over = False  # Cassandra may not change the worker's directories
        self.passed_over: set[bytes] = set()  # contents that Cassandra leaves without a word
        self.unbuilt: set[TableName] = set()  # views
        self.indexes: list[IndexDescription] = []
        self.not_compacted: set[TableName] = set()  # by nodetool disableautocompaction
        self.compaction: dict[TableName, Mapping[str, str]] = {}  # options that were altered
        self.unready: set[str] = set()  # indexes
        self.builds: dict[str, int] = {}  # how far those that run are
        self.batches: list[float] = []  # times of what is in the batch log
        self.hints: list[float] = []  # times of hints for other nodes
        self.now = 1000.0
        self.partitioner = "Murmur3Partitioner"
        self.native: dict[str, tuple[str, int | None]] = {}  # by the address in the ring
        self.on_look: Callable[[], None] = lambda: None  # at what the node still has to do
        self.has_no_commands = False
        self.refused: set[str] = set()  # commands that fail: stop, start
        self.on_start: Callable[[], None] = lambda: None
        self.on_execute: Callable[[str], None] = lambda statement: None
        self.on_import: Callable[[TableName], None] = lambda table: None
        self.slow_imports: set[TableName] = set()  # tables whose imports last until end_import()
        self.importing: dict[TableName, list[str]] = {}  # the directories of imports that run
        self.on_wait: Callable[[TableName], None] = self.end_import  # while an import runs
        # By table: token and JSON text of its rows, wherever their replicas are. What is not
        # there has one row for each SSTable.
        self.rows: dict[TableName, list[tuple[int, str]]] = {}
        self.on_read: Callable[[TableName, TokenRange], None] = lambda table, range_: None
        self.unflushed: list[TableDescription] = []  # a table for each row in memory
        self.on_flush: Callable[[], None] = lambda: None
        self.on_snapshot: Callable[[], None] = lambda: None
        self.on_clear: Callable[[], None] = lambda: None
        for each in self.tables:
            self.write(each, "nb-1-big-Data.db", f"{number} {each.name}".encode())
            self.write(each, "nb-2-big-Data.db", f"{number} {each.name} more".encode(), 1)

    @property
    def schema_version(self) -> str:
        """The first version until the schema changes; then one that the text gives."""
        if self.fixed_schema_version:
            return self.fixed_schema_version
        first = self.schema == self._first_schema
        return self.me.schema_version if first else hashlib.sha256(self.schema.encode()).hexdigest()

    def write(self, of: TableDescription, name: str, content: bytes, directory: int = 0) -> Path:
        path = self.data.table_directory(directory, of) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def end_import(self, table: TableName) -> None:
        fake_changes.import_sstables(self, table, self.importing.pop(table))

    def connect(self) -> FakeCql:
        self.connections += 1
        return self.make_cql(self)

    def local(
        self,
        *,
        expected: str = "",
        directories: Sequence[str] = (),
        memory: NodeMemory | None = None,
    ) -> LocalNode:
        """Return the worker's view of the node."""
        return LocalNode(
            self.connect,
            FakeControl(self),
            expected_host_id=expected,
            configured_directories=directories,
            memory=memory,
        )

    def snapshots(self, tag: str) -> list[Path]:
        return [p for d in self.data.paths for p in d.glob(f"*/*/snapshots/{tag}")]


class FakeCql:
    """The node over CQL."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    def _answer(self) -> FakeNode:
        if self._node.cql_down:
            raise CassandraUnavailable("Cassandra does not answer CQL")
        return self._node

    def cluster_name(self) -> str:
        return CLUSTER if self._answer() else ""

    def local(self) -> RingMember:
        return replace(self._answer().me, schema_version=self._node.schema_version)

    def partitioner(self) -> str:
        return self._answer().partitioner

    def native_addresses(self) -> Mapping[str, tuple[str, int | None]]:
        return self._answer().native

    def generation(self) -> int | None:
        return self._answer().boots

    def gossip_status(self) -> str:
        node = self._answer()
        return node.mode if node.shows_gossip else ""

    def ring(self) -> tuple[RingMember, ...]:
        return self._answer().members

    def unsettled_nodes(self) -> Mapping[str, str] | None:
        node = self._answer()
        node.on_ring_look()
        return dict(node.unsettled) if node.shows_gossip else None

    def cluster_schema(self) -> ClusterSchema:
        tables = self._answer().tables
        names = dict.fromkeys(t.name.keyspace for t in tables)
        keyspaces = tuple(KeyspaceDescription(n, self._node.replication) for n in names)
        return ClusterSchema(keyspaces, tuple(tables))

    def schema_rows(self) -> tuple[SchemaRow, ...]:
        return fake_changes.schema_rows(self._answer().schema)

    def grants(self) -> tuple[Granted, ...] | None:
        return self._answer().granted

    def data_directories(self) -> tuple[str, ...]:
        return self._answer().data.names

    def execute(self, statement: str) -> None:
        node = self._answer()
        node.log.append(f"cql {' '.join(statement.split())}")
        node.on_execute(statement)
        fake_changes.execute(node.ring, statement)

    def await_schema_agreement(self, seconds: float) -> None:
        self._answer().log.append("agree")

    def has_rows(self, table: TableName) -> bool:
        if table not in {t.name for t in self._answer().tables}:
            raise UnknownTable(f"Cassandra has no table {table}")
        return any(fake_changes.rows(node, table) for node in self._node.ring)

    def is_view_built(self, view: TableName) -> bool:
        return view not in self._answer().unbuilt

    def is_index_built(self, keyspace: str, index: str) -> bool:
        return index not in self._answer().unready

    def build_progress(self) -> Mapping[str, int]:
        self._node.on_look()
        return dict(self._answer().builds)

    def clock(self) -> float:
        return self._answer().now

    def oldest_batch(self) -> float | None:
        self._node.on_look()
        return min(self._answer().batches, default=None)

    def oldest_hint(self) -> float | None:
        self._node.on_look()
        return min(self._answer().hints, default=None)

    def indexes(self, tables: Collection[TableName]) -> tuple[IndexDescription, ...]:
        return tuple(i for i in self._answer().indexes if i.table in tables)

    def is_index_ready(self, index: IndexDescription) -> bool:
        return index.name not in self._answer().unready

    def table_settings(self, names: Collection[TableName]) -> Mapping[TableName, TableSettings]:
        node = self._answer()
        return {
            t.name: TableSettings(
                int(fake_changes.option(node.schema, t.name, "gc_grace_seconds", "864000")),
                node.compaction.get(t.name, fake_changes.COMPACTION),
            )
            for t in node.tables
            if t.name in names
        }

    def settings(self, *names: str) -> Mapping[str, str]:
        node = self._answer()
        root = node.data.paths[0].parent
        known = {n: str(root / n.removesuffix("_directory")) for n in names if "_directory" in n}
        return known | {name: node.settings[name] for name in names if name in node.settings}

    def row_reader(self, raise_if_cancelled: Callable[[], None]) -> FakeRows:
        return FakeRows(self._answer(), raise_if_cancelled)

    def close(self) -> None:
        self._node.closed += 1


class FakeRows:
    """Reads two rows a page."""

    def __init__(self, node: FakeNode, raise_if_cancelled: Callable[[], None]) -> None:
        self._node, self._raise_if_cancelled = node, raise_if_cancelled

    def pages(self, table: TableName, range_: TokenRange) -> Iterator[list[str]]:
        self._raise_if_cancelled()
        self._node.on_read(table, range_)
        if table not in {t.name for t in self._node.tables}:
            raise UnknownTable(f"Cassandra has no table {table}")
        known = self._node.rows
        rows = sorted(known[table] if table in known else self._in_files(table))
        texts = [text for token, text in rows if range_.start < token <= range_.end]
        for begin in range(0, len(texts), 2):
            self._raise_if_cancelled()
            yield texts[begin : begin + 2]

    def _in_files(self, table: TableName) -> set[tuple[int, str]]:
        bodies = {b for node in self._node.ring for b in fake_changes.rows(node, table)}
        return {(_token(body), body.decode()) for body in bodies}


def _token(key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(key).digest()[:8], signed=True)


class FakeControl:
    """The node as nodetool or Jolokia see it."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    def _do(self, what: str) -> FakeNode:
        if self._node.control_down:
            raise CassandraUnavailable("JMX does not answer; is Cassandra running?")
        self._node.log.append(what)
        return self._node

    def host_id(self) -> str:
        return self._do("host_id").controlled_host_id

    def operation_mode(self) -> str:
        return self._do("operation_mode").mode

    def unsettled_nodes(self) -> Mapping[str, str]:
        return dict(self._do("unsettled").unsettled)

    def _known(self, tables: Sequence[TableName]) -> None:
        unknown = set(tables) - {t.name for t in self._node.tables}
        if unknown:
            raise CommandFailed(f"Unknown keyspace/cf pair ({unknown.pop()})")

    def flush(self, tables: Sequence[TableName]) -> None:
        node = self._do("flush " + ",".join(str(t) for t in tables))
        self._known(tables)
        self._write_memtables(tables)
        node.on_flush()

    def _write_memtables(self, tables: Sequence[TableName]) -> None:
        node = self._node
        for each in [t for t in node.unflushed if t.name in tables]:
            node.unflushed.remove(each)
            node.generation += 1
            node.write(each, f"nb-{node.generation}-big-Data.db", f"row {node.generation}".encode())

    def take_snapshot(
        self, tag: str, tables: Sequence[TableName], *, ttl_seconds: int | None
    ) -> None:
        node = self._do(f"snapshot {tag} {ttl_seconds}")
        if node.snapshots(tag):
            raise CommandFailed(f"snapshot {tag} already exists")
        self._known(tables)
        self._write_memtables(tables)
        for each in node.tables:
            if each.name in tables:
                for number in range(len(node.data.paths)):
                    self._link(node.data.table_directory(number, each), tag)
        node.on_snapshot()

    def _link(self, directory: Path, tag: str) -> None:
        if not directory.is_dir():
            return
        target = directory / "snapshots" / tag
        target.mkdir(parents=True)
        for path in directory.iterdir():
            if path.is_file():
                os.link(path, target / path.name)

    def clear_snapshot(self, tag: str) -> None:
        node = self._do(f"clear {tag}")
        node.on_clear()
        if not node.clears_nothing:
            for path in node.snapshots(tag):
                shutil.rmtree(path)

    def import_sstables(
        self,
        table: TableName,
        directories: Sequence[str],
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        if table.keyspace == "system_traces":  # Cassandra's own
            fake_changes.import_nothing(self._do("rehearse"), directories)
            return
        if directories and all(os.path.isdir(d) and not os.listdir(d) for d in directories):
            self._do(f"await {table}")
            self._wait_for_import(table, raise_if_cancelled)
            fake_changes.import_sstables(self._node, table, directories)
            return
        node = self._do(f"import {table} {len(directories)}")
        self._wait_for_import(table, raise_if_cancelled)  # one at a time
        if table in node.slow_imports:
            node.importing[table] = list(directories)
            self._wait_for_import(table, raise_if_cancelled)
            return
        node.on_import(table)
        fake_changes.import_sstables(node, table, directories)

    def _wait_for_import(self, table: TableName, raise_if_cancelled: Callable[[], None]) -> None:
        while table in self._node.importing:
            self._node.on_wait(table)
            raise_if_cancelled()

    def repair(
        self,
        keyspace: str,
        tables: Sequence[str],
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        self._do(f"repair {keyspace} {' '.join(tables)}")
        self._known([TableName(keyspace, table) for table in tables])

    def autocompaction_off(self, tables: Sequence[TableName]) -> list[TableName]:
        node = self._do("autocompaction_off")
        self._known(tables)
        altered = {t for t, o in node.compaction.items() if o.get("enabled") == "false"}
        return [t for t in tables if t in node.not_compacted | altered]

    def disable_autocompaction(self, tables: Sequence[TableName]) -> None:
        self._do(f"disable_autocompaction {' '.join(map(str, tables))}")
        self._node.not_compacted |= set(tables)

    def drain(self) -> None:
        self._do("drain")

        self._node.mode = "DRAINED"

    def truncate_hints(self) -> None:
        self._do("truncate_hints")

    def listens(self) -> bool:
        return not self._node.control_down

    def disable_clients(self) -> None:
        self._do("disable_clients").cql_down = True

    def enable_clients(self) -> None:
        if self._do("enable_clients").starting:
            raise CommandFailed("setup() must be called first for CassandraDaemon")
        self._node.cql_down = False

    def replay_batches(self) -> None:
        self._do("replay_batches")

    def rebuild_indexes(self, table: TableName, indexes: Sequence[str]) -> None:
        self._do(f"rebuild {table} {' '.join(indexes)}")

    def close(self) -> None:
        pass

# SPDX-License-Identifier: Apache-2.0
"""The state of a Cassandra node that consists of directories."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from magnetodb_backup.domain.fingerprints import TokenRange
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.grants import Granted
from magnetodb_backup.domain.tables import (
    IndexDescription,
    TableDescription,
    TableName,
)
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.remembered import NodeMemory
from tests.unit.cassandra.tree import DataDirectories, table
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_control import FakeControl
from tests.unit.worker.fake_cql import FakeCql

HOST = "11111111-1111-4111-8111-111111111111"
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
        self.replications: dict[str, dict[str, str]] = {}  # of keyspaces that have another one
        self.schema = self._first_schema = fake_changes.schema_text(self.tables, SIMPLE)
        self.fixed_schema_version = ""  # whatever text describes it
        self.granted: tuple[Granted, ...] | None = ()  # to roles
        self.superuser = False
        self.masked: dict[TableName, tuple[str, ...]] = {}  # columns whose values are not read
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
        self.read_locally: set[bool] = set()
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

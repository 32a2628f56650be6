# SPDX-License-Identifier: Apache-2.0
"""The local Cassandra node, known by its host ID."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from magnetodb_backup.cassandra.control.interface import NodeControl
from magnetodb_backup.domain.fingerprints import TokenRange
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.grants import Granted
from magnetodb_backup.domain.schema.rows import SchemaRow
from magnetodb_backup.domain.tables import ClusterSchema, IndexDescription, TableName, TableSettings
from magnetodb_backup.errors import CassandraUnavailable, DataDirectoryProblem, WrongNode
from magnetodb_backup.worker.remembered import KnownNode, NodeMemory

_DIRECTORIES = ("commitlog_directory", "hints_directory", "saved_caches_directory")


class RowSource(Protocol):
    """Reads the rows of token ranges; threads may share it."""

    def pages(self, table: TableName, range_: TokenRange) -> Iterator[list[str]]:
        """Yield the JSON texts of the rows in token order, some at a time.

        Raises UnknownTable, AccessDenied, CommandFailed, CassandraUnavailable.
        """


class CqlConnection(Protocol):
    """What a worker asks over CQL, of exactly one node. Raises CassandraUnavailable."""

    def cluster_name(self) -> str:
        """Return the cluster's name."""

    def local(self) -> RingMember:
        """Return the node itself."""

    def ring(self) -> tuple[RingMember, ...]:
        """Return all members of the ring that own tokens, the node itself first."""

    def partitioner(self) -> str:
        """Return the name of the partitioner's class.

        Raises UnsupportedPartitioner if its tokens are no numbers; so does what reads the ring.
        """

    def native_addresses(self) -> Mapping[str, tuple[str, int | None]]:
        """Return where the members of the ring serve clients, by their address in the ring.

        An address and a port; the port is None where Cassandra does not show it.
        """

    def generation(self) -> int | None:
        """Return a number that grows with each start of Cassandra; None before it is known."""

    def gossip_status(self) -> str:
        """Return NORMAL, LEAVING … as gossip has it; empty where Cassandra does not show it."""

    def unsettled_nodes(self) -> Mapping[str, str] | None:
        """Return the nodes that are joining, leaving or moving, by address; None if not shown."""

    def cluster_schema(self) -> ClusterSchema:
        """Return all keyspaces, tables and materialized views."""

    def schema_rows(self) -> tuple[SchemaRow, ...]:
        """Return the same statements as rows, each with its keyspace."""

    def grants(self) -> tuple[Granted, ...] | None:
        """Return all grants to roles, None if they cannot be read."""

    def data_directories(self) -> tuple[str, ...]:
        """Return the data directories, in Cassandra's order."""

    def execute(self, statement: str) -> None:
        """Execute DDL or TRUNCATE."""

    def await_schema_agreement(self, seconds: float) -> None:
        """Wait until all members of the ring have one schema."""

    def has_rows(self, table: TableName) -> bool:
        """Return whether the table has a live row."""

    def is_view_built(self, view: TableName) -> bool:
        """Return whether this node has built its part of a view."""

    def is_index_built(self, keyspace: str, index: str) -> bool:
        """Return whether this node has built its part of an index."""

    def build_progress(self) -> Mapping[str, int]:
        """Return how far the builds of views and indexes on this node are, by a name of the work.

        A build that failed and is repeated has the names and the numbers that it had before.
        """

    def clock(self) -> float:
        """Return the node's time, in seconds since the epoch."""

    def oldest_batch(self) -> float | None:
        """Return the time of the oldest batch in this node's batch log; None if it is empty."""

    def oldest_hint(self) -> float | None:
        """Return the time of the oldest hint that this node keeps for a member of the ring.

        None if it has none, or if Cassandra does not show its hints (before 4.1).
        """

    def indexes(self, tables: Collection[TableName]) -> tuple[IndexDescription, ...]:
        """Return the secondary indexes of these tables."""

    def is_index_ready(self, index: IndexDescription) -> bool:
        """Return whether this node can answer queries by the index."""

    def table_settings(self, names: Collection[TableName]) -> Mapping[TableName, TableSettings]:
        """Return the options of those of the named tables and views that exist."""

    def settings(self, *names: str) -> Mapping[str, str]:
        """Return those of the named settings that the node's cassandra.yaml has."""

    def is_superuser(self) -> bool:
        """Return whether the worker's role is a superuser; False without a login."""

    def masked_columns(self, table: TableName) -> tuple[str, ...]:
        """Return the columns of which the worker's role reads masks instead of values."""

    def row_reader(
        self, raise_if_cancelled: Callable[[], None], *, local: bool = False
    ) -> RowSource:
        """Return a reader of rows; ``raise_if_cancelled`` raises to give up.

        With ``local`` the replicas of other data centres are not needed.
        """

    def close(self) -> None:
        """Close the connection."""


class LocalNode:
    """Joins CQL and node control and proves that both speak to the same node.

    ``expected_host_id`` is the configured one, or empty: then the first one seen is kept.
    """

    def __init__(
        self,
        connect: Callable[[], CqlConnection],
        control: NodeControl,
        *,
        expected_host_id: str,
        configured_directories: Sequence[str],
        memory: NodeMemory | None = None,
    ) -> None:
        self._connect = connect
        self._connection: CqlConnection | None = None
        self._lock = threading.Lock()
        self._expected = expected_host_id
        self._proved: tuple[str, int | None] = ("", None)
        self._configured = tuple(configured_directories)
        self._memory = memory
        self.control = control

    def cql(self) -> CqlConnection:
        """Return the connection, made at the first use and again after an outage."""
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            return self._connection

    def forget_connection(self) -> None:
        """Close the connection, so that the next use makes a new one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def member(self) -> RingMember:
        """Return the node as it sees itself now.

        :raises WrongNode: if it is not the node that this worker belongs to.
        """
        try:
            member = self.cql().local()
        except CassandraUnavailable:
            self.forget_connection()
            raise
        if self._expected and member.host_id != self._expected:
            raise WrongNode(
                f"Cassandra at {member.address} has the host ID {member.host_id}, this worker "
                f"belongs to {self._expected}; check [cassandra] address and host_id, or restart "
                "the worker if the node was replaced on purpose"
            )
        self._expected = member.host_id
        return member

    def prove(self, host_id: str) -> RingMember:
        """Return the node if CQL and node control both reach ``host_id``.

        Node control is asked once per start of Cassandra: as long as the process that CQL reaches
        runs, it holds the port of its JMX, or of its agent.

        :raises WrongNode: naming what reaches which node.
        :raises CassandraUnavailable: if the node is not in normal operation.
        """
        member = self.member()
        if member.host_id != host_id:
            raise WrongNode(
                f"this worker's node is {member.host_id}, but the task is for {host_id}; "
                "repeat the backup, the ring was changed meanwhile"
            )
        generation = self.cql().generation()
        if generation is None or self._proved != (host_id, generation):
            self._prove_control(host_id)
            self._proved = (host_id, generation)
        return member

    def _prove_control(self, host_id: str) -> None:
        controlled = self.control.host_id()
        if controlled != host_id:
            raise WrongNode(
                f"CQL reaches host ID {host_id}, but node control reaches {controlled}; check "
                "[cassandra] address against the host and port of [nodetool] or [jolokia]"
            )

    def operation_mode(self) -> str:
        """Return NORMAL, JOINING, LEAVING …, by CQL where that shows it, else by node control.

        :raises CassandraUnavailable: if the node does not answer.
        """
        return self.cql().gossip_status() or self.control.operation_mode()

    def unsettled_nodes(self) -> Mapping[str, str]:
        """Return the nodes that join, leave or move, by address, each with what it does."""
        found = self.cql().unsettled_nodes()
        return self.control.unsettled_nodes() if found is None else found

    def known(self) -> KnownNode:
        """Return the present state of the node, or the last known one if Cassandra is down.

        :raises CassandraUnavailable: if it has never been seen.
        """
        try:
            member = self.member()
            return self.keep(self.cql().cluster_name(), member, self.data_directories())
        except CassandraUnavailable:
            remembered = self.remembered()
            if remembered is None:
                raise
            return remembered

    def keep(self, cluster: str, member: RingMember, directories: tuple[str, ...]) -> KnownNode:
        """Remember what was seen, and where the node's other files lie."""
        settings = self.cql().settings(*_DIRECTORIES)
        others = (settings.get(name, "") for name in _DIRECTORIES)
        known = KnownNode(cluster, member, directories, *others)
        if self._memory is not None:
            self._memory.keep(known)
        return known

    def remembered(self) -> KnownNode | None:
        """Return the node as it was last seen, without asking it; None if it never was."""
        return self._memory.load() if self._memory is not None else None

    def prove_known(self, host_id: str) -> RingMember:
        """Return the node as ``prove()`` does or, if Cassandra does not answer, as last seen."""
        try:
            return self.prove(host_id)
        except CassandraUnavailable:
            remembered = self.remembered()
            if remembered is None or remembered.member.host_id != host_id:
                raise
            return remembered.member

    def data_directories(self) -> tuple[str, ...]:
        """Return the data directories, in Cassandra's order.

        :raises DataDirectoryProblem: if the configured ones are not those that Cassandra uses.
        """
        used = self.cql().data_directories()
        if not self._configured:
            return used
        if sorted(d.rstrip("/") for d in self._configured) != sorted(d.rstrip("/") for d in used):
            raise DataDirectoryProblem(
                f"[cassandra] data_directories is {', '.join(self._configured)}, but Cassandra "
                f"uses {', '.join(used)}; correct the option or leave it out"
            )
        return self._configured

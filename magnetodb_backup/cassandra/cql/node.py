# SPDX-License-Identifier: Apache-2.0
"""Reads a node, its ring and its schema over CQL."""

from __future__ import annotations

import ast
import logging
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from oslo_config import cfg

from magnetodb_backup.cassandra.cql.builds import Builds
from magnetodb_backup.cassandra.cql.role import SessionRole
from magnetodb_backup.cassandra.cql.rows import (
    CONSISTENCIES,
    LOCAL_CONSISTENCIES,
    RowReader,
    columns_by_kind,
    quoted,
)
from magnetodb_backup.cassandra.cql.session import CqlAccess, PinnedSession
from magnetodb_backup.cassandra.tls import TlsFiles
from magnetodb_backup.domain.partitioners import find_partitioner
from magnetodb_backup.domain.ring import RingMember, peer_remedy
from magnetodb_backup.domain.schema.grants import Granted
from magnetodb_backup.domain.schema.rows import SchemaRow, unquoted
from magnetodb_backup.domain.tables import (
    ClusterSchema,
    IndexDescription,
    KeyspaceDescription,
    TableDescription,
    TableName,
    TableSettings,
)
from magnetodb_backup.errors import (
    AccessDenied,
    CassandraUnavailable,
    CommandFailed,
    DataDirectoryProblem,
    RingDiffers,
)

LOG = logging.getLogger(__name__)
_SCHEMA_TIMEOUT = 120.0  # seconds; a schema of thousands of tables takes a while
_AGREEMENT_POLL = 0.2
# Gossip's states in which the ring is about to change. LEFT and removed nodes are out of it.
_UNSETTLED = {
    "BOOT": "joining",
    "BOOT_REPLACE": "joining",
    "LEAVING": "leaving",
    "removing": "leaving",
    "MOVING": "moving",
}
_TRUNCATE = re.compile(r"\s*TRUNCATE\b", re.I)


def without_login(address: str, port: int) -> CqlNode:
    """Return a node that asks for no login and no TLS."""
    return CqlNode(CqlAccess(address, port))


def from_conf(conf: cfg.ConfigOpts) -> CqlNode:
    """Connect with the options of group ``[cassandra]``."""
    options = conf.cassandra
    return CqlNode(
        CqlAccess(
            options.address,
            options.native_port,
            options.username or "",
            options.password or "",
            TlsFiles.from_options(options),
        )
    )


class CqlNode(Builds):
    """One node over CQL. Every method raises CassandraUnavailable or AccessDenied."""

    def __init__(self, access: CqlAccess) -> None:
        super().__init__(PinnedSession(access))
        self._role = SessionRole(self._session, access.username)
        self._without_gossip_info = False

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def cluster_name(self) -> str:
        """Return the cluster's name."""
        return str(self._session.rows("SELECT cluster_name FROM system.local")[0].cluster_name)

    def partitioner(self) -> str:
        """Return the name of the partitioner's class, without its package.

        :raises UnsupportedPartitioner: if its tokens are no numbers.
        """
        rows = self._session.rows("SELECT partitioner FROM system.local")
        return find_partitioner(str(rows[0].partitioner)).name

    def local(self) -> RingMember:
        """Return the node itself.

        :raises UnsupportedPartitioner: if the cluster's tokens are no numbers.
        """
        rows = self._session.rows(
            "SELECT host_id, broadcast_address, data_center, rack, release_version, tokens, "
            "schema_version, partitioner FROM system.local"
        )
        row = rows[0]
        find_partitioner(str(row.partitioner))
        if row.host_id is None:
            raise CassandraUnavailable("the node has no host ID yet; wait until it has joined")
        return _member(row, str(row.broadcast_address))

    def generation(self) -> int | None:
        """Return the gossip generation, which grows with each start; None before it is known."""
        rows = self._session.rows("SELECT gossip_generation FROM system.local")
        generation = rows[0].gossip_generation
        return None if generation is None else int(generation)

    def gossip_status(self) -> str:
        """Return NORMAL, BOOT, LEAVING, MOVING, shutdown … as the node's gossip has it.

        Empty if Cassandra has no ``system_views.gossip_info`` (before 4.1), or shows no status.
        """
        if self._without_gossip_info:
            return ""
        try:
            rows = self._session.rows(
                "SELECT status, status_with_port FROM system_views.gossip_info WHERE address = %s",
                (self._broadcast_address(),),
            )
        except CommandFailed:
            self._without_gossip_info = True
            return ""
        status = (rows[0].status_with_port or rows[0].status or "") if rows else ""
        return str(status).partition(",")[0]

    def unsettled_nodes(self) -> Mapping[str, str] | None:
        """Return the nodes that are joining, leaving or moving, by address, as gossip has it.

        None if Cassandra has no ``system_views.gossip_info`` (before 4.1).
        """
        if self._without_gossip_info:
            return None
        try:
            rows = self._session.rows(
                "SELECT address, status, status_with_port FROM system_views.gossip_info"
            )
        except CommandFailed:
            self._without_gossip_info = True
            return None
        states = {str(r.address): str(r.status_with_port or r.status or "") for r in rows}
        found = {a: _UNSETTLED.get(state.partition(",")[0]) for a, state in states.items()}
        return {address: state for address, state in found.items() if state}

    def _broadcast_address(self) -> str:
        rows = self._session.rows("SELECT broadcast_address FROM system.local")
        return str(rows[0].broadcast_address)

    def ring(self) -> tuple[RingMember, ...]:
        """Return all members of the ring as this node knows them, the node itself first.

        :raises RingDiffers: if the node knows a peer without its host ID or its tokens.
        """
        me, rows = self.local(), self._peers()
        for row in rows:
            unknown = [name for name in ("host_id", "tokens") if not getattr(row, name)]
            if unknown:
                raise RingDiffers(
                    f"node {me.address} does not know the {' and '.join(unknown)} of its peer "
                    f"{row.peer} (system.peers_v2); {peer_remedy(str(row.peer), me.address)}"
                )
        return (me, *sorted((_member(r, str(r.peer)) for r in rows), key=lambda m: m.host_id))

    def _peers(self) -> list[Any]:
        return self._session.rows(
            "SELECT peer, host_id, data_center, rack, release_version, tokens, schema_version "
            "FROM system.peers_v2"
        )

    def native_addresses(self) -> Mapping[str, tuple[str, int | None]]:
        """Return where the members of the ring serve clients, by their address in the ring.

        The port is None for the node itself: it is the one of this connection.
        """
        peers = self._session.rows("SELECT peer, native_address, native_port FROM system.peers_v2")
        (own,) = self._session.rows("SELECT broadcast_address, rpc_address FROM system.local")
        found = {
            str(r.peer): (str(r.native_address), r.native_port) for r in peers if r.native_address
        }
        return {str(own.broadcast_address): (str(own.rpc_address), None), **found}

    def cluster_schema(self) -> ClusterSchema:
        """Return all keyspaces, tables and materialized views; virtual ones are marked."""
        keyspaces = [
            KeyspaceDescription(r.keyspace_name, dict(r.replication or {}))
            for r in self._session.rows(
                "SELECT keyspace_name, replication FROM system_schema.keyspaces"
            )
        ]
        keyspaces += [
            KeyspaceDescription(r.keyspace_name, virtual=True)
            for r in self._session.rows("SELECT keyspace_name FROM system_virtual_schema.keyspaces")
        ]
        tables = [
            TableDescription(TableName(r.keyspace_name, r.table_name), r.id.hex)
            for r in self._session.rows(
                "SELECT keyspace_name, table_name, id FROM system_schema.tables"
            )
        ]
        tables += [
            TableDescription(TableName(r.keyspace_name, r.view_name), r.id.hex, is_view=True)
            for r in self._session.rows(
                "SELECT keyspace_name, view_name, id FROM system_schema.views"
            )
        ]
        return ClusterSchema(
            tuple(sorted(keyspaces, key=lambda k: k.name)),
            tuple(sorted(tables, key=lambda t: t.name)),
        )

    def schema_rows(self) -> tuple[SchemaRow, ...]:
        """Return the rows of ``DESCRIBE SCHEMA WITH INTERNALS``, in Cassandra's order."""
        rows = self._session.rows("DESCRIBE SCHEMA WITH INTERNALS", timeout=_SCHEMA_TIMEOUT)
        return tuple(
            SchemaRow(unquoted(r.keyspace_name), r.type, unquoted(r.name), r.create_statement)
            for r in rows
        )

    def grants(self) -> tuple[Granted, ...] | None:
        """Return all grants to roles, None if they cannot be read."""
        try:
            rows = self._session.rows(
                "SELECT role, resource, permissions FROM system_auth.role_permissions"
            )
        except (AccessDenied, CommandFailed, CassandraUnavailable) as error:
            LOG.info("grants are not recorded: %s", error)
            return None
        return tuple(Granted(r.role, r.resource, tuple(r.permissions or ())) for r in rows)

    def data_directories(self) -> tuple[str, ...]:
        """Return the data directories that Cassandra uses, in its order."""
        rows = self._session.rows(
            "SELECT value FROM system_views.settings WHERE name = 'data_file_directories'"
        )
        directories = _path_list(rows[0].value) if rows and rows[0].value else ()
        if not directories:
            raise DataDirectoryProblem(
                "Cassandra does not report data_file_directories; set them in its cassandra.yaml"
            )
        return directories

    def execute(self, statement: str) -> None:
        """Execute DDL or TRUNCATE.

        :raises CommandFailed: with Cassandra's message, if it refuses the statement.
        """
        try:
            self._session.rows(statement, timeout=_SCHEMA_TIMEOUT)
        except CassandraUnavailable as error:
            if not _TRUNCATE.match(statement):
                raise
            raise CassandraUnavailable(f"{error}. TRUNCATE needs all nodes") from None

    def await_schema_agreement(self, seconds: float) -> None:
        """Wait until all members of the ring have one schema.

        :raises CassandraUnavailable: after ``seconds``, naming the versions and their nodes.
        """
        deadline = time.monotonic() + seconds
        while True:
            versions: dict[str, list[str]] = {}
            peers = [_member(r, str(r.peer)) for r in self._peers() if r.host_id and r.tokens]
            for member in (self.local(), *peers):
                versions.setdefault(member.schema_version, []).append(member.address)
            if len(versions) == 1:
                return
            if time.monotonic() >= deadline:
                found = "; ".join(f"{v or 'unknown'}: {', '.join(a)}" for v, a in versions.items())
                raise CassandraUnavailable(
                    f"the nodes do not agree on the schema after {seconds:g} s ({found}); are all "
                    "running? See nodetool describecluster"
                )
            time.sleep(_AGREEMENT_POLL)

    def has_rows(self, table: TableName) -> bool:
        """Return whether the table has a live row, or a partition of static columns only.

        Reads at QUORUM, or at ONE if too few replicas are up: rows of other replicas are then
        missed. A table that cannot be read counts as one with rows.
        """
        columns = columns_by_kind(self._session, table)
        # Cassandra finds partitions without rows only if static columns are selected.
        selected = [*columns["partition_key"][:1], *columns.get("static", ())]
        names = [quoted(n) for n in (table.keyspace, table.table)]
        query = "SELECT {} FROM {}.{} LIMIT 1".format(  # noqa: S608 - all are quoted
            ", ".join(map(quoted, selected)), *names
        )
        try:
            try:
                return bool(self._session.rows(query, consistency="QUORUM"))
            except CassandraUnavailable as error:
                LOG.warning("%s is read at ONE: %s", table, error)
                return bool(self._session.rows(query, consistency="ONE"))
        except CommandFailed as error:
            LOG.warning("%s cannot be read and is taken as not empty: %s", table, error)
            return True

    def row_reader(
        self, raise_if_cancelled: Callable[[], None], *, local: bool = False
    ) -> RowReader:
        """Return a reader of token ranges; ``raise_if_cancelled`` raises to stop it.

        With ``local`` the replicas of other data centres are not needed.
        """
        levels = LOCAL_CONSISTENCIES if local else CONSISTENCIES
        return RowReader(
            self._session, raise_if_cancelled, self._role.masked_columns, levels=levels
        )

    def is_superuser(self) -> bool:
        """Return whether the role of ``[cassandra] username`` is a superuser."""
        return self._role.is_superuser()

    def masked_columns(self, table: TableName) -> tuple[str, ...]:
        """Return the columns of which the role reads masks instead of values."""
        return self._role.masked_columns(table)

    def indexes(self, tables: Collection[TableName]) -> tuple[IndexDescription, ...]:
        """Return the secondary indexes of these tables."""
        rows = self._session.rows(
            "SELECT keyspace_name, table_name, index_name, kind, options FROM system_schema.indexes"
        )
        found = (
            IndexDescription(
                TableName(r.keyspace_name, r.table_name),
                r.index_name,
                r.kind,
                dict(r.options or {}).get("class_name", ""),
            )
            for r in rows
        )
        return tuple(index for index in found if index.table in tables)

    def is_index_ready(self, index: IndexDescription) -> bool:
        """Return whether this node can use an index; always true for other indexes than SAI."""
        if not index.is_attached:
            return True
        rows = self._session.rows(
            "SELECT is_queryable, is_building FROM system_views.sai_column_indexes "
            "WHERE keyspace_name = %s AND index_name = %s",
            (index.table.keyspace, index.name),
        )
        return bool(rows) and all(r.is_queryable and not r.is_building for r in rows)

    def table_settings(self, names: Collection[TableName]) -> Mapping[TableName, TableSettings]:
        """Return the options of those of the named tables and views that exist."""
        found = {}
        for query in (
            "SELECT keyspace_name, table_name AS name, gc_grace_seconds, compaction "
            "FROM system_schema.tables",
            "SELECT keyspace_name, view_name AS name, gc_grace_seconds, compaction "
            "FROM system_schema.views",
        ):
            for row in self._session.rows(query):
                name = TableName(row.keyspace_name, row.name)
                if name in names:
                    compaction = dict(row.compaction or {})
                    found[name] = TableSettings(row.gc_grace_seconds or 0, compaction)
        return found

    def settings(self, *names: str) -> Mapping[str, str]:
        """Return the named settings of this node's cassandra.yaml, as far as it reports them."""
        rows = self._session.rows("SELECT name, value FROM system_views.settings")
        return {r.name: r.value for r in rows if r.name in names and r.value is not None}


def _member(row: Any, address: str) -> RingMember:
    return RingMember(
        host_id=str(row.host_id),
        address=address,
        dc=row.data_center or "",
        rack=row.rack or "",
        version=row.release_version or "",
        tokens=tuple(sorted(int(t) for t in row.tokens or ())),
        schema_version=str(row.schema_version or ""),
    )


def _path_list(value: str) -> tuple[str, ...]:
    """Read ``[/a, /b]`` (Cassandra prints Java's form) or a quoted list."""
    text = value.strip()
    if text.startswith(("['", '["')):
        return tuple(str(p) for p in ast.literal_eval(text))
    return tuple(p.strip() for p in text.strip("[]").split(",") if p.strip())

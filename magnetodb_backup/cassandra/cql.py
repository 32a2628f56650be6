# SPDX-License-Identifier: Apache-2.0
"""What CQL tells of a node, its ring and its schema."""

from __future__ import annotations

import ast
from typing import Any

from oslo_config import cfg

from magnetodb_backup.cassandra.driver import PinnedSession
from magnetodb_backup.domain.tables import (
    KeyspaceDescription,
    SchemaCatalogue,
    TableDescription,
    TableName,
)
from magnetodb_backup.domain.topology import RingMember
from magnetodb_backup.errors import CassandraUnavailable, DataDirectoryProblem

_SCHEMA_TIMEOUT = 120.0  # seconds; a schema of thousands of tables takes a while


def from_conf(conf: cfg.ConfigOpts) -> CqlNode:
    """Connect as group ``[cassandra]`` says."""
    options = conf.cassandra
    return CqlNode(
        options.address,
        options.native_port,
        options.username or "",
        options.password or "",
        options.ca_file or "",
    )


class CqlNode:
    """One node over CQL. Every method raises CassandraUnavailable or AccessDenied."""

    def __init__(
        self, address: str, port: int, username: str = "", password: str = "", ca_file: str = ""
    ) -> None:
        self._session = PinnedSession(address, port, username, password, ca_file)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def cluster_name(self) -> str:
        """Return the cluster's name."""
        return str(self._session.rows("SELECT cluster_name FROM system.local")[0].cluster_name)

    def local(self) -> RingMember:
        """Return the node itself."""
        rows = self._session.rows(
            "SELECT host_id, broadcast_address, data_center, rack, release_version, tokens, "
            "schema_version FROM system.local"
        )
        row = rows[0]
        if row.host_id is None:
            raise CassandraUnavailable("the node has no host ID yet; wait until it has joined")
        return _member(row, str(row.broadcast_address))

    def ring(self) -> tuple[RingMember, ...]:
        """Return all members of the ring that own tokens, the node itself first."""
        rows = self._session.rows(
            "SELECT peer, host_id, data_center, rack, release_version, tokens, schema_version "
            "FROM system.peers_v2"
        )
        peers = [_member(r, str(r.peer)) for r in rows if r.host_id is not None and r.tokens]
        return (self.local(), *sorted(peers, key=lambda m: m.host_id))

    def catalogue(self) -> SchemaCatalogue:
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
        return SchemaCatalogue(
            tuple(sorted(keyspaces, key=lambda k: k.name)),
            tuple(sorted(tables, key=lambda t: t.name)),
        )

    def schema_text(self) -> str:
        """Return ``DESCRIBE SCHEMA WITH INTERNALS``: statements that make the schema anew."""
        rows = self._session.rows("DESCRIBE SCHEMA WITH INTERNALS", timeout=_SCHEMA_TIMEOUT)
        return "\n\n".join(r.create_statement for r in rows) + "\n"

    def data_directories(self) -> tuple[str, ...]:
        """Return the data directories that Cassandra uses, in its order."""
        rows = self._session.rows(
            "SELECT value FROM system_views.settings WHERE name = 'data_file_directories'"
        )
        directories = _path_list(rows[0].value) if rows and rows[0].value else ()
        if not directories:
            raise DataDirectoryProblem(
                "Cassandra does not tell its data_file_directories; set them in its cassandra.yaml"
            )
        return directories


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

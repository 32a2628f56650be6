# SPDX-License-Identifier: Apache-2.0
"""A node of directories over CQL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from magnetodb_backup.domain.fingerprints import TokenRange
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.grants import Granted
from magnetodb_backup.domain.schema.rows import SchemaRow
from magnetodb_backup.domain.tables import (
    ClusterSchema,
    IndexDescription,
    KeyspaceDescription,
    TableName,
    TableSettings,
)
from magnetodb_backup.errors import AccessDenied, CassandraUnavailable, UnknownTable
from tests.unit.worker import fake_changes

CLUSTER = "test cluster"

if TYPE_CHECKING:
    from tests.unit.worker.fake_node import FakeNode


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
        others, usual = self._node.replications, self._node.replication
        keyspaces = tuple(KeyspaceDescription(n, others.get(n, usual)) for n in names)
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

    def is_superuser(self) -> bool:
        return self._answer().superuser

    def masked_columns(self, table: TableName) -> tuple[str, ...]:
        return self._answer().masked.get(table, ())

    def row_reader(
        self, raise_if_cancelled: Callable[[], None], *, local: bool = False
    ) -> FakeRows:
        self._node.read_locally.add(local)
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
        if table in self._node.masked:
            raise AccessDenied(f"the role reads masks instead of values in {table}")
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

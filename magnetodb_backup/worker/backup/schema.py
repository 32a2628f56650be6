# SPDX-License-Identifier: Apache-2.0
"""The task that reads the schema and the ring, and stores the schema."""

from __future__ import annotations

import hashlib

from magnetodb_backup.domain.schema.grants import grant_rows
from magnetodb_backup.domain.schema.rows import SchemaRow, keyspaces_digest, schema_text
from magnetodb_backup.errors import CassandraUnavailable
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.schema_rows import StoredSchema
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.backup import ReadSchema, SchemaSeen
from magnetodb_backup.tasks.cluster import SelectedTables
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import TaskContext

_LOOKS = 5


class SchemaReadWork:
    """Reads the schema over CQL."""

    def __init__(self, node: LocalNode, storage: StorageDriver, prefix: str) -> None:
        self._node, self._storage, self._prefix = node, storage, prefix

    def handlers(self) -> tuple[TaskHandler, ...]:
        """Return the handler of each kind of task."""
        return (handles(ReadSchema, self._read),)

    def _read(self, task: ReadSchema, context: TaskContext) -> SchemaSeen:
        cql = self._node.cql()
        ring = cql.ring()
        me, before = ring[0], cql.local().schema_version
        rows, selection = self._described(task, context)
        after = cql.local().schema_version
        text = schema_text(rows)
        versions = {
            m.schema_version
            for m in (*ring, *cql.ring())
            if m.schema_version and m.host_id not in task.absent
        }
        if len(versions) > 1 and not task.any_version:
            raise CassandraUnavailable(
                f"the nodes do not agree on the schema: versions {', '.join(sorted(versions))}; "
                "see nodetool describecluster"
            )
        stored = None
        if task.store:
            repository = ClusterRepository(self._storage, self._prefix, task.cluster)
            granted = cql.grants()
            grants = None if granted is None else grant_rows(granted)
            repository.put_schema_rows(task.backup_id, StoredSchema(rows, grants))
            stored = repository.put_schema(task.backup_id, text)
        return SchemaSeen(
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            version=me.schema_version or next(iter(versions), ""),
            ring=tuple(sorted((m.host_id, *map(str, m.tokens)) for m in ring)),
            schema=stored,
            selected_sha256=keyspaces_digest(rows, task.keyspaces) if task.keyspaces else "",
            release=me.version,
            selection=selection,
            own_version=after if after == before else "",
        )

    def _described(
        self, task: ReadSchema, context: TaskContext
    ) -> tuple[tuple[SchemaRow, ...], SelectedTables | None]:
        """Return the schema and what the scope selects from it, both of one moment."""
        cql = self._node.cql()
        if not task.scope:
            return cql.schema_rows(), None
        select = load_scope(task.scope).select
        for _ in range(_LOOKS):
            context.raise_if_cancelled()
            before = select(cql.cluster_schema())
            rows = cql.schema_rows()
            if select(cql.cluster_schema()) == before:
                return rows, SelectedTables.of(before)
        raise CassandraUnavailable(
            f"tables of the backup were created or dropped during each of {_LOOKS} reads of the "
            "schema; repeat the backup when its keyspaces do not change"
        )

# SPDX-License-Identifier: Apache-2.0
"""The tasks that describe a node, resolve a scope, and prepare a node for its snapshot."""

from __future__ import annotations

from datetime import datetime, timezone

from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.domain.ring import ring_digest
from magnetodb_backup.errors import CassandraUnavailable
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.backup import (
    Describe,
    NodeDescription,
    Prepare,
    Prepared,
    Resolve,
    Resolved,
)
from magnetodb_backup.tasks.cluster import Member, SelectedTables
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.head_room import check_head_room
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import TaskContext


class PrepareWork:
    """Looks at the node and makes it ready; ``head_room_percent`` of each disk must be free."""

    def __init__(
        self, node: LocalNode, storage: StorageDriver, prefix: str, head_room_percent: float
    ) -> None:
        self._node, self._storage = node, storage
        self._prefix, self._head_room_percent = prefix, head_room_percent

    def handlers(self) -> tuple[TaskHandler, ...]:
        """Return the handler of each kind of task."""
        return (
            handles(Describe, self._describe),
            handles(Resolve, self._resolve),
            handles(Prepare, self._prepare),
        )

    def _describe(self, task: Describe, context: TaskContext) -> NodeDescription:
        ring = self._node.cql().ring()
        is_known = task.ring_sha256 == ring_digest(ring)
        return NodeDescription(
            member=Member.of(self._node.member()),
            ring=() if is_known else tuple(Member.of(m) for m in ring),
            data_directories=self._node.data_directories(),
            mode=self._node.operation_mode(),
            partitioner=self._node.cql().partitioner(),
            # Backups compare rings only; before 4.1 this is a command of its own.
            unsettled=self._node.unsettled_nodes() if task.restore_id else None,
        )

    def _resolve(self, task: Resolve, context: TaskContext) -> Resolved:
        scope = load_scope(task.scope)
        return Resolved(SelectedTables.of(scope.select(self._node.cql().cluster_schema())))

    def _prepare(self, task: Prepare, context: TaskContext) -> Prepared:
        mode = self._node.operation_mode()
        if mode != "NORMAL":
            raise CassandraUnavailable(
                f"the node is {mode}, not NORMAL; wait until it has joined, or start it"
            )
        tree = SnapshotTree(self._node.data_directories())
        tree.check()
        check_head_room((*tree.space(), *tree.linked_space()), self._head_room_percent)
        ClusterRepository(self._storage, self._prefix, task.cluster).ensure()
        NodeRepository(self._storage, self._prefix, task.cluster, task.host_id).ensure()
        context.raise_if_cancelled()
        with context.command_of_cassandra():
            self._node.control.flush([t.description().name for t in task.tables])
        return Prepared(
            datetime.now(timezone.utc).isoformat(), ring_digest(self._node.cql().ring())
        )

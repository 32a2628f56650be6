# SPDX-License-Identifier: Apache-2.0
"""The task that collects a container of packs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from magnetodb_backup.domain.backup.collection import ContainerUse
from magnetodb_backup.errors import ConductorSilent, Conflict, InvalidValue
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.collect.collect import collect_container
from magnetodb_backup.repository.collect.records import Caller, Terms
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.collection import Collect
from magnetodb_backup.worker.backup.containers import Containers
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import TaskContext


class CollectWork:
    """Collects the node's own container, or that of a node that has left the ring."""

    def __init__(
        self,
        node: LocalNode,
        storage: StorageDriver,
        containers: Containers,
        *,
        prefix: str,
        pack_size: int,
        collect: Callable[..., ContainerUse] = collect_container,
    ) -> None:
        self._node, self._storage = node, storage
        self._containers, self._prefix, self._pack_size = containers, prefix, pack_size
        self._collect_container = collect

    def handlers(self) -> tuple[TaskHandler, ...]:
        """Return the handler of each kind of task."""
        return (handles(Collect, self._collect),)

    def _collect(self, task: Collect, context: TaskContext) -> ContainerUse:
        if task.beside_uploads and not task.report_only:
            raise InvalidValue("packs are not removed beside an upload")
        if task.source != task.host_id:
            self._require_left(task.source)
        in_use = task.beside_uploads and self._containers.is_held(task.source)
        alone = (
            nullcontext() if task.beside_uploads else self._containers.hold(task.source, context)
        )
        with alone:
            use = self._collect_alone(task, context)
        return replace(use, in_use=in_use, backups=use.backups if task.by_backup else {})

    def _collect_alone(self, task: Collect, context: TaskContext) -> ContainerUse:
        own = task.source == task.host_id
        # A report beside an upload leaves the index to the upload.
        index = self._containers.index(task.source) if own and not task.beside_uploads else None
        try:
            return self._collect_container(
                NodeRepository(self._storage, self._prefix, task.cluster, task.source),
                ClusterRepository(self._storage, self._prefix, task.cluster),
                index,
                Terms(
                    known={known.backup_id: known for known in task.known},
                    now=task.now,
                    grace=task.grace,
                    absent=frozenset(task.absent),
                    report_only=task.report_only,
                    remove_container=not own,
                    # Only the worker that uploads to a container adds packs to it.
                    repacking=task.repacking if own else None,
                    pack_size=self._pack_size,
                    damaged=task.damaged,
                    together=frozenset(task.together),
                ),
                spool_directory=self._containers.state_dir,
                caller=Caller(
                    context.raise_if_cancelled,
                    lambda: _require_asked(context, task.lease),
                    context.get_on,
                ),
            )
        finally:
            if index is not None:
                index.close()

    def _require_left(self, host_id: str) -> None:
        """Raise unless a node has left the ring, as this node sees it.

        :raises Conflict: if it is a member: its own worker collects its container.
        """
        if any(member.host_id == host_id for member in self._node.cql().ring()):
            raise Conflict(
                f"node {host_id} is a member of the ring: only its own worker collects its "
                "container; start magnetodb-backup-worker there"
            )


def _require_asked(context: TaskContext, lease: float) -> None:
    """Raise if the task must not delete any more.

    :raises ConductorSilent: if the job may have ended without the knowledge of this worker.
    """
    context.raise_if_cancelled()
    if (silent := context.unasked_for()) > lease:
        raise ConductorSilent(
            f"no conductor has asked for this collection for {silent:.0f} s, so it deletes nothing "
            "more; the job continues it"
        )

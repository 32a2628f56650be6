# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that wait for Cassandra: views, indexes, repairs."""

from __future__ import annotations

from functools import partial

from magnetodb_backup.domain.restore.parts import checked_name
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.tasks.restore import Done
from magnetodb_backup.tasks.restore_delivery import AwaitViews, Repair
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import CqlConnection, LocalNode
from magnetodb_backup.worker.restore.waiting import Bounds, wait_until_built, wait_until_sent
from magnetodb_backup.worker.tasks import TaskContext


class ViewWork:
    """Waits for views and indexes, and repairs."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(AwaitViews, self._await_views), handles(Repair, self._repair)]

    def _await_views(self, task: AwaitViews, context: TaskContext) -> Done:
        """Wait until this node has built the views and indexes, and sent its view updates."""
        views = [checked_name(view) for view in task.views]
        indexes = [TableName(keyspace, index) for keyspace, index in task.indexes]
        bounds = Bounds(task.seconds, task.longest)
        building = {f"view {v}": partial(_is_view_built, v) for v in views}
        building |= {f"index {i}": partial(_is_index_built, i) for i in indexes}
        wait_until_built(self._node, building, bounds, "viewbuildstatus", context)
        wait_until_sent(self._node, bounds, context)
        return Done()

    def _repair(self, task: Repair, context: TaskContext) -> Done:
        for keyspace, tables in sorted(task.tables.items()):
            context.raise_if_cancelled()
            try:
                self._node.control.repair(
                    keyspace,
                    tables,
                    context.raise_if_cancelled,
                    primary_ranges=task.primary_ranges,
                )
            except CommandFailed as error:
                raise CommandFailed(
                    f"{error}. The tables are restored; what is left is to run nodetool repair "
                    f"--full {keyspace} {' '.join(tables)} on every node"
                ) from None
        return Done()


def _is_view_built(view: TableName, cql: CqlConnection) -> bool:
    return cql.is_view_built(view)


def _is_index_built(index: TableName, cql: CqlConnection) -> bool:
    return cql.is_index_built(index.keyspace, index.table)

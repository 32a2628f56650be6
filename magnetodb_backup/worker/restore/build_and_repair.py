# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that wait for Cassandra: views, indexes, repairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from magnetodb_backup.domain.restore.parts import checked_name
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.tasks.restore import AwaitViews, Done, Repair
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import TaskContext

_LOOK_EVERY = 0.5  # seconds


class ViewWork:
    """Waits for views and indexes, and repairs."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(AwaitViews, self._await_views), handles(Repair, self._repair)]

    def _await_views(self, task: AwaitViews, context: TaskContext) -> Done:
        """Wait until this node has built the views and indexes."""
        views = [checked_name(view) for view in task.views]
        indexes = [TableName(keyspace, index) for keyspace, index in task.indexes]
        building = {f"view {v}": partial(self._is_view_built, v) for v in views}
        building |= {f"index {i}": partial(self._is_index_built, i) for i in indexes}
        wait_until_built(building, task.seconds, "viewbuildstatus", context)
        return Done()

    def _is_view_built(self, view: TableName) -> bool:
        return self._node.cql().is_view_built(view)

    def _is_index_built(self, index: TableName) -> bool:
        return self._node.cql().is_index_built(index.keyspace, index.table)

    def _repair(self, task: Repair, context: TaskContext) -> Done:
        for keyspace, tables in sorted(task.tables.items()):
            context.raise_if_cancelled()
            try:
                self._node.control.repair(keyspace, tables, context.raise_if_cancelled)
            except CommandFailed as error:
                raise CommandFailed(
                    f"{error}. The tables are restored; what is left is to run nodetool repair "
                    f"--full {keyspace} {' '.join(tables)} on every node"
                ) from None
        return Done()


def wait_until_built(
    building: Mapping[str, Callable[[], bool]], seconds: float, command: str, context: TaskContext
) -> None:
    """Wait until Cassandra has built everything; ``building`` has a test for each name.

    :raises CommandFailed: naming what is not ready after ``seconds``, and ``command`` of nodetool,
        which shows more.
    """
    deadline = time.monotonic() + seconds
    waiting = dict(building)
    while waiting:
        context.raise_if_cancelled()
        waiting = {name: is_built for name, is_built in waiting.items() if not is_built()}
        if waiting and time.monotonic() > deadline:
            raise CommandFailed(
                f"not built after {seconds:g} s: {', '.join(waiting)}; see nodetool {command} and "
                "Cassandra's log (system.log). Their tables are restored"
            )
        if waiting:
            time.sleep(_LOOK_EVERY)

# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that take their time inside Cassandra: views, indexes, repairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.preflight import table_name
from magnetodb_backup.worker.tasks import Handler, TaskContext

_LOOK_EVERY = 0.5  # seconds


class ViewWork:
    """Building views and indexes, repairing: what takes its time inside Cassandra."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node

    def handlers(self) -> Mapping[TaskKind, Handler]:
        """Return what does each kind of task."""
        return {TaskKind.RESTORE_VIEWS: self._views, TaskKind.RESTORE_REPAIR: self._repair}

    def _views(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Wait until this node has built the views and indexes."""
        views = [table_name(view) for view in arguments["views"]]
        indexes = [TableName(str(keyspace), str(index)) for keyspace, index in arguments["indexes"]]
        building = {f"view {v}": partial(self._is_view_built, v) for v in views}
        building |= {f"index {i}": partial(self._is_index_built, i) for i in indexes}
        wait_until_built(building, float(arguments["seconds"]), "viewbuildstatus", context)
        return {}

    def _is_view_built(self, view: TableName) -> bool:
        return self._node.cql().is_view_built(view)

    def _is_index_built(self, index: TableName) -> bool:
        return self._node.cql().is_index_built(index.keyspace, index.table)

    def _repair(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        for keyspace, tables in sorted(arguments["tables"].items()):
            context.check()
            try:
                self._node.control.repair(keyspace, tables, context.check)
            except CommandFailed as error:
                raise CommandFailed(
                    f"{error}. The tables are restored; what is left is to run nodetool repair "
                    f"--full {keyspace} {' '.join(tables)} on every node"
                ) from None
        return {}


def wait_until_built(
    building: Mapping[str, Callable[[], bool]], seconds: float, command: str, context: TaskContext
) -> None:
    """Wait for what Cassandra builds, by its name; ``command`` of nodetool tells more.

    :raises CommandFailed: naming what is not ready after so many seconds.
    """
    deadline = time.monotonic() + seconds
    waiting = dict(building)
    while waiting:
        context.check()
        waiting = {name: is_built for name, is_built in waiting.items() if not is_built()}
        if waiting and time.monotonic() > deadline:
            raise CommandFailed(
                f"not built after {seconds:g} s: {', '.join(waiting)}; see nodetool {command} and "
                "Cassandra's log (system.log). Their tables are restored"
            )
        if waiting:
            time.sleep(_LOOK_EVERY)

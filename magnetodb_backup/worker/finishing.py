# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that take their time inside Cassandra: views, indexes, repairs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.domain.tasks import TaskKind
from magnetodb_backup.errors import CommandFailed, RestoreRefused
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restoring import table_name
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
        deadline = time.monotonic() + float(arguments["seconds"])
        waiting = [("view", table_name(v)) for v in arguments["views"]]
        waiting += [("index", TableName(str(k), str(i))) for k, i in arguments["indexes"]]
        while waiting:
            context.check()
            waiting = [w for w in waiting if not self._is_built(*w)]
            if waiting and time.monotonic() > deadline:
                named = ", ".join(f"{kind} {name}" for kind, name in waiting)
                raise RestoreRefused(
                    f"not built after {arguments['seconds']} s: {named}; see nodetool "
                    "viewbuildstatus and Cassandra's log. Their tables are restored"
                )
            if waiting:
                time.sleep(_LOOK_EVERY)
        return {}

    def _is_built(self, kind: str, name: TableName) -> bool:
        cql = self._node.cql()
        if kind == "view":
            return cql.is_view_built(name)
        return cql.is_index_built(name.keyspace, name.table)

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

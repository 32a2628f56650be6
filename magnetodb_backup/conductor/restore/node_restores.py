# SPDX-License-Identifier: Apache-2.0
"""What the records show of each node of a restore."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from magnetodb_backup.conductor.fanout import Call, Outcome
from magnetodb_backup.database import Database
from magnetodb_backup.domain.restore.records import NodeRestore, RestorePhase, RestoreProgress
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.errors import BackupError, Cancelled
from magnetodb_backup.tasks.kinds import TaskKind

_WRITE_EVERY = 1.0  # seconds
# What tasks count that have no whole progress.
_OWN_PROGRESS = {
    TaskKind.RESTORE_IMPORT: "sstables_imported",
    TaskKind.RESTORE_STREAM: "bytes_sent",
}


class NodeRestores:
    """Writes the nodes' parts of one restore.

    Only the job's owner writes them, so they are read once: a step costs one write per node and
    change.
    """

    def __init__(self, database: Database, restore_id: str) -> None:
        self._database, self._restore_id = database, restore_id
        self._written: dict[str, float] = {}
        self._known: dict[str, NodeRestore] | None = None

    def enter(self, member: RingMember, phase: str) -> None:
        """Show that a node begins a phase."""
        old = self._get(member.host_id)
        if old is None:
            old = NodeRestore(
                self._restore_id, member.host_id, member.address, member.dc, member.rack
            )
        self._put(replace(old, phase=phase, error=""))

    def leave(self, outcome: Outcome, phase: str) -> None:
        """Show how a node's phase ended."""
        node = self._get(outcome.call.host_id)
        if node is None:
            return
        error: BackupError | None = outcome.error
        progress = node.progress
        if error is None and "progress" in outcome.result:
            progress = RestoreProgress(**outcome.result["progress"])
        elif error is None and "sstables" in outcome.result:
            progress = replace(progress, sstables_imported=outcome.result["sstables"])
        elif error is None and "bytes_sent" in outcome.result:
            progress = replace(progress, bytes_sent=outcome.result["bytes_sent"])
        if error is not None and not isinstance(error, Cancelled):
            phase = "failed"
        elif phase == RestorePhase.CLEANUP.value and error is None:
            phase = "done"
        self._put(replace(node, phase=phase, error=str(error or ""), progress=progress))

    def write_progress(self, call: Call, progress: Mapping[str, int]) -> None:
        """Show how far a node is, now and then."""
        now = time.monotonic()
        if now - self._written.get(call.host_id, 0.0) < _WRITE_EVERY:
            return
        if "bytes_resumed" not in progress:  # the task has not reported any yet
            return
        self._written[call.host_id] = now
        node = self._get(call.host_id)
        if node is not None and call.kind is TaskKind.RESTORE_DOWNLOAD:
            self._put(replace(node, progress=RestoreProgress(**progress)))
        elif node is not None and call.kind in _OWN_PROGRESS:
            name = _OWN_PROGRESS[call.kind]
            self._put(replace(node, progress=replace(node.progress, **{name: progress[name]})))

    def _get(self, host_id: str) -> NodeRestore | None:
        if self._known is None:
            nodes = self._database.restores.node_restores(self._restore_id)
            self._known = {node.host_id: node for node in nodes}
        return self._known.get(host_id)

    def _put(self, node: NodeRestore) -> None:
        self._database.restores.put_node_restore(node)
        assert self._known is not None  # every writer reads first
        self._known[node.host_id] = node

# SPDX-License-Identifier: Apache-2.0
"""What the records show of each node of a backup."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from magnetodb_backup.conductor.census import Census
from magnetodb_backup.conductor.fanout import Call, Outcome
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import NodeBackup, Progress
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.errors import Unexpected
from magnetodb_backup.tasks.backup import SnapshotTaken, Uploaded
from magnetodb_backup.tasks.codec import decode
from magnetodb_backup.tasks.kinds import TaskKind

_NAMED_FILES = 10_000  # corrupt files of all nodes in one step result
_WRITE_EVERY = 1.0  # seconds


class NodeBackups:
    """Writes the node backups of one backup. They are read once and kept in memory."""

    def __init__(self, database: Database, backup_id: str) -> None:
        self._database, self._backup_id = database, backup_id
        self._nodes: dict[str, NodeBackup] | None = None
        self._written: dict[str, float] = {}

    def record(self, census: Census) -> None:
        """Write a record of each node of the ring."""
        self._nodes = {}
        for member, _ in census.present:
            self._put(self._new(member, Phase.CENSUS.value))
        for member, reason in census.missing:
            self._put(self._new(member, "missing", reason))

    def mark(self, outcome: Outcome, phase: Phase) -> None:
        """Write how a node's phase ended."""
        node = self._get(outcome.call.host_id)
        if outcome.error is not None:
            node = replace(node, phase="failed", error=str(outcome.error))
        else:
            node = replace(node, phase=phase.value, error="")
            if outcome.call.kind is TaskKind.UPLOAD:
                node = replace(node, progress=decode(Uploaded, outcome.result).progress)
        self._put(node)

    def write_progress(self, call: Call, progress: Mapping[str, int]) -> None:
        """Write how far a node's upload is, once a second at most."""
        now = time.monotonic()
        if now - self._written.get(call.host_id, 0.0) < _WRITE_EVERY:
            return
        self._written[call.host_id] = now
        node = self._get(call.host_id)
        self._put(replace(node, phase=Phase.UPLOAD.value, progress=decode(Progress, progress)))

    def finish(self, host_id: str, uploaded: Uploaded, snapshot: SnapshotTaken) -> None:
        """Write what a node has stored."""
        self._put(
            replace(
                self._get(host_id),
                phase="done",
                progress=uploaded.progress,
                manifest_sha256=uploaded.manifest.sha256,
                manifest_size=uploaded.manifest.size,
                snapshot_started_at=snapshot.started_at,
                snapshot_finished_at=snapshot.finished_at,
                corrupt_files=uploaded.corrupt_files,
            )
        )

    def _new(self, member: RingMember, phase: str, error: str = "") -> NodeBackup:
        return NodeBackup(
            self._backup_id, member.host_id, member.address, member.dc, member.rack, phase, error
        )

    def _known(self) -> dict[str, NodeBackup]:
        if self._nodes is None:
            found = self._database.backups.node_backups(self._backup_id)
            self._nodes = {node.host_id: node for node in found}
        return self._nodes

    def _get(self, host_id: str) -> NodeBackup:
        node = self._known().get(host_id)
        if node is None:
            raise Unexpected(f"backup {self._backup_id} has no record of node {host_id}")
        return node

    def _put(self, node: NodeBackup) -> None:
        self._database.backups.put_node_backup(node)
        self._known()[node.host_id] = node


def bounded_uploads(uploads: Mapping[str, Uploaded]) -> Mapping[str, Uploaded]:
    """Return uploads that name fewer corrupt files the more nodes there are; all are counted.

    The results of all nodes are stored as one document; the records of the nodes name more. The
    bytes of tables have a table of their own.
    """
    most = max(1, _NAMED_FILES // max(1, len(uploads)))
    return {
        host_id: replace(
            uploaded,
            corrupt_files=uploaded.corrupt_files[:most],
            corrupt_count=uploaded.corrupt,
            tables=None,
        )
        for host_id, uploaded in uploads.items()
    }

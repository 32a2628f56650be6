# SPDX-License-Identifier: Apache-2.0
"""A cluster of directories with a backup, and restores of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.domain.restore.records import (
    NodeRestore,
    Restore,
    RestorePhase,
    RestoreRequest,
)
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.tasks.kinds import TaskKind
from tests.lab.catalogue import adopt
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_cql import CLUSTER

T, U = TableName("ks", "t"), TableName("ks", "u")
RESTORE_KINDS = [k for k in TaskKind if k.value.startswith("restore_")]


class Restoring:
    """A backup of keyspace ks, and what its nodes held then."""

    def __init__(self, cluster: Cluster, **request: Any) -> None:
        self.cluster = cluster
        self.backup = cluster.backup(**request)
        assert self.backup.status in (BackupStatus.CREATED, BackupStatus.PARTIAL)
        self.saved = self.rows()

    # What is done.

    def request(self, backup: Backup | None = None, **values: Any) -> Restore:
        """Record a request for a restore, as the API does after its checks."""
        request = RestoreRequest((backup or self.backup).id, cluster=CLUSTER, **values)
        return self.cluster.database.restores.create(request, str(uuid.uuid4()), CLUSTER, CLUSTER)

    def run(
        self,
        restore: Restore,
        *,
        owner: str = "conductor-1",
        still_owner: Callable[[], bool] = lambda: True,
        **settings: Any,
    ) -> Restore:
        """Run the restore's job in this thread; return the restore as it is then."""
        claimed = adopt(self.cluster.database, restore.id, owner)
        self.cluster.runner(**settings).run(*claimed, still_owner)
        return self.cluster.database.restores.get(restore.id)

    def restore(self, **values: Any) -> Restore:
        return self.run(self.request(**values))

    def until(self, restore: Restore, phase: RestorePhase) -> Callable[[], bool]:
        """Return what holds until the phase has a result: a conductor that dies after it."""
        return lambda: phase.value not in self.steps(restore)

    def truncate(self, *names: TableName) -> None:
        """Empty tables, as an operator does by mistake."""
        for node in self.cluster.nodes.values():
            for name in names:
                for path in fake_changes.table_files(node, name):
                    path.unlink()

    def drop(self, *names: TableName) -> None:
        for name in names:
            fake_changes.drop(list(self.cluster.nodes.values()), name)

    def forget(self) -> None:
        """Forget what nodes were told so far."""
        for node in self.cluster.nodes.values():
            node.log.clear()

    def add_row(self, number: int, name: TableName, body: bytes) -> None:
        """Let a node have another SSTable."""
        node = self.cluster.nodes[number]
        (table,) = [t for t in node.tables if t.name == name]
        node.generation += 1
        node.write(table, f"nb-{node.generation}-big-Data.db", body)

    # What is there.

    def rows(self, *names: TableName) -> dict[tuple[int, TableName], list[bytes]]:
        """Return each node's rows of the tables (all if none is named)."""
        return {
            (number, each.name): fake_changes.rows(node, each.name)
            for number, node in self.cluster.nodes.items()
            for each in node.tables
            if not names or each.name in names
        }

    def saved_rows(self, *names: TableName) -> dict[tuple[int, TableName], list[bytes]]:
        return {key: rows for key, rows in self.saved.items() if key[1] in names}

    def job(self, restore: Restore) -> Job:
        return self.cluster.database.jobs.get(restore.id)

    def steps(self, restore: Restore) -> set[str]:
        return set(self.cluster.database.jobs.step_results(restore.id, 1))

    def node(self, restore: Restore, number: int) -> NodeRestore:
        found = {n.host_id: n for n in self.cluster.database.restores.node_restores(restore.id)}
        return found[self.cluster.nodes[number].me.host_id]

    def staged(self) -> list[Path]:
        """Return everything that restores have on the nodes, but kept files."""
        return [path for path in self._left() if not path.name.startswith("fetched-")]

    def kept(self) -> list[Path]:
        """Return the directories with fetched files on the nodes."""
        return [path for path in self._left() if path.name.startswith("fetched-")]

    def _left(self) -> Iterator[Path]:
        for node in self.cluster.nodes.values():
            for directory in node.data.paths:
                yield from directory.glob(".magnetodb-backup/*")

    def told(self, *beginnings: str) -> list[str]:
        """Return what nodes were told that begins so, in no order between nodes."""
        return [
            entry
            for node in self.cluster.nodes.values()
            for entry in node.log
            if entry.startswith(beginnings)
        ]

    def changes(self) -> list[str]:
        """Return every change that the cluster was told of."""
        return self.told("cql", "import", "repair")

    def delivered(self) -> list[str]:
        """Return these changes without those that hold compactions for a while."""
        return [change for change in self.changes() if " compaction = " not in change]

    def performed(self, restore: Restore) -> Iterator[str]:
        """Yield the steps that workers were asked for."""
        for _, task_id in self.cluster.workers.started:
            if task_id.startswith(restore.id):
                yield task_id.split(":")[1]


def nothing_changed(restoring: Restoring, restore: Restore) -> None:
    """Prove that a restore changed nothing."""
    assert restoring.changes() == []
    assert restoring.staged() == []
    assert "download" not in set(restoring.performed(restore))
    assert set(restore.tables.values()) <= {"untouched"}


def manifest_with(**values: Any) -> Callable[[bytes], bytes]:
    """Return what changes members of a manifest."""
    return lambda body: json.dumps({**json.loads(body), **values}).encode()

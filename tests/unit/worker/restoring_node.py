# SPDX-License-Identifier: Apache-2.0
"""A node of directories with a backup, to try the tasks of a restore on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from magnetodb_backup.cassandra.files.staging import ROOT, Staging
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.repository.format.names import cluster_container
from magnetodb_backup.tasks.codec import encode
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import HOST, FakeNode
from tests.unit.worker.working import BACKUP, PREFIX, Working

RESTORE = "dddddddd-dddd-4ddd-8ddd-dddddddddddd"
T, U = TableName("ks", "t"), TableName("ks", "u")
SAME = [[["ks", "t"]] * 2, [["ks", "u"]] * 2]


class RestoringNode:
    """A node with a backup of its tables, and its worker."""

    def __init__(self, root: Path, prepare: Callable[[FakeNode], None] = lambda node: None) -> None:
        self.working = Working(root)
        self.node = self.working.node
        prepare(self.node)
        kinds = (TaskKind.PREPARE, TaskKind.SNAPSHOT, TaskKind.UPLOAD)
        self.manifest = encode(self.working.do_all(*kinds).manifest)
        self.saved = {t.name: fake_changes.rows(self.node, t.name) for t in self.node.tables}
        self.staging = Staging(self.node.data.names, RESTORE)
        self.context = TaskContext()
        self.told: list[RestoreProgress] = []
        self.node.log.clear()

    def part(self, tables: Any = SAME, **more: Any) -> dict[str, Any]:
        return {"source": HOST, "manifest": self.manifest, "tables": tables, **more}

    def do(self, kind: TaskKind, **more: Any) -> Mapping[str, Any]:
        arguments = {
            "host_id": HOST,
            "restore_id": RESTORE,
            "backup_id": BACKUP,
            "source_cluster": CLUSTER,
            "parts": [self.part()],
            "files": 8,
            "bytes": 100,
            **more,
        }
        result = self.working.work.perform(kind, json.loads(json.dumps(arguments)), self.context)
        found: Mapping[str, Any] = json.loads(json.dumps(result))  # as the bus brings it
        return found

    def preflight(self, **more: Any) -> Mapping[str, Any]:
        return self.do(TaskKind.RESTORE_PREFLIGHT, **more)

    def download(self, **more: Any) -> Mapping[str, Any]:
        return self.do(TaskKind.RESTORE_DOWNLOAD, **more)

    def imported(self, **more: Any) -> Mapping[str, Any]:
        return self.do(TaskKind.RESTORE_IMPORT, **more)

    def truncate(self) -> None:
        for each in self.node.tables:
            for path in fake_changes.table_files(self.node, each.name):
                path.unlink()

    def staged(self) -> dict[str, bytes]:
        """Return the staged files by their path below the restore's directory."""
        return {
            f"{number}/{path.relative_to(root)}": path.read_bytes()
            for number, data in enumerate(self.node.data.paths)
            for root in [data / ROOT / RESTORE]
            for path in root.rglob("*.db")
        }

    def change_manifest(self, change: Callable[[bytes], bytes]) -> None:
        self.working.store.change(cluster_container(PREFIX, CLUSTER), self.manifest["name"], change)

    def is_untouched(self) -> bool:
        return self.node.log == [] and not any(
            (data / ROOT).exists() for data in self.node.data.paths
        )

# SPDX-License-Identifier: Apache-2.0
"""A worker's work on a node that consists of directories, with a store in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.download.download import DownloadSettings
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.upload import UploadSettings
from magnetodb_backup.tasks.kinds import TaskKind, snapshot_tag
from magnetodb_backup.worker.backup.fingerprints import FigureWork
from magnetodb_backup.worker.backup.work import BackupWork, WorkSettings
from magnetodb_backup.worker.remembered import NodeMemory
from magnetodb_backup.worker.restore.build_and_repair import ViewWork
from magnetodb_backup.worker.restore.import_ import ImportWork
from magnetodb_backup.worker.restore.offline import OfflineWork
from magnetodb_backup.worker.restore.preflight import RestoreSettings, RestoreWork
from magnetodb_backup.worker.restore.queue import Turns
from magnetodb_backup.worker.restore.schema import SchemaWork
from magnetodb_backup.worker.restore.stream import StreamWork
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.repository.stores import Store
from tests.unit.worker.fake_changes import FakeLoader
from tests.unit.worker.fake_node import CLUSTER, FakeNode
from tests.unit.worker.fake_process import FakeProcess

PREFIX = "backups"
# What a backup asks of a worker.
BACKUP_KINDS = [k for k in TaskKind if not k.value.startswith("restore_")]
BACKUP = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
TAG = snapshot_tag(BACKUP, 1)


def make_work(node: FakeNode, store: Store, state_dir: Path, **settings: Any) -> BackupWork:
    """Return a worker's work; the settings are those of ``WorkSettings``."""
    state_dir.mkdir(exist_ok=True)
    values = {"snapshot_ttl": 3600, "head_room_percent": 0.0, **settings}
    upload = UploadSettings(pack_size=1000, concurrency=2, readers=1)
    local = node.local(memory=NodeMemory(state_dir / "node.json"))
    restoring = RestoreWork(local, store, restore_settings(values["head_room_percent"]))
    streaming = StreamWork(local, FakeLoader(lambda: node.ring))
    schema = SchemaWork(local, store, PREFIX)
    figures = FigureWork(local, store, prefix=PREFIX, state_dir=state_dir, concurrency=2)
    return BackupWork(
        local,
        store,
        WorkSettings(PREFIX, upload, state_dir=state_dir, **values),
        {
            **restoring.handlers(),
            **ImportWork(local).handlers(),
            **schema.handlers(),
            **ViewWork(local).handlers(),
            **figures.handlers(),
            **streaming.handlers(),
            **Turns().one_by_one(OfflineWork(local, FakeProcess(node)).handlers()),
        },
    )


def restore_settings(head_room_percent: float = 0.0) -> RestoreSettings:
    return RestoreSettings(PREFIX, DownloadSettings(concurrency=2), head_room_percent)


class Working:
    """One node, its store, and its worker's work; tasks are done in this thread."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.node, self.store, self.state_dir = FakeNode(root), Store(), root / "state"
        self._settings = settings
        self.repository = NodeRepository(self.store, PREFIX, CLUSTER, self.node.me.host_id)
        self.cluster = ClusterRepository(self.store, PREFIX, CLUSTER)
        self.restart()

    def restart(self, **settings: Any) -> None:
        """Begin with a new process: nothing is kept but the state directory."""
        values = {**self._settings, **settings}
        self.work = make_work(self.node, self.store, self.state_dir, **values)

    def arguments(self, **more: Any) -> dict[str, Any]:
        return {
            "host_id": self.node.me.host_id,
            "cluster": CLUSTER,
            "backup_id": BACKUP,
            "tag": TAG,
            "tables": [t.as_json() for t in self.node.tables],
            "on_corrupt": "fail",
            "snapshot_started_at": "2026-01-01T00:00:00+00:00",
            "snapshot_finished_at": "2026-01-01T00:00:01+00:00",
            **more,
        }

    def do(
        self, kind: TaskKind, context: TaskContext | None = None, **more: Any
    ) -> Mapping[str, Any]:
        """Perform one task of the backup and return its result."""
        return self.work.perform(kind, self.arguments(**more), context or TaskContext())

    def do_all(self, *kinds: TaskKind, **more: Any) -> Mapping[str, Any]:
        """Perform tasks in order; return the last one's result."""
        return [self.do(kind, **more) for kind in kinds][-1]

# SPDX-License-Identifier: Apache-2.0
"""A worker's work on a node that consists of directories, with a store in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.download.download import DownloadSettings
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.settings import UploadSettings
from magnetodb_backup.tasks.codec import decode
from magnetodb_backup.tasks.kinds import TaskKind, snapshot_tag
from magnetodb_backup.worker.compose import NodeParts, WorkerSettings, compose_work
from magnetodb_backup.worker.dispatch import Dispatcher
from magnetodb_backup.worker.remembered import NodeMemory
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.repository.stores import Store
from tests.unit.tasks.registry import TASKS
from tests.unit.worker.fake_changes import FakeLoader
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import FakeNode
from tests.unit.worker.fake_process import FakeProcess
from tests.unit.worker.fake_scratch import FakeScratch

PREFIX = "backups"
# What a backup asks of a worker.
BACKUP_KINDS = [k for k in TaskKind if not k.value.startswith(("restore_", "verify_", "collect"))]
# The results of tasks by kind.
_RESULTS = {k: task.result for k, task in TASKS.items() if not k.value.startswith("restore_")}
BACKUP = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
TAG = snapshot_tag(BACKUP, 1)


def make_work(
    node: FakeNode,
    store: Store,
    state_dir: Path,
    scratch: FakeScratch | None = None,
    **settings: Any,
) -> Dispatcher:
    """Return a worker's work; the settings are those of ``WorkerSettings``."""
    parts = node_parts(node, store, state_dir, scratch)
    return compose_work(parts, worker_settings(state_dir, **settings)).tasks


def node_parts(
    node: FakeNode, store: Store, state_dir: Path, scratch: FakeScratch | None = None
) -> NodeParts:
    """Return the parts of a worker on a node of directories; the state directory is made."""
    state_dir.mkdir(exist_ok=True)
    return NodeParts(
        node=node.local(memory=NodeMemory(state_dir / "node.json")),
        storage=store,
        loader=FakeLoader(lambda: node.ring),
        process=FakeProcess(node),
        scratch=scratch or FakeScratch(state_dir / "scratch"),
    )


def worker_settings(state_dir: Path, **settings: Any) -> WorkerSettings:
    """Return settings for small files; ``settings`` replaces some."""
    values = {
        "prefix": PREFIX,
        "state_dir": state_dir,
        "upload": UploadSettings(pack_size=1000, concurrency=2, readers=1),
        "download": DownloadSettings(concurrency=2),
        "fingerprints_concurrency": 2,
        "snapshot_ttl": 3600,
        "head_room_percent": 0.0,
        "scratch_room": 1000,
        "staging_max_age": 3600.0,
    }
    return WorkerSettings(**{**values, **settings})


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

    def do(self, kind: TaskKind, context: TaskContext | None = None, **more: Any) -> Any:
        """Perform one task of the backup and return its result, typed if its kind is.

        Arguments and result pass through JSON, as they do on the bus.
        """
        arguments = json.loads(json.dumps(self.arguments(**more)))
        result = self.work.perform(kind, arguments, context or TaskContext())
        encoded = json.loads(json.dumps(result))
        return decode(_RESULTS[kind], encoded) if kind in _RESULTS else encoded

    def do_all(self, *kinds: TaskKind, **more: Any) -> Any:
        """Perform tasks in order; return the last one's result."""
        return [self.do(kind, **more) for kind in kinds][-1]

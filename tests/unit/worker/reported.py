# SPDX-License-Identifier: Apache-2.0
"""A worker's reporter on a node of directories, and the conductor that it reports to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magnetodb_backup.cassandra.files.staging import Staging
from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.errors import CassandraUnavailable, ImportRuns
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus
from magnetodb_backup.worker.heartbeat import Reporter, ReportSettings
from magnetodb_backup.worker.service import spawn
from magnetodb_backup.worker.tasks import TaskContext, Tasks
from tests.lab.processes import wait_for
from tests.unit.cassandra.tree import table
from tests.unit.worker.fake_control import FakeControl
from tests.unit.worker.fake_node import HOST, FakeNode

LIVE, DEAD = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
T = table("ks", "t", 1)


class Conductor:
    """Takes reports; ``on_report`` may fail."""

    def __init__(self) -> None:
        self.reports: list[NodeReport] = []
        self.ended: list[tuple[str, str, str, TaskStatus]] = []
        self.on_report: Callable[[], None] = lambda: None

    def report(self, report: NodeReport) -> frozenset[str]:
        self.reports.append(report)
        self.on_report()
        return frozenset({LIVE})

    def task_ended(self, conductor: str, worker_id: str, task_id: str, status: TaskStatus) -> None:
        self.ended.append((conductor, worker_id, task_id, status))


class Waiting:
    """Work that lasts until it is cancelled."""

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        while True:
            context.raise_if_cancelled()
            threading.Event().wait(0.01)


class Worker:
    """A reporter and what it works with."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.node, self.conductor = FakeNode(root), Conductor()
        self.tasks = settings.pop("tasks", None) or Tasks(Waiting(), spawn)
        self.released: list[str] = []
        self.unstaged: list[str] = []
        self.importing: set[str] = set()  # restores whose imports run
        self.reporter = Reporter(
            settings.pop("local", None) or self.node.local(),
            self.conductor,
            self.tasks,
            self.release,
            self.remove_staging,
            ReportSettings(
                **{
                    "worker_id": "worker-1",
                    "node_control": "nodetool",
                    "interval": 0.02,
                    "head_room_percent": 0.0,
                    **settings,
                }
            ),
        )

    def release(self, tag: str) -> None:
        self.released.append(tag)
        FakeControl(self.node).clear_snapshot(tag)
        if self.node.snapshots(tag):
            raise CassandraUnavailable(f"snapshot {tag} is still on disk")

    def remove_staging(self, restore_id: str) -> None:
        if restore_id in self.importing:
            raise ImportRuns(f"the staged files of restore {restore_id} stay")
        self.unstaged.append(restore_id)
        Staging(self.node.data.names, restore_id).remove()

    def stage(self, restore_id: str) -> Path:
        """Let a restore have a file in each data directory; return one of them."""
        staging = Staging(self.node.data.names, restore_id)
        staging.prepare()
        for number in range(len(self.node.data.names)):
            directory = staging.directory(HOST, T.name, number)
            directory.mkdir(parents=True)
            (directory / "nb-1-big-Data.db").write_bytes(b"rows")
        return directory / "nb-1-big-Data.db"

    @contextmanager
    def task(self, tag: str = "", **arguments: str) -> Iterator[None]:
        self.tasks.start("task", TaskKind.UPLOAD, {"tag": tag, **arguments})
        yield
        self.tasks.cancel("task")


def wait_failed(worker: Worker, code: str) -> None:
    wait_for(
        lambda: worker.tasks.status("task").state is TaskState.FAILED,
        deadline=5,
        what="the task's end",
        interval=0.01,
    )
    assert worker.tasks.status("task").error["code"] == code

# SPDX-License-Identifier: Apache-2.0
"""A worker's reporter on a node of directories, and the conductor that it reports to."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magnetodb_backup.cassandra.files.fetched import FetchedFiles, Origin, all_fetched
from magnetodb_backup.cassandra.files.staging import ROOT, Staging
from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.errors import CassandraUnavailable, ImportRuns, WorkerUnavailable
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus
from magnetodb_backup.worker.heartbeat import Reporter, ReportSettings
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.keeping import StagingKeeper
from magnetodb_backup.worker.service import spawn
from magnetodb_backup.worker.tasks import TaskContext, Tasks
from tests.lab.processes import wait_for
from tests.unit.cassandra.tree import table
from tests.unit.worker.fake_control import FakeControl
from tests.unit.worker.fake_node import HOST, FakeNode

LIVE, DEAD = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
BACKUP = "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
MAX_AGE = 3600.0  # seconds for which a worker of these tests keeps files
T = table("ks", "t", 1)


class Conductor:
    """Takes reports; ``on_report`` may fail.

    ``restores`` are those that have ended, with whether their fetched files are kept; None is a
    conductor of an older release.
    """

    def __init__(self) -> None:
        self.restores: dict[str, bool] | None = {DEAD: False}
        self.reports: list[NodeReport] = []
        self.ended: list[tuple[str, str, str, TaskStatus]] = []
        self.on_report: Callable[[], None] = lambda: None

    def report(self, report: NodeReport) -> frozenset[str]:
        self.reports.append(report)
        self.on_report()
        return frozenset({LIVE})

    def ended_restores(self, restores: Collection[str]) -> Mapping[str, bool]:
        if self.restores is None:
            raise WorkerUnavailable("the conductor failed to answer: UnsupportedVersion")
        return {r: keep for r, keep in self.restores.items() if r in restores}

    def task_ended(self, conductor: str, worker_id: str, task_id: str, status: TaskStatus) -> None:
        self.ended.append((conductor, worker_id, task_id, status))


class Keeper(StagingKeeper):
    """Notes which restores' use of files was ended."""

    def __init__(self, node: LocalNode, max_age: float) -> None:
        super().__init__(node, max_age)
        self.ends: list[tuple[str, bool]] = []
        self.importing: set[str] = set()  # restores whose imports run

    def end(self, directories: Sequence[str], restore_id: str, *, keep: bool) -> None:
        if restore_id in self.importing:
            raise ImportRuns(f"the staged files of restore {restore_id} stay")
        self.ends.append((restore_id, keep))
        super().end(directories, restore_id, keep=keep)


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
        local = settings.pop("local", None) or self.node.local()
        self.keeper = Keeper(self.node.local(), MAX_AGE)
        self.reporter = Reporter(
            local,
            self.conductor,
            self.tasks,
            self.release,
            self.keeper,
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

    def stage(self, restore_id: str) -> Path:
        """Let a restore have a file in each data directory; return one of them."""
        staging = Staging(self.node.data.names, restore_id)
        staging.prepare()
        for number in range(len(self.node.data.names)):
            directory = staging.directory(HOST, T.name, number)
            directory.mkdir(parents=True)
            (directory / "nb-1-big-Data.db").write_bytes(b"rows")
        return directory / "nb-1-big-Data.db"

    def fetch(self, restore_id: str, number: int = 1) -> FetchedFiles:
        """Let a restore hold a fetched file, of a node manifest of this number."""
        origin = Origin("c", BACKUP, HOST, f"{number:064x}")
        fetched = FetchedFiles(self.node.data.names, origin.name)
        with fetched.locked(create=True):
            fetched.hold(restore_id, [T.name])
        directory = fetched.directory(T.name, 0)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "nb-1-big-Data.db").write_bytes(b"rows")
        return fetched

    def fetched(self) -> set[str]:
        """Return the restores that hold fetched files; an empty text for files that are kept."""
        return {fetched.held().restore_id for fetched in all_fetched(self.node.data.names)}

    @contextmanager
    def task(self, tag: str = "", **arguments: str) -> Iterator[None]:
        self.tasks.start("task", TaskKind.UPLOAD, {"tag": tag, **arguments})
        yield
        self.tasks.cancel("task")


def grow_old(node: FakeNode, seconds: float) -> None:
    """Let what restores have on a node be untouched for so long."""
    then = time.time() - seconds
    for data in node.data.paths:
        for root in (data / ROOT).iterdir():
            os.utime(root, (then, then))


def wait_failed(worker: Worker, code: str) -> None:
    wait_for(
        lambda: worker.tasks.status("task").state is TaskState.FAILED,
        deadline=5,
        what="the task's end",
        interval=0.01,
    )
    assert worker.tasks.status("task").error["code"] == code

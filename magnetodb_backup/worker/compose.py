# SPDX-License-Identifier: Apache-2.0
"""The one wiring of a worker: which object does which task, and with what.

Processes pass the real parts, tests pass fakes; both get the same worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from magnetodb_backup.repository.download.download import DownloadSettings
from magnetodb_backup.repository.upload.settings import UploadSettings
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.throttling import Throttled
from magnetodb_backup.tasks.kinds import TaskStatus
from magnetodb_backup.worker import heartbeat
from magnetodb_backup.worker.backup.containers import Containers
from magnetodb_backup.worker.backup.fingerprints import FingerprintWork
from magnetodb_backup.worker.backup.left_snapshots import LeftSnapshots
from magnetodb_backup.worker.backup.prepare import PrepareWork
from magnetodb_backup.worker.backup.schema import SchemaReadWork
from magnetodb_backup.worker.backup.snapshot import FinishedUploads, SnapshotWork
from magnetodb_backup.worker.backup.upload import UploadWork
from magnetodb_backup.worker.collect import CollectWork
from magnetodb_backup.worker.dispatch import Dispatcher
from magnetodb_backup.worker.heartbeat import Reporter, ReportSettings
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.build_and_repair import ViewWork
from magnetodb_backup.worker.restore.check import CheckWork
from magnetodb_backup.worker.restore.confirm import ConfirmWork
from magnetodb_backup.worker.restore.download import DownloadWork
from magnetodb_backup.worker.restore.import_ import ImportWork
from magnetodb_backup.worker.restore.keeping import StagingKeeper
from magnetodb_backup.worker.restore.offline import OfflineWork, Process
from magnetodb_backup.worker.restore.preflight import PreflightWork, RestoreSettings
from magnetodb_backup.worker.restore.queue import RestoreQueue
from magnetodb_backup.worker.restore.rehearsal import Rehearsal
from magnetodb_backup.worker.restore.schema import SchemaWork
from magnetodb_backup.worker.restore.stream import Loader, StreamWork
from magnetodb_backup.worker.restore.truncate import TruncateWork
from magnetodb_backup.worker.service import spawn
from magnetodb_backup.worker.tasks import Tasks
from magnetodb_backup.worker.verification.interface import Scratch
from magnetodb_backup.worker.verification.parse import ParseSettings, ParseWork
from magnetodb_backup.worker.verification.read import ReadSettings, ReadWork
from magnetodb_backup.worker.verification.schema import SchemaTrialWork


class Conductor(heartbeat.Conductor, Protocol):
    """Takes reports and the ends of tasks."""

    def task_ended(self, conductor: str, worker_id: str, task_id: str, status: TaskStatus) -> None:
        """Send the end of a task to the conductor of that name; raises BackupError."""


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker works; sizes in bytes, times in seconds.

    ``fingerprints_concurrency`` is the number of token ranges that are read at once,
    ``scratch_room`` how many bytes of SSTables are verified at a time. ``verify_rate`` returns the
    greatest number of bytes per second that verifications fetch, 0 for no limit;
    ``journal_every`` is the time between two notes of how far one is.
    """

    prefix: str
    state_dir: Path
    upload: UploadSettings
    download: DownloadSettings
    fingerprints_concurrency: int
    snapshot_ttl: int
    head_room_percent: float
    scratch_room: int
    staging_max_age: float
    verify_rate: Callable[[], int] = lambda: 0
    journal_every: float = 1.0


@dataclass(frozen=True)
class NodeParts:
    """Where a worker does its work: the node, the store, and the programs it runs."""

    node: LocalNode
    storage: StorageDriver
    loader: Loader
    process: Process
    scratch: Scratch


@dataclass(frozen=True)
class Work:
    """Performs every kind of task; ``snapshots`` and ``keeper`` also remove left-overs."""

    tasks: Dispatcher
    snapshots: SnapshotWork
    keeper: StagingKeeper


@dataclass(frozen=True)
class Worker:
    """A composed worker: its task table, for the RPC server, and its reporter."""

    tasks: Tasks
    reporter: Reporter


def compose_work(parts: NodeParts, settings: WorkerSettings) -> Work:
    """Return what performs the tasks of one node."""
    node, storage, prefix = parts.node, parts.storage, settings.prefix
    restoring = RestoreSettings(prefix, settings.download, settings.head_room_percent)
    finished = FinishedUploads(settings.state_dir)
    snapshots = SnapshotWork(node, finished, settings.snapshot_ttl)
    containers = Containers(settings.state_dir)
    keeper = StagingKeeper(node, settings.staging_max_age)
    one_by_one = RestoreQueue().one_by_one(
        [
            *PreflightWork(node, storage, restoring, Rehearsal(node, parts.loader)).handlers(),
            *DownloadWork(node, storage, restoring, keeper).handlers(),
            *ConfirmWork(node).handlers(),
            *ImportWork(node).handlers(),
            *SchemaWork(node, storage, prefix).handlers(),
            *TruncateWork(node).handlers(),
            *StreamWork(node, parts.loader).handlers(),
            *ViewWork(node).handlers(),
            *OfflineWork(node, parts.process).handlers(),
        ]
    )
    concurrency = settings.fingerprints_concurrency
    paced = Throttled(storage, settings.verify_rate)
    handlers = [
        *PrepareWork(node, storage, prefix, settings.head_room_percent).handlers(),
        *SchemaReadWork(node, storage, prefix).handlers(),
        *snapshots.handlers(),
        *UploadWork(
            node, storage, snapshots, finished, settings.upload, containers, prefix=prefix
        ).handlers(),
        *CollectWork(
            node, storage, containers, prefix=prefix, pack_size=settings.upload.pack_size
        ).handlers(),
        *FingerprintWork(
            node, storage, prefix=prefix, state_dir=settings.state_dir, concurrency=concurrency
        ).handlers(),
        *one_by_one,
        *CheckWork(node, storage, prefix, concurrency).handlers(),
        *SchemaTrialWork(parts.scratch, storage, prefix).handlers(),
        *ReadWork(
            paced, ReadSettings(prefix, settings.state_dir / "verification", settings.journal_every)
        ).handlers(),
        *ParseWork(
            parts.scratch,
            paced,
            ParseSettings(
                prefix, settings.download, settings.scratch_room, settings.head_room_percent
            ),
        ).handlers(),
    ]  # fmt: skip
    return Work(Dispatcher(node, handlers), snapshots, keeper)


def compose_worker(
    parts: NodeParts, conductor: Conductor, settings: WorkerSettings, report: ReportSettings
) -> Worker:
    """Return a worker that reports to ``conductor``; nothing runs yet."""
    work = compose_work(parts, settings)

    def announce(name: str, task_id: str, status: TaskStatus) -> None:
        conductor.task_ended(name, report.worker_id, task_id, status)

    tasks = Tasks(work.tasks, spawn, announce)
    reporter = Reporter(
        parts.node,
        conductor,
        tasks,
        LeftSnapshots(work.snapshots.remove).remove,
        work.keeper,
        report,
    )
    return Worker(tasks, reporter)

# SPDX-License-Identifier: Apache-2.0
"""Reads the packs of a node backup and compares their digests, one node backup at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.findings import NodeChecked
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.node_check import (
    CheckedNode,
    CheckHooks,
    CheckPlan,
    check_node,
)
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.verification import ReadPacks, ReadPacksAsOf
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.tasks import TaskContext
from magnetodb_backup.worker.verification.journal import ReadJournal

_LOOK_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class ReadSettings:
    """``directory`` keeps the journals; ``journal_every`` is in seconds: see ``CheckPlan``."""

    prefix: str
    directory: Path
    journal_every: float = 1.0


class ReadWork:
    """Reads for one task at a time: an abandoned attempt must not write into the same journal."""

    def __init__(self, storage: StorageDriver, settings: ReadSettings) -> None:
        self._storage, self._settings = storage, settings
        self._lock = threading.Lock()

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(ReadPacks, self._read), handles(ReadPacksAsOf, self._read_as_of)]

    def _read(self, task: ReadPacks, context: TaskContext) -> NodeChecked:
        return self._read_from(self._storage, task, context)

    def _read_as_of(self, task: ReadPacksAsOf, context: TaskContext) -> NodeChecked:
        return self._read_from(self._storage.as_of(task.as_of), task, context)

    def _read_from(
        self, storage: StorageDriver, task: ReadPacks, context: TaskContext
    ) -> NodeChecked:
        settings = self._settings

        def moved() -> None:
            context.raise_if_cancelled()
            context.get_on()

        with self._alone(context):
            return check_node(
                ClusterRepository(storage, settings.prefix, task.cluster),
                NodeRepository(storage, settings.prefix, task.cluster, task.source),
                task.backup_id,
                CheckedNode(task.source, task.address, task.manifest),
                CheckPlan(True, task.sample, task.described, task.further, settings.journal_every),
                CheckHooks(context.raise_if_cancelled, context.report, moved),
                ReadJournal(settings.directory, task.job_id, task.source, _what(task)),
            )

    @contextmanager
    def _alone(self, context: TaskContext) -> Iterator[None]:
        while not self._lock.acquire(timeout=_LOOK_EVERY):
            context.raise_if_cancelled()
            context.get_on()
        try:
            context.raise_if_cancelled()
            yield
        finally:
            self._lock.release()


def _what(task: ReadPacks) -> str:
    """Return what distinguishes the packs that are read."""
    return f"{task.manifest.sha256} {task.sample.label() if task.sample else 'whole'}"

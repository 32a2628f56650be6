# SPDX-License-Identifier: Apache-2.0
"""Workers in this process, reached without a bus; they can be lost and restarted."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from magnetodb_backup.errors import Cancelled, WorkerUnavailable
from magnetodb_backup.tasks.kinds import TaskKind, TaskStatus
from magnetodb_backup.worker.service import spawn
from magnetodb_backup.worker.tasks import NodeWork, TaskContext, Tasks

Deed = Callable[[Mapping[str, Any], TaskContext], Mapping[str, Any]]


class Scripted:
    """Work that does what it is told for each kind, and records it; the default is to be done."""

    def __init__(self, **deeds: Deed) -> None:
        self.deeds = deeds
        self.performed: list[TaskKind] = []

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        self.performed.append(kind)
        deed = self.deeds.get(kind.value)
        return deed(arguments, context) if deed else {"kind": kind.value}


def until_cancelled(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
    """Do nothing until the task is cancelled; a test that forgets it must not hang."""
    for _ in range(2000):
        context.check()
        threading.Event().wait(0.01)
    raise TimeoutError("nobody cancelled the task")


class Held:
    """Another work, but tasks of one kind wait until they may go on."""

    def __init__(self, work: NodeWork, kind: TaskKind, go_on: threading.Event) -> None:
        self._work, self._kind, self._go_on = work, kind, go_on

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        for _ in range(3000):
            if kind is not self._kind or self._go_on.wait(0.01):
                break
            context.check()
        return self._work.perform(kind, arguments, context)


class InProcessWorkers:
    """Meets the conductor's Workers protocol over real task tables by worker ID."""

    def __init__(self, works: Mapping[str, NodeWork]) -> None:
        self._works = dict(works)
        self._lock = threading.Lock()
        self.tables = {worker_id: Tasks(work, spawn) for worker_id, work in works.items()}
        self.down: set[str] = set()
        self.started: Counter[tuple[str, str]] = Counter()
        self.cancelled: list[tuple[str, str]] = []
        self.after_start: Callable[[str, TaskKind], None] = lambda worker_id, kind: None
        self.after_status: Callable[[str, TaskStatus], None] = lambda worker_id, status: None

    def start(
        self, worker_id: str, task_id: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> None:
        table = self._table(worker_id)
        with self._lock:
            self.started[worker_id, task_id] += 1
        table.start(task_id, kind, json.loads(json.dumps(arguments)))
        self.after_start(worker_id, kind)

    def status(self, worker_id: str, task_id: str) -> TaskStatus:
        answer = self._table(worker_id).status(task_id)
        status = TaskStatus.from_json(json.loads(json.dumps(answer.as_json())))
        self.after_status(worker_id, status)
        return status

    def cancel(self, worker_id: str, task_id: str) -> None:
        self._table(worker_id).cancel(task_id)
        with self._lock:
            self.cancelled.append((worker_id, task_id))

    def restart(self, worker_id: str, work: NodeWork | None = None) -> None:
        """Begin with an empty table; what ran ends."""
        self.tables[worker_id].cancel_all(Cancelled("the process ends"))
        self.tables[worker_id] = Tasks(work or self._works[worker_id], spawn)

    def starts(self, part: str) -> Counter[str]:
        """Return how often each worker was told to start tasks whose ID has this part."""
        found: Counter[str] = Counter()
        for (worker_id, task_id), count in self.started.items():
            if f":{part}:" in task_id:
                found[worker_id] += count
        return found

    def _table(self, worker_id: str) -> Tasks:
        if worker_id in self.down:
            raise WorkerUnavailable(f"worker {worker_id} did not answer")
        return self.tables[worker_id]

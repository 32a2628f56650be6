# SPDX-License-Identifier: Apache-2.0
"""Workers in this process, reached without a bus; they can be lost and restarted."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from magnetodb_backup.errors import Cancelled, WorkerUnavailable
from magnetodb_backup.messaging.endings import Listener, TaskEndings
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus
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
        context.raise_if_cancelled()
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
            context.raise_if_cancelled()
        return self._work.perform(kind, arguments, context)


def _travelled(status: TaskStatus) -> TaskStatus:
    return TaskStatus.from_json(json.loads(json.dumps(status.as_json())))


def _let_end(table: Tasks, task_id: str) -> None:
    """Wait for a task of a process that was restarted: it cannot go on beside the new process."""
    table.cancel(task_id)
    for _ in range(3000):
        if table.status(task_id).state is not TaskState.RUNNING:
            return
        threading.Event().wait(0.01)
    raise TimeoutError(f"task {task_id} does not end")


class InProcessWorkers:
    """Meets the conductor's Workers protocol over real task tables by worker ID.

    Workers that do not ``announce`` are those of an older release: the start returns nothing and
    no message reports the end.
    """

    def __init__(self, works: Mapping[str, NodeWork], *, announce: bool = True) -> None:
        self._works = dict(works)
        self._lock = threading.Lock()
        self._announce = announce
        self._endings = TaskEndings()
        self.lost_messages: set[str] = set()  # the workers whose messages are lost
        self.whole_status = True  # whether a status is small enough for a message
        self.asked: Counter[tuple[str, str]] = Counter()
        self.tables = {worker_id: self._new_table(worker_id) for worker_id in works}
        self.down: set[str] = set()
        self.calls: Counter[tuple[str, str]] = Counter()  # of start, also for a known task
        self.started: Counter[tuple[str, str]] = Counter()  # tasks that began
        self.cancelled: list[tuple[str, str]] = []
        # A task may end before its start is answered: what must come first goes before it.
        self.before_start: Callable[[str, TaskKind], None] = lambda worker_id, kind: None
        self.after_start: Callable[[str, TaskKind], None] = lambda worker_id, kind: None
        self.after_status: Callable[[str, TaskStatus], None] = lambda worker_id, status: None

    def start(
        self, worker_id: str, task_id: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> TaskStatus | None:
        table = self._table(worker_id)
        self.before_start(worker_id, kind)
        with self._lock:
            self.calls[worker_id, task_id] += 1
            if table.status(task_id).state is TaskState.UNKNOWN:
                self.started[worker_id, task_id] += 1
        status = table.start(
            task_id, kind, json.loads(json.dumps(arguments)), "conductor" if self._announce else ""
        )
        if self.tables[worker_id] is not table:
            _let_end(table, task_id)
        self.after_start(worker_id, kind)
        if not self._announce:
            return None
        answer = _travelled(status)
        self.after_status(worker_id, answer)
        return answer

    def status(self, worker_id: str, task_id: str) -> TaskStatus:
        with self._lock:
            self.asked[worker_id, task_id] += 1
        status = _travelled(self._table(worker_id).status(task_id))
        self.after_status(worker_id, status)
        return status

    def cancel(self, worker_id: str, task_id: str) -> None:
        self._table(worker_id).cancel(task_id)
        with self._lock:
            self.cancelled.append((worker_id, task_id))

    def restart(self, worker_id: str, work: NodeWork | None = None) -> None:
        """Begin with an empty table; what ran ends."""
        former = self.tables[worker_id]
        self._works[worker_id] = work or self._works[worker_id]
        self.tables[worker_id] = self._new_table(worker_id)
        former.cancel_all(Cancelled("the process ends"))

    def listening(self, listener: Listener) -> AbstractContextManager[None]:
        return self._endings.listening(listener)

    def starts(self, part: str) -> Counter[str]:
        """Return how many tasks whose ID has this part began on each worker."""
        found: Counter[str] = Counter()
        for (worker_id, task_id), count in self.started.items():
            if f":{part}:" in task_id:
                found[worker_id] += count
        return found

    def _new_table(self, worker_id: str) -> Tasks:
        def announce(conductor: str, task_id: str, status: TaskStatus) -> None:
            ended = self.tables[worker_id] is not table  # a process that ended sends nothing
            if not ended and worker_id not in self.down | self.lost_messages:
                whole = _travelled(status)
                self.after_status(worker_id, whole)
                self._endings.publish(worker_id, task_id, whole if self.whole_status else None)

        table = Tasks(self._works[worker_id], spawn, announce)
        return table

    def _table(self, worker_id: str) -> Tasks:
        if worker_id in self.down:
            raise WorkerUnavailable(f"worker {worker_id} did not answer")
        return self.tables[worker_id]

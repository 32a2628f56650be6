# SPDX-License-Identifier: Apache-2.0
"""Runs the conductor's tasks in threads and remembers how they ended."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol

from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.errors import BackupError, Cancelled, Unexpected
from magnetodb_backup.tasks.kinds import STALLING, TaskKind, TaskState, TaskStatus

LOG = logging.getLogger(__name__)
_REMEMBERED = 1000
_MOST_BYTES = 64 * 1024 * 1024  # of remembered results, as JSON
_STUCK = 900.0  # seconds; a request to the object store may be repeated for some minutes


class TaskContext:
    """What a running task sees of its caller."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._reason: BackupError | None = None
        self._cancelled_at = 0.0
        self._asked_at = time.monotonic()
        self.progress: Progress | RestoreProgress = Progress()
        self.activity = 0
        self._commands = 0

    def report(self, progress: Progress | RestoreProgress) -> None:
        """Publish how far the task is."""
        if progress != self.progress:
            self.get_on()
        self.progress = progress

    def get_on(self) -> None:
        """Note that the task gets on, where its progress does not show it."""
        self.activity += 1

    @contextmanager
    def command_of_cassandra(self) -> Iterator[None]:
        """Count the wait for a command as activity: the command has a time-out of its own."""
        self._commands += 1
        try:
            yield
        finally:
            self._commands -= 1
            self.get_on()

    def shown_activity(self) -> int:
        """Return a number that grows while the task gets on, or waits for a command."""
        if self._commands:
            self.get_on()
        return self.activity

    def asked(self) -> None:
        """Note that a conductor asks for the task."""
        self._asked_at = time.monotonic()

    def unasked_for(self) -> float:
        """Return for how many seconds no conductor has asked for the task."""
        return time.monotonic() - self._asked_at

    def cancelled_for(self) -> float:
        """Return since how many seconds the task is cancelled; 0 if it is not."""
        return time.monotonic() - self._cancelled_at if self._cancelled_at else 0.0

    def cancel(self, reason: BackupError | None = None) -> None:
        """Make the task's next ``raise_if_cancelled()`` raise ``reason`` (Cancelled if None)."""
        if not self._cancelled.is_set():
            self._reason, self._cancelled_at = reason, time.monotonic()
        self._cancelled.set()

    def raise_if_cancelled(self) -> None:
        """Raise the reason if the task has been cancelled."""
        if self._cancelled.is_set():
            raise self._reason or Cancelled("the task was cancelled")


Handler = Callable[[Mapping[str, Any], TaskContext], Mapping[str, Any]]


class NodeWork(Protocol):
    """Does one task; raises BackupError."""

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        """Do the work and return its result."""


# Sends the end of a task to a conductor: its server name, the task's ID, the status.
Announce = Callable[[str, str, TaskStatus], None]


class _Task:
    def __init__(self, kind: TaskKind) -> None:
        self.kind = kind
        self.context = TaskContext()
        self.state = TaskState.RUNNING
        self.result: Mapping[str, Any] = {}
        self.error: Mapping[str, str] = {}
        self.size = 0
        self.tag = ""
        self.conductor = ""

    def status(self) -> TaskStatus:
        context = self.context
        progress = asdict(context.progress)
        return TaskStatus(self.state, progress, self.result, self.error, context.shown_activity())


class Tasks:
    """The table of tasks by ID.

    The oldest finished ones are forgotten beyond a thousand, or if their results are too large in
    sum: a ring of a thousand nodes is two megabytes.

    ``announce`` sends the end of a task to the conductor that started it; it may raise BackupError.
    A cancelled task that has not ended after ``stuck_after`` seconds is stuck.
    """

    def __init__(
        self,
        work: NodeWork,
        spawn: Callable[[Callable[[], None], str], None],
        announce: Announce = lambda conductor, task_id, status: None,
        *,
        stuck_after: float = _STUCK,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._stuck_after, self._most_bytes = stuck_after, most_bytes
        self._work = work
        self._spawn = spawn
        self._announce = announce
        self._lock = threading.Lock()
        self._tasks: OrderedDict[str, _Task] = OrderedDict()

    def start(
        self, task_id: str, kind: TaskKind, arguments: Mapping[str, Any], conductor: str = ""
    ) -> TaskStatus:
        """Begin a task unless it is known; return its status.

        Its end is announced to ``conductor``, if there is one; the last that asked is the one
        that runs the job.
        """
        with self._lock:
            known = self._tasks.get(task_id)
            if known is not None:
                known.conductor = conductor
                known.context.asked()
                return known.status()
            task = self._tasks[task_id] = _Task(kind)
            task.conductor = conductor
            task.tag = str(arguments.get("tag") or arguments.get("restore_id", ""))
            self._forget_oldest()
        LOG.info("task %s (%s) begins", task_id, kind.value)
        try:
            self._spawn(lambda: self._run(task_id, task, kind, arguments), task_id)
        except BaseException:
            with self._lock:
                del self._tasks[task_id]  # it would never end
            raise
        return self.status(task_id)

    def status(self, task_id: str) -> TaskStatus:
        """Return a task's status, UNKNOWN for an ID that is not in the table."""
        with self._lock:
            task = self._tasks.get(task_id)
            if task is None:
                return TaskStatus(TaskState.UNKNOWN)
            task.context.asked()
            return task.status()

    def cancel(self, task_id: str) -> None:
        """Ask a task to end at its next check; an unknown ID is no error."""
        with self._lock:
            task = self._tasks.get(task_id)
        if task is not None:
            LOG.info("task %s is to be cancelled", task_id)
            task.context.cancel()

    def running(self) -> tuple[TaskContext, ...]:
        """Return the contexts of the running tasks."""
        with self._lock:
            return tuple(t.context for t in self._tasks.values() if t.state is TaskState.RUNNING)

    def busy_tags(self) -> frozenset[str]:
        """Return the snapshot tags, or IDs of restores, that running tasks work with."""
        with self._lock:
            return frozenset(
                t.tag for t in self._tasks.values() if t.state is TaskState.RUNNING and t.tag
            )

    def stuck(self) -> str:
        """Return a text that names a task which does not end though it is cancelled, or nothing.

        Its thread may hang in a read from a disk; a later task of its kind waits for it.
        """
        with self._lock:
            for task_id, task in self._tasks.items():
                seconds = task.context.cancelled_for()
                if (
                    task.state is TaskState.RUNNING
                    and task.kind in STALLING
                    and seconds > self._stuck_after
                ):
                    return (
                        f"task {task_id} was cancelled {seconds / 60:.0f} minutes ago and does not "
                        "end; look for a disk or an object store that does not answer, then "
                        "restart this worker"
                    )
        return ""

    def cancel_tagged(self, tag: str) -> None:
        """End the running tasks that work with a snapshot or a restore that is over."""
        with self._lock:
            tasks = [t for t in self._tasks.values() if t.tag == tag]
        for task in tasks:
            task.context.cancel(Cancelled(f"the job of {tag} does not run"))

    def cancel_all(
        self, reason: BackupError, kinds: Collection[TaskKind] = tuple(TaskKind)
    ) -> None:
        """End the running tasks of these kinds with ``reason``."""
        with self._lock:
            tasks = [t for t in self._tasks.values() if t.state is TaskState.RUNNING]
        for task in tasks:
            if task.kind in kinds:
                task.context.cancel(reason)

    def _run(self, task_id: str, task: _Task, kind: TaskKind, arguments: Mapping[str, Any]) -> None:
        self._perform(task_id, task, kind, arguments)
        with self._lock:
            conductor, status = task.conductor, task.status()
        if not conductor:
            return
        try:
            self._announce(conductor, task_id, status)
        except BackupError as error:
            LOG.info(
                "the end of task %s reaches the conductor by its next poll: %s", task_id, error
            )

    def _perform(
        self, task_id: str, task: _Task, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> None:
        error: BackupError
        try:
            result = self._work.perform(kind, arguments, task.context)
        except BackupError as raised:
            error = raised
            LOG.warning("task %s (%s) failed: %s: %s", task_id, kind.value, error.code, error)
        except Exception as raised:  # reported to the conductor
            error = Unexpected(
                f"{kind.value} ended with {type(raised).__name__}: {raised}; see the worker's log"
            )
            LOG.exception("task %s (%s) failed", task_id, kind.value)
        else:
            size = len(json.dumps(result))
            with self._lock:
                task.result, task.size, task.state = result, size, TaskState.DONE
                self._bound_bytes(task)
            LOG.info("task %s (%s) is done", task_id, kind.value)
            return
        with self._lock:
            task.error, task.state = error.as_record(), TaskState.FAILED

    def _bound_bytes(self, latest: _Task) -> None:
        """Forget the oldest results beyond the bound, but not the latest one."""
        excess = sum(task.size for task in self._tasks.values()) - self._most_bytes
        for task_id, task in list(self._tasks.items()):
            if excess <= 0:
                return
            if task.size and task is not latest:
                excess -= task.size
                del self._tasks[task_id]

    def _forget_oldest(self) -> None:
        if len(self._tasks) <= _REMEMBERED:
            return
        for task_id, task in self._tasks.items():
            if task.state is not TaskState.RUNNING:
                del self._tasks[task_id]
                return

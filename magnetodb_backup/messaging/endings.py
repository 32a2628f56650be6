# SPDX-License-Identifier: Apache-2.0
"""Passes the end of a task from the conductor's RPC server to the step that waits for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from magnetodb_backup.tasks.kinds import TaskStatus

# Called with the worker's ID, the task's ID and its status, None if the status was too large.
Listener = Callable[[str, str, TaskStatus | None], None]


class TaskEndings:
    """Calls every listener for every task that ends; listeners must return at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []

    @contextlib.contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Call ``listener``, from any thread, while the context is open."""
        with self._lock:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def publish(self, worker_id: str, task_id: str, status: TaskStatus | None) -> None:
        """Report that a task ended."""
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(worker_id, task_id, status)

# SPDX-License-Identifier: Apache-2.0
"""The worker on the bus: endpoint and client.

A conductor names itself in the context of ``start_task``; a worker since version 1.1 answers with
the task's status and sends ``task_ended`` to that conductor. A worker of version 1.0 ignores the
context and answers nothing: then the conductor polls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import oslo_messaging

from magnetodb_backup.errors import UnknownTask
from magnetodb_backup.messaging.bus import WORKER_TOPIC, bus_errors, make_client
from magnetodb_backup.messaging.endings import Listener, TaskEndings
from magnetodb_backup.tasks.kinds import TaskKind, TaskStatus

_CONDUCTOR = "conductor"  # key in the context: the server name of the conductor that waits


class TaskTable(Protocol):
    """What the endpoint needs of a worker. All methods return at once."""

    def start(
        self, task_id: str, kind: TaskKind, arguments: Mapping[str, Any], conductor: str = ""
    ) -> TaskStatus:
        """Begin a task unless it is known; return its status. Its end goes to ``conductor``."""

    def status(self, task_id: str) -> TaskStatus:
        """Return how far a task is."""

    def cancel(self, task_id: str) -> None:
        """Ask a task to end."""


class WorkerEndpoint:
    """Methods that a worker offers; idempotent, because the task's ID names job and attempt."""

    target = oslo_messaging.Target(version="1.1")

    def __init__(self, tasks: TaskTable) -> None:
        self._tasks = tasks

    @oslo_messaging.expose
    def start_task(
        self, context: Mapping[str, Any], task_id: str, kind: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        """Start a task, unless it is known; return its status."""
        conductor = str(context.get(_CONDUCTOR) or "")
        return self._tasks.start(task_id, TaskKind(kind), arguments, conductor).as_json()

    @oslo_messaging.expose
    def task_status(self, context: Mapping[str, Any], task_id: str) -> dict[str, Any]:
        """Return a task's status."""
        return self._tasks.status(task_id).as_json()

    @oslo_messaging.expose
    def cancel_task(self, context: Mapping[str, Any], task_id: str) -> None:
        """Ask for the end of a task."""
        self._tasks.cancel(task_id)


class WorkerClient:
    """Calls a worker by its ID. Raises WorkerUnavailable or BusUnavailable.

    ``conductor`` is the server name that workers send the ends of tasks to; they arrive in
    ``endings``. ``timeout`` in seconds.
    """

    def __init__(
        self, transport: Any, conductor: str, endings: TaskEndings, *, timeout: float = 10.0
    ) -> None:
        self._client = make_client(transport, WORKER_TOPIC, timeout)
        self._context = {_CONDUCTOR: conductor}
        self._endings = endings

    def start(
        self, worker_id: str, task_id: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> TaskStatus | None:
        """Begin a task unless it is known; return its status.

        None comes from a worker of an older release, which does not send the task's end either.

        :raises UnknownTask: if the worker's release does not know this kind of task.
        """
        with bus_errors(f"worker {worker_id}"), _unknown_kind(worker_id, kind):
            answer = self._client.prepare(server=worker_id).call(
                self._context,
                "start_task",
                task_id=task_id,
                kind=kind.value,
                arguments=dict(arguments),
            )
        return None if answer is None else TaskStatus.from_json(answer)

    def status(self, worker_id: str, task_id: str) -> TaskStatus:
        """Return how far a task is; UNKNOWN if the worker was restarted since its start."""
        with bus_errors(f"worker {worker_id}"):
            answer = self._client.prepare(server=worker_id).call({}, "task_status", task_id=task_id)
        return TaskStatus.from_json(answer)

    def cancel(self, worker_id: str, task_id: str) -> None:
        """Ask a task to end; a worker that does not know it does nothing."""
        with bus_errors(f"worker {worker_id}"):
            self._client.prepare(server=worker_id).call({}, "cancel_task", task_id=task_id)

    def listening(self, listener: Listener) -> AbstractContextManager[None]:
        """Call ``listener`` for every task that ends while the context is open."""
        return self._endings.listening(listener)


@contextmanager
def _unknown_kind(worker_id: str, kind: TaskKind) -> Iterator[None]:
    """Recognise the error of a worker whose release has no task of this kind."""
    try:
        yield
    except (oslo_messaging.RemoteError, ValueError) as error:
        # The in-memory bus returns errors unchanged.
        name = getattr(error, "exc_type", type(error).__name__)
        if name != "ValueError" or f"'{kind.value}' is not a valid" not in str(error):
            raise
        raise UnknownTask(
            f"worker {worker_id} does not know the task {kind.value}; install the same release of "
            "magnetodb-backup on all nodes"
        ) from None

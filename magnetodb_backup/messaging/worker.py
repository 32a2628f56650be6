# SPDX-License-Identifier: Apache-2.0
"""The worker on the bus: endpoint and client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import oslo_messaging

from magnetodb_backup.messaging.bus import WORKER_TOPIC, bus_errors, make_client
from magnetodb_backup.tasks.kinds import TaskKind, TaskStatus


class TaskTable(Protocol):
    """What the endpoint needs of a worker. All methods return at once."""

    def start(self, task_id: str, kind: TaskKind, arguments: Mapping[str, Any]) -> None:
        """Begin a task; one that is known already is left as it is."""

    def status(self, task_id: str) -> TaskStatus:
        """Return how far a task is."""

    def cancel(self, task_id: str) -> None:
        """Ask a task to end."""


class WorkerEndpoint:
    """Methods that a worker offers; idempotent, because the task's ID names job and attempt."""

    target = oslo_messaging.Target(version="1.0")

    def __init__(self, tasks: TaskTable) -> None:
        self._tasks = tasks

    @oslo_messaging.expose
    def start_task(
        self, context: Mapping[str, Any], task_id: str, kind: str, arguments: dict[str, Any]
    ) -> None:
        """Start a task, unless it is known."""
        self._tasks.start(task_id, TaskKind(kind), arguments)

    @oslo_messaging.expose
    def task_status(self, context: Mapping[str, Any], task_id: str) -> dict[str, Any]:
        """Return a task's status."""
        return self._tasks.status(task_id).as_json()

    @oslo_messaging.expose
    def cancel_task(self, context: Mapping[str, Any], task_id: str) -> None:
        """Ask for the end of a task."""
        self._tasks.cancel(task_id)


class WorkerClient:
    """Calls a worker by its ID. Raises WorkerUnavailable or BusUnavailable."""

    def __init__(self, transport: Any, timeout: float = 10.0) -> None:
        self._client = make_client(transport, WORKER_TOPIC, timeout)

    def start(
        self, worker_id: str, task_id: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> None:
        """Start a task; a repeated call changes nothing."""
        with bus_errors(f"worker {worker_id}"):
            self._client.prepare(server=worker_id).call(
                {}, "start_task", task_id=task_id, kind=kind.value, arguments=dict(arguments)
            )

    def status(self, worker_id: str, task_id: str) -> TaskStatus:
        """Return a task's status, UNKNOWN if the worker does not know it."""
        with bus_errors(f"worker {worker_id}"):
            answer = self._client.prepare(server=worker_id).call({}, "task_status", task_id=task_id)
        return TaskStatus.from_json(answer)

    def cancel(self, worker_id: str, task_id: str) -> None:
        """Ask for the end of a task; an unknown one is no error."""
        with bus_errors(f"worker {worker_id}"):
            self._client.prepare(server=worker_id).call({}, "cancel_task", task_id=task_id)

# SPDX-License-Identifier: Apache-2.0
"""Calls of workers: what a step asks of them, how each ends, and how they are reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from magnetodb_backup.errors import BackupError, Cancelled, StillUnavailable, Transient
from magnetodb_backup.tasks.kinds import TaskKind, TaskStatus

Progress = Callable[["Call", Mapping[str, int]], None]
# Gets each trouble of a call that is tried again, and None at its end.
Troubled = Callable[["Call", Transient | None], None]
Listener = Callable[[str, str, TaskStatus | None], None]


class Workers(Protocol):
    """Calls workers by their ID; raises Transient errors."""

    def start(
        self, worker_id: str, task_id: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> TaskStatus | None:
        """Start a task unless it is known; None if the worker will not report its end."""

    def status(self, worker_id: str, task_id: str) -> TaskStatus:
        """Return the task's status, UNKNOWN if the worker does not know it."""

    def cancel(self, worker_id: str, task_id: str) -> None:
        """Ask for the end of a task; an unknown one is no error."""

    def listening(self, listener: Listener) -> AbstractContextManager[None]:
        """Call ``listener``, from any thread, with worker ID, task ID and status of each end.

        A status that is too large for a message is None.
        """


@dataclass(frozen=True)
class Call:
    """One worker's task. ``host`` names the node in messages."""

    host_id: str
    host: str
    worker_id: str
    task_id: str
    kind: TaskKind
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a call ended: either a result or an error."""

    call: Call
    result: Mapping[str, Any]
    error: BackupError | None = None


def still_unavailable(error: Transient, deadline: float) -> StillUnavailable:
    """Return what becomes of a trouble that lasted for ``deadline`` seconds."""
    return StillUnavailable(
        f"{error} (for longer than [conductor] outage_deadline = {deadline:g} s)"
    )


def with_host(call: Call, error: BackupError) -> BackupError:
    """Return the error with the node's name, as the record of the job shows it."""
    if isinstance(error, Cancelled):
        return error
    return type(error)(f"node {call.host}: {error}")


def first_error(outcomes: list[Outcome]) -> BackupError | None:
    """Return the error that ends the step: one that is not merely a consequence of another."""
    errors = [o.error for o in outcomes if o.error is not None]
    causes = [e for e in errors if not isinstance(e, Cancelled)]
    return next(iter(causes or errors), None)

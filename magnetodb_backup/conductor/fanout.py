# SPDX-License-Identifier: Apache-2.0
"""Runs one task on each of several workers and outlives outages of either side."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    StillUnavailable,
    Transient,
    WorkerUnavailable,
    from_record,
)
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus

LOG = logging.getLogger(__name__)


class Workers(Protocol):
    """Calls workers by their ID; raises Transient errors."""

    def start(
        self, worker_id: str, task_id: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> None:
        """Start a task; a task that the worker already knows is left as it is."""

    def status(self, worker_id: str, task_id: str) -> TaskStatus:
        """Return the task's status, UNKNOWN if the worker does not know it."""

    def cancel(self, worker_id: str, task_id: str) -> None:
        """Ask for the end of a task; an unknown one is no error."""


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


class _Patience:
    """Bounds how long troubles last, in seconds; pauses between them double up to 16 polls.

    Work that went on for the whole deadline ends a time of trouble; shorter work does not, or a
    task that fails a moment after each start would be repeated for ever. Nor does a task that
    runs without progress: it may itself be waiting for the end of the trouble.
    """

    def __init__(self, deadline: float, poll_interval: float) -> None:
        self._deadline, self._poll_interval = deadline, poll_interval
        self._since: float | None = None
        self._running_since: float | None = None
        self._progress: Mapping[str, int] = {}
        self._troubles = 0

    def runs(self, progress: Mapping[str, int]) -> None:
        now = time.monotonic()
        self._running_since = self._running_since or now
        moved, self._progress = progress != self._progress, progress
        if moved and now - self._running_since > self._deadline:
            self._since, self._troubles = None, 0

    def pause_after_trouble(self) -> float:
        self._since = self._since or time.monotonic()
        self._running_since = None
        self._troubles += 1
        return self._poll_interval * min(1 << (self._troubles - 1), 16)

    @property
    def exhausted(self) -> bool:
        return self._since is not None and time.monotonic() - self._since > self._deadline


class Fanout:
    """Runs calls side by side. ``outage_deadline`` and ``poll_interval`` in seconds.

    ``check`` is called between polls and raises to give everything up (Cancelled, lost lease).
    """

    def __init__(
        self,
        workers: Workers,
        *,
        poll_interval: float,
        outage_deadline: float,
        check: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._poll_interval = poll_interval
        self._outage_deadline = outage_deadline
        self._check = check

    def run(
        self,
        calls: list[Call],
        *,
        progress: Callable[[Call, Mapping[str, int]], None] | None = None,
        ended: Callable[[Outcome], None] = lambda outcome: None,
        stop_at_first_error: bool = True,
    ) -> list[Outcome]:
        """Return the outcomes in the order of ``calls``; ``ended`` hears of each at once.

        A permanent error makes the other workers stop, unless told otherwise. A transient one
        is tried again until it has lasted for the outage deadline; then it is StillUnavailable.
        """
        if not calls:
            return []
        abandon = threading.Event()
        outcomes: dict[str, Outcome] = {}

        def one(call: Call) -> None:
            outcome = self._follow(call, progress, abandon)
            outcomes[call.host_id] = outcome
            if outcome.error is not None and stop_at_first_error:
                abandon.set()
            ended(outcome)

        with ThreadPoolExecutor(min(len(calls), 128), thread_name_prefix="call") as pool:
            futures = [pool.submit(one, call) for call in calls]
            for future in futures:
                future.result()
        return [outcomes[call.host_id] for call in calls]

    def _follow(
        self,
        call: Call,
        progress: Callable[[Call, Mapping[str, int]], None] | None,
        abandon: threading.Event,
    ) -> Outcome:
        attempt, patience = 1, _Patience(self._outage_deadline, self._poll_interval)
        pause = self._poll_interval / 10
        started = ""
        while True:
            task_id = f"{call.task_id}:{attempt}"
            try:
                if abandon.is_set():
                    raise Cancelled("stopped, because another node failed")
                self._check()
                status = self._workers.status(call.worker_id, task_id)
                if status.state is TaskState.UNKNOWN:
                    lost, started = started == task_id, ""
                    if lost:
                        raise WorkerUnavailable("the worker was restarted and has lost its task")
                    self._workers.start(call.worker_id, task_id, call.kind, call.arguments)
                    started = task_id
                elif status.state is TaskState.DONE:
                    return Outcome(call, status.result)
                elif status.state is TaskState.FAILED:
                    attempt += 1
                    raise from_record(status.error)
                else:
                    patience.runs(status.progress)
                    if progress is not None:
                        progress(call, status.progress)
                pause = min(pause * 1.5, self._poll_interval)
            except Transient as error:
                LOG.info("%s on %s: %s; trying again", call.kind.value, call.host, error)
                pause = patience.pause_after_trouble()
                if patience.exhausted:
                    given_up = still_unavailable(error, self._outage_deadline)
                    return Outcome(call, {}, _with_host(call, given_up))
            except BackupError as error:
                self._stop(call, task_id)
                return Outcome(call, {}, _with_host(call, error))
            abandon.wait(pause)

    def _stop(self, call: Call, task_id: str) -> None:
        try:
            self._workers.cancel(call.worker_id, task_id)
        except Transient as error:
            LOG.info("%s is not told to stop: %s", call.host, error)


def still_unavailable(error: Transient, deadline: float) -> StillUnavailable:
    """Return what becomes of a trouble that lasted for ``deadline`` seconds."""
    return StillUnavailable(
        f"{error} (for longer than [conductor] outage_deadline = {deadline:g} s)"
    )


def _with_host(call: Call, error: BackupError) -> BackupError:
    if isinstance(error, Cancelled):
        return error
    return type(error)(f"node {call.host}: {error}")


def first_error(outcomes: list[Outcome]) -> BackupError | None:
    """Return the error that ends the step: one that is not merely a consequence of another."""
    errors = [o.error for o in outcomes if o.error is not None]
    causes = [e for e in errors if not isinstance(e, Cancelled)]
    return next(iter(causes or errors), None)

# SPDX-License-Identifier: Apache-2.0
"""What the fan-out knows of each call that it follows."""

from __future__ import annotations

import time
from dataclasses import dataclass

from magnetodb_backup.conductor.outcomes import Call, Outcome
from magnetodb_backup.conductor.patience import Patience
from magnetodb_backup.errors import BackupError
from magnetodb_backup.tasks.kinds import STALLING, TaskKind, TaskStatus

# Tasks that may read for long without a change of their progress.
_READING = frozenset({TaskKind.FIGURES_BEFORE, TaskKind.FIGURES_AFTER, TaskKind.RESTORE_DOWNLOAD})


class Followed:
    """A call that the loop follows; one RPC at a time is on its way."""

    def __init__(self, call: Call, patience: Patience, pause: float) -> None:
        self.call, self.patience = call, patience
        self.attempt, self.started, self.in_flight = 1, False, False
        self.ask_at_once = False  # a message asks for it while another RPC is on its way
        self.pause = self.due = pause
        self.stopping: BackupError | None = None
        self.cancelled = self.troubled = False
        self._last: object = None  # what the task showed of itself
        self._last_at = 0.0
        self.outcome: Outcome | None = None

    @property
    def task_id(self) -> str:
        """The task's ID in the worker; each attempt has its own."""
        return f"{self.call.task_id}:{self.attempt}"

    def stands_still(self, status: TaskStatus, deadline: float) -> bool:
        """Return whether the task has shown no change for so many seconds."""
        shown, now = (self.attempt, status.activity, status.progress), time.monotonic()
        if shown != self._last:
            self._last, self._last_at = shown, now
        reading = self.call.kind in _READING
        if self.call.kind not in STALLING or (reading and status.activity is None):
            return False  # older releases do not show how far a reading task is
        return now - self._last_at > deadline


@dataclass(frozen=True)
class Answer:
    """What came of an RPC: a status, None or an error."""

    followed: Followed
    task_id: str
    status: TaskStatus | None
    error: BaseException | None


@dataclass(frozen=True)
class Ended:
    """A worker's message that a task ended."""

    worker_id: str
    task_id: str
    status: TaskStatus | None

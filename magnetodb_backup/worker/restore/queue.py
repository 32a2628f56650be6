# SPDX-License-Identifier: Apache-2.0
"""Runs a node's restore tasks one after another."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.dispatch import TaskHandler
from magnetodb_backup.worker.tasks import Handler, TaskContext

_LOOK_EVERY = 0.5  # seconds


@dataclass(frozen=True, eq=False)
class _Queued:
    restore_id: str
    context: TaskContext


class RestoreQueue:
    """Queues restore tasks.

    A task may run longer than the conductor waits for it: its restore was cancelled, or a conductor
    that took over has started it again. Files must not be removed, and rows must not be imported,
    while such a task runs: it could create the files again, and truncate the rows.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[_Queued] = []

    def one_by_one(self, handlers: Iterable[TaskHandler]) -> list[TaskHandler]:
        """Return the handlers, each made to wait for the tasks before it."""
        return [TaskHandler(h.kind, self._waiting(h.kind, h.perform)) for h in handlers]

    def _waiting(self, kind: TaskKind, handler: Handler) -> Handler:
        # A clean-up waits for tasks of its own restore only: others may take hours.
        own_only = kind is TaskKind.RESTORE_CLEANUP

        def run(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
            with self._place(str(arguments["restore_id"]), context, own_only=own_only):
                return handler(arguments, context)

        return run

    @contextmanager
    def _place(self, restore_id: str, context: TaskContext, *, own_only: bool) -> Iterator[None]:
        """Cancel older tasks of this restore, wait for the earlier ones, then hold the place."""
        mine = _Queued(restore_id, context)
        with self._changed:
            before = [t for t in self._queue if not own_only or t.restore_id == restore_id]
            self._queue.append(mine)
        try:
            for task in before:
                if task.restore_id == restore_id:
                    task.context.cancel()
            with self._changed:
                while any(task in self._queue for task in before):
                    context.raise_if_cancelled()
                    self._changed.wait(_LOOK_EVERY)
            context.raise_if_cancelled()
            yield
        finally:
            with self._changed:
                self._queue.remove(mine)
                self._changed.notify_all()

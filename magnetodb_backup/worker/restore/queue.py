# SPDX-License-Identifier: Apache-2.0
"""Lets a node's restore tasks work one after another."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.tasks import Handler, TaskContext

_LOOK_EVERY = 0.5  # seconds


@dataclass(frozen=True, eq=False)
class _Turn:
    restore_id: str
    context: TaskContext


class Turns:
    """Queues restore tasks.

    A task may go on after nobody waits for it any more: its restore was cancelled, or a conductor
    that took over has begun it anew. Files must not be removed, and rows not be imported, while
    such a task still works: it could recreate the one and truncate the other.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[_Turn] = []

    def one_by_one(self, handlers: Mapping[TaskKind, Handler]) -> dict[TaskKind, Handler]:
        """Return the handlers, each made to wait for its turn."""
        return {kind: self._waiting(kind, handler) for kind, handler in handlers.items()}

    def _waiting(self, kind: TaskKind, handler: Handler) -> Handler:
        # The clean-up of one restore has nothing to do with others, which may take hours.
        own_only = kind is TaskKind.RESTORE_CLEANUP

        def run(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
            with self._turn(str(arguments["restore_id"]), context, own_only=own_only):
                return handler(arguments, context)

        return run

    @contextmanager
    def _turn(self, restore_id: str, context: TaskContext, *, own_only: bool) -> Iterator[None]:
        """Cancel older tasks of the same restore, wait for those before us, then hold our place."""
        mine = _Turn(restore_id, context)
        with self._changed:
            before = [t for t in self._queue if not own_only or t.restore_id == restore_id]
            self._queue.append(mine)
        try:
            for turn in before:
                if turn.restore_id == restore_id:
                    turn.context.cancel()
            with self._changed:
                while any(turn in self._queue for turn in before):
                    context.check()
                    self._changed.wait(_LOOK_EVERY)
            context.check()
            yield
        finally:
            with self._changed:
                self._queue.remove(mine)
                self._changed.notify_all()

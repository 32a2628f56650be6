# SPDX-License-Identifier: Apache-2.0
"""Gives each task to its handler: decodes the arguments, proves the node, encodes the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from magnetodb_backup.errors import Unexpected
from magnetodb_backup.tasks.codec import decode, encode
from magnetodb_backup.tasks.kinds import WITHOUT_CASSANDRA, Encoded, Task, TaskKind
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import Handler, TaskContext

AnyTask = TypeVar("AnyTask", bound=Task[Any])
Result = TypeVar("Result")


@dataclass(frozen=True)
class TaskHandler:
    """What performs one kind of task, with the task's encoded arguments and result."""

    kind: TaskKind
    perform: Handler


def handles(
    task_class: type[AnyTask], perform: Callable[[AnyTask, TaskContext], object]
) -> TaskHandler:
    """Return the handler of ``task_class``; ``perform`` returns a ``task_class.result``."""

    def encoded(arguments: Encoded, context: TaskContext) -> Encoded:
        result = perform(decode(task_class, arguments), context)
        if not isinstance(result, task_class.result):
            raise Unexpected(
                f"{task_class.__name__} returned a {type(result).__name__}, not a "
                f"{task_class.result.__name__}"
            )
        return encode(result)

    return TaskHandler(task_class.kind, encoded)


class Dispatcher:
    """Performs tasks on one node; each is proven first to be meant for the node's host ID."""

    def __init__(self, node: LocalNode, handlers: Iterable[TaskHandler]) -> None:
        self._node = node
        self._handlers = {handler.kind: handler.perform for handler in handlers}

    def perform(self, kind: TaskKind, arguments: Encoded, context: TaskContext) -> Encoded:
        """Do one task and return its encoded result.

        :raises WrongNode: if the task is for another node.
        :raises Unexpected: if the arguments cannot be read, naming the field.
        :raises BackupError: what the handler raises.
        """
        host_id = str(arguments["host_id"])
        if kind in WITHOUT_CASSANDRA:
            self._node.prove_known(host_id)
        elif kind is not TaskKind.RELEASE:  # our snapshots go from whichever node has them
            self._node.prove(host_id)
        return self._handlers[kind](arguments, context)

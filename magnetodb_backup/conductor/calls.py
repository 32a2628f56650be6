# SPDX-License-Identifier: Apache-2.0
"""Typed tasks as the fan-out's calls, and its outcomes as typed results."""

from __future__ import annotations

from typing import Protocol, TypeVar

from magnetodb_backup.conductor.fanout import Call, Outcome
from magnetodb_backup.tasks.codec import decode, encode
from magnetodb_backup.tasks.kinds import Task

R = TypeVar("R")


class Addressed(Protocol):
    """A node of the ring, as the domain or as step results have it."""

    @property
    def host_id(self) -> str:
        """The host ID of the node."""

    @property
    def address(self) -> str:
        """The address that names the node in messages."""


def call_of(task: Task[R], member: Addressed, worker_id: str, task_id: str) -> Call:
    """Return the call that gives ``task`` to the worker of ``member``."""
    return Call(
        host_id=member.host_id,
        host=member.address,
        worker_id=worker_id,
        task_id=task_id,
        kind=task.kind,
        arguments=encode(task),
    )


def result_of(task_class: type[Task[R]], outcome: Outcome) -> R:
    """Return what the task returned.

    :raises BackupError: the task's error, if it failed.
    :raises Unexpected: if the worker returned another form.
    """
    if outcome.error is not None:
        raise outcome.error
    result: R = decode(task_class.result, outcome.result)
    return result

# SPDX-License-Identifier: Apache-2.0
"""Restore tasks of one node wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from magnetodb_backup.errors import Cancelled, NoSpace
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.dispatch import TaskHandler
from magnetodb_backup.worker.restore.queue import RestoreQueue
from magnetodb_backup.worker.tasks import TaskContext
from tests.lab.processes import wait_for

ONE, OTHER = "one", "other"


class Node:
    """Runs tasks in threads; each works until it is let go or, if it looks, cancelled."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        handlers = [TaskHandler(kind, self._work) for kind in TaskKind]
        self._handlers = {h.kind: h.perform for h in RestoreQueue().one_by_one(handlers)}
        self.working: list[str] = []
        self.done: list[str] = []
        self.let_go: dict[str, threading.Event] = {}
        self.contexts: dict[str, TaskContext] = {}

    def start(self, kind: TaskKind, restore_id: str, name: str) -> Future[Mapping[str, Any]]:
        self.let_go[name] = threading.Event()
        context = self.contexts[name] = TaskContext()
        arguments = {"restore_id": restore_id, "name": name}
        return self._pool.submit(self._handlers[kind], arguments, context)

    def _work(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        name = arguments["name"]
        self.working.append(name)
        self.let_go[name].wait(30)
        self.working.remove(name)
        context.raise_if_cancelled()
        self.done.append(name)
        return {}

    def wait_working(self, *names: str) -> None:
        wait_for(lambda: self.working == list(names), deadline=10, what=f"{names} at work")


@pytest.fixture
def node() -> Iterator[Node]:
    with ThreadPoolExecutor(4) as pool:
        made = Node(pool)
        yield made
        for event in made.let_go.values():
            event.set()


def test_task_begun_anew_waits_for_the_first_run(node: Node) -> None:
    first = node.start(TaskKind.RESTORE_TRUNCATE, ONE, "first")
    node.wait_working("first")
    second = node.start(TaskKind.RESTORE_TRUNCATE, ONE, "second")
    with pytest.raises(Cancelled):
        wait_for(
            lambda: node.contexts["first"].raise_if_cancelled(), deadline=10, what="the first's end"
        )
    assert node.working == ["first"]
    node.let_go["first"].set()
    node.wait_working("second")
    with pytest.raises(Cancelled):
        first.result(10)
    node.let_go["second"].set()
    assert second.result(10) == {}
    assert node.done == ["second"]


def test_task_of_another_restore_waits_and_cancels_nobody(node: Node) -> None:
    first = node.start(TaskKind.RESTORE_TRUNCATE, ONE, "first")
    node.wait_working("first")
    second = node.start(TaskKind.RESTORE_IMPORT, OTHER, "second")
    node.let_go["second"].set()
    with pytest.raises(TimeoutError):
        second.result(0.7)
    node.let_go["first"].set()
    first.result(10)
    second.result(10)
    assert node.done == ["first", "second"]


def test_cleanup_waits_for_its_own_restore_only(node: Node) -> None:
    node.start(TaskKind.RESTORE_IMPORT, ONE, "import")
    node.wait_working("import")
    others = node.start(TaskKind.RESTORE_CLEANUP, OTHER, "others")
    node.let_go["others"].set()
    others.result(10)
    own = node.start(TaskKind.RESTORE_CLEANUP, ONE, "own")
    node.let_go["own"].set()
    with pytest.raises(TimeoutError):
        own.result(0.7)
    node.let_go["import"].set()
    own.result(10)
    assert node.done == ["others", "own"]


def test_task_that_waits_can_be_cancelled(node: Node) -> None:
    node.start(TaskKind.RESTORE_IMPORT, ONE, "first")
    node.wait_working("first")
    second = node.start(TaskKind.RESTORE_IMPORT, OTHER, "second")
    node.contexts["second"].cancel(NoSpace("the disk is full"))
    with pytest.raises(NoSpace):
        second.result(10)
    third = node.start(TaskKind.RESTORE_IMPORT, OTHER, "third")
    node.let_go["third"].set()
    node.let_go["first"].set()
    third.result(10)
    assert node.done == ["first", "third"]

# SPDX-License-Identifier: Apache-2.0
"""The table of a worker's tasks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pytest

from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.errors import BusUnavailable, CorruptSSTable, NoSpace
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus
from magnetodb_backup.worker.service import spawn
from magnetodb_backup.worker.tasks import TaskContext, Tasks
from tests.lab.processes import wait_for

Deed = Callable[[Mapping[str, Any], TaskContext], Mapping[str, Any]]


class Work:
    """Does what it is told, and records it."""

    def __init__(self, deed: Deed = lambda arguments, context: {"done": True}) -> None:
        self.deed = deed
        self.performed: list[tuple[TaskKind, Mapping[str, Any]]] = []

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        self.performed.append((kind, arguments))
        return self.deed(arguments, context)


class Later:
    """Keeps what is to be run until it is told to run it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, run: Callable[[], None], name: str) -> None:
        self.waiting.append(run)

    def go(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


@pytest.fixture
def later() -> Later:
    return Later()


def test_unknown_task(later: Later) -> None:
    assert Tasks(Work(), later).status("x") == TaskStatus(TaskState.UNKNOWN)


def test_task_is_done(later: Later) -> None:
    work = Work()
    tasks = Tasks(work, later)
    tasks.start("x", TaskKind.PREPARE, {"a": 1})
    assert tasks.status("x").state is TaskState.RUNNING
    later.go()
    assert tasks.status("x").state is TaskState.DONE
    assert tasks.status("x").result == {"done": True}
    assert work.performed == [(TaskKind.PREPARE, {"a": 1})]


def test_repeated_start_changes_nothing(later: Later) -> None:
    """A lost answer makes the conductor repeat its call."""
    work = Work()
    tasks = Tasks(work, later)
    for _ in range(3):
        tasks.start("x", TaskKind.SNAPSHOT, {})
    later.go()
    tasks.start("x", TaskKind.SNAPSHOT, {})
    later.go()
    assert len(work.performed) == 1
    assert tasks.status("x").state is TaskState.DONE


def test_failure_travels_by_name(later: Later) -> None:
    def fail(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        raise CorruptSSTable("/data/x does not match")

    tasks = Tasks(Work(fail), later)
    tasks.start("x", TaskKind.UPLOAD, {})
    later.go()
    status = tasks.status("x")
    assert status.state is TaskState.FAILED
    assert status.error == {"code": "CorruptSSTable", "message": "/data/x does not match"}
    assert TaskStatus.from_json(status.as_json()) == status


def test_error_that_nobody_expected(later: Later, caplog: pytest.LogCaptureFixture) -> None:
    def fail(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        raise ZeroDivisionError("oops")

    tasks = Tasks(Work(fail), later)
    tasks.start("x", TaskKind.UPLOAD, {})
    later.go()
    error = tasks.status("x").error
    assert error["code"] == "Unexpected"
    assert error["message"] == "upload ended with ZeroDivisionError: oops; see the worker's log"
    assert "Traceback" in caplog.text


def test_task_without_a_thread_is_not_taken_for_running() -> None:
    """The machine has no thread left: the conductor gets the error, and may try again."""

    def refuse(run: Callable[[], None], name: str) -> None:
        raise RuntimeError("can't start new thread")

    tasks = Tasks(Work(), refuse)
    with pytest.raises(RuntimeError):
        tasks.start("x", TaskKind.UPLOAD, {})
    assert tasks.status("x").state is TaskState.UNKNOWN


def test_progress_is_seen_while_it_runs() -> None:
    go_on = threading.Event()

    def report(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        context.report(Progress(files_total=5, files_done=2))
        go_on.wait(10)
        return {}

    tasks = Tasks(Work(report), spawn)
    tasks.start("x", TaskKind.UPLOAD, {})
    expected = asdict(Progress(files_total=5, files_done=2))
    wait_for(
        lambda: tasks.status("x").progress == expected,
        deadline=5,
        what="progress",
        interval=0.01,
    )
    assert tasks.status("x").state is TaskState.RUNNING
    go_on.set()


def _until_cancelled(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
    while True:
        context.raise_if_cancelled()
        threading.Event().wait(0.01)


def _wait_failed(tasks: Tasks, task_id: str) -> Mapping[str, str]:
    wait_for(
        lambda: tasks.status(task_id).state is TaskState.FAILED,
        deadline=5,
        what="the task's end",
        interval=0.01,
    )
    return tasks.status(task_id).error


def test_cancelled_task_ends() -> None:
    tasks = Tasks(Work(_until_cancelled), spawn)
    tasks.start("x", TaskKind.UPLOAD, {})
    tasks.start("y", TaskKind.UPLOAD, {})
    tasks.cancel("x")
    assert _wait_failed(tasks, "x")["code"] == "Cancelled"
    assert tasks.status("y").state is TaskState.RUNNING
    tasks.cancel("y")
    _wait_failed(tasks, "y")


def test_cancelling_what_is_not_there(later: Later) -> None:
    tasks = Tasks(Work(), later)
    tasks.cancel("nothing")
    tasks.start("x", TaskKind.RELEASE, {})
    later.go()
    tasks.cancel("x")
    assert tasks.status("x").state is TaskState.DONE


def test_all_tasks_end_with_the_reason() -> None:
    tasks = Tasks(Work(_until_cancelled), spawn)
    tasks.start("x", TaskKind.UPLOAD, {})
    tasks.start("y", TaskKind.UPLOAD, {})
    tasks.cancel_all(NoSpace("the disk is full"))
    for task_id in ("x", "y"):
        assert _wait_failed(tasks, task_id) == {"code": "NoSpace", "message": "the disk is full"}


def test_busy_tags_are_those_of_running_tasks(later: Later) -> None:
    tasks = Tasks(Work(), later)
    tasks.start("x", TaskKind.SNAPSHOT, {"tag": "mdbb-1"})
    tasks.start("y", TaskKind.DESCRIBE, {})
    assert tasks.busy_tags() == {"mdbb-1"}
    later.go()
    assert tasks.busy_tags() == frozenset()


def test_old_finished_tasks_are_forgotten(later: Later, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    tasks = Tasks(Work(), later)
    tasks.start("running", TaskKind.UPLOAD, {})
    later.waiting.clear()
    for number in range(1500):
        tasks.start(str(number), TaskKind.DESCRIBE, {})
        later.go()
    assert tasks.status("running").state is TaskState.RUNNING
    assert tasks.status("0").state is TaskState.UNKNOWN
    assert tasks.status("1499").state is TaskState.DONE
    known = [n for n in range(1500) if tasks.status(str(n)).state is not TaskState.UNKNOWN]
    assert len(known) == 999


Ends = list[tuple[str, str, TaskStatus]]


def _announced(work: Work, later: Later) -> tuple[Tasks, Ends]:
    ends: Ends = []
    return Tasks(work, later, lambda *end: ends.append(end)), ends


def test_start_returns_the_status_of_a_known_task(later: Later) -> None:
    tasks, _ = _announced(Work(), later)
    assert tasks.start("x", TaskKind.PREPARE, {}, "c1").state is TaskState.RUNNING
    later.go()
    again = tasks.start("x", TaskKind.PREPARE, {}, "c1")
    assert (again.state, again.result) == (TaskState.DONE, {"done": True})


def test_end_is_announced_to_the_conductor_that_asked_last(later: Later) -> None:
    """Another conductor took the job over while the task ran."""
    tasks, ends = _announced(Work(), later)
    tasks.start("x", TaskKind.PREPARE, {}, "c1")
    tasks.start("x", TaskKind.PREPARE, {}, "c2")
    later.go()
    assert ends == [("c2", "x", tasks.status("x"))]
    assert tasks.status("x").state is TaskState.DONE


def test_failure_is_announced_too(later: Later) -> None:
    def fail(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        raise NoSpace("disk full")

    tasks, ends = _announced(Work(fail), later)
    tasks.start("x", TaskKind.PREPARE, {}, "c1")
    later.go()
    ((_, _, status),) = ends
    assert (status.state, status.error["code"]) == (TaskState.FAILED, "NoSpace")


def test_conductor_of_an_older_release_gets_no_announcement(later: Later) -> None:
    tasks, ends = _announced(Work(), later)
    tasks.start("x", TaskKind.PREPARE, {})
    later.go()
    assert ends == []


def test_bus_that_is_away_loses_the_announcement_only(
    later: Later, caplog: pytest.LogCaptureFixture
) -> None:
    def announce(conductor: str, task_id: str, status: TaskStatus) -> None:
        raise BusUnavailable("no broker")

    caplog.set_level(logging.INFO)
    tasks = Tasks(Work(), later, announce)
    tasks.start("x", TaskKind.PREPARE, {}, "c1")
    later.go()
    assert tasks.status("x").state is TaskState.DONE
    assert "by its next poll: no broker" in caplog.text


@pytest.mark.parametrize(
    ("kind", "named"), [(TaskKind.UPLOAD, True), (TaskKind.RESTORE_IMPORT, False)]
)
def test_cancelled_task_that_does_not_end_is_stuck(kind: TaskKind, named: bool) -> None:
    """All later uploads wait for it; Cassandra's own work may take its time."""
    hang = threading.Event()

    def deed(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        hang.wait(30)
        return {}

    tasks = Tasks(Work(deed), spawn, stuck_after=0.0)
    tasks.start("job:1:upload:1", kind, {})
    assert tasks.stuck() == ""
    tasks.cancel("job:1:upload:1")
    assert ("task job:1:upload:1 was cancelled 0 minutes ago" in tasks.stuck()) is named
    hang.set()
    wait_for(
        lambda: tasks.status("job:1:upload:1").state is TaskState.DONE, deadline=20, what="the end"
    )
    assert tasks.stuck() == ""


def test_results_are_forgotten_when_they_are_too_large_in_sum(later: Later) -> None:
    """Finding 12: a thousand rings of a thousand nodes were two gigabytes."""
    work = Work(lambda arguments, context: {"ring": "x" * int(arguments["size"])})
    tasks = Tasks(work, later, most_bytes=1000)
    for number in range(5):
        tasks.start(f"t{number}", TaskKind.DESCRIBE, {"size": 300})
        later.go()
    known = [n for n in range(5) if tasks.status(f"t{n}").state is TaskState.DONE]
    assert known == [2, 3, 4]
    tasks.start("large", TaskKind.DESCRIBE, {"size": 5000})
    tasks.start("running", TaskKind.DESCRIBE, {"size": 1})
    later.waiting.pop(0)()
    assert tasks.status("large").state is TaskState.DONE  # the conductor has not asked for it yet
    assert tasks.status("t4").state is TaskState.UNKNOWN
    assert tasks.status("running").state is TaskState.RUNNING

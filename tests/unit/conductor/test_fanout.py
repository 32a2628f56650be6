# SPDX-License-Identifier: Apache-2.0
"""Tasks on several workers: outages, restarts, errors, cancelling."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from magnetodb_backup.conductor.fanout import Call, Fanout, Outcome, first_error
from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.errors import (
    Cancelled,
    CassandraUnavailable,
    CorruptSSTable,
    StillUnavailable,
    Transient,
    WorkerUnavailable,
)
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.conductor.in_process import InProcessWorkers, Scripted, until_cancelled

POLL = 0.01


def _calls(*numbers: int) -> list[Call]:
    return [
        Call(f"host-{n}", f"127.0.0.{n}", f"worker-{n}", "job:1:upload", TaskKind.UPLOAD, {"n": n})
        for n in numbers
    ]


def _fanout(
    workers: InProcessWorkers,
    *,
    deadline: float = 10.0,
    raise_if_cancelled: Callable[[], None] = lambda: None,
) -> Fanout:
    return Fanout(
        workers, poll_interval=POLL, outage_deadline=deadline, raise_if_cancelled=raise_if_cancelled
    )


Make = Callable[..., InProcessWorkers]


@pytest.fixture(params=[True, False], ids=["messages", "polls"])
def make(request: pytest.FixtureRequest) -> Make:
    """Make workers of this release, which report the ends of tasks, and of an older one."""

    def workers(**works: Scripted) -> InProcessWorkers:
        named = {name.replace("_", "-"): work for name, work in works.items()}
        return InProcessWorkers(named, announce=request.param)

    return workers


def _fail(error: Exception) -> Callable[[Mapping[str, Any], TaskContext], Mapping[str, Any]]:
    def deed(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        raise error

    return deed


def test_outcomes_come_in_the_order_of_the_calls(make: Make) -> None:
    slow, quick = threading.Event(), Scripted(upload=lambda arguments, context: {"n": 2})

    def wait(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        slow.wait(10)
        return {"n": arguments["n"]}

    workers = make(worker_1=Scripted(upload=wait), worker_2=quick)
    workers.after_status = lambda worker_id, status: (
        slow.set() if worker_id == "worker-2" and status.state is TaskState.DONE else None
    )
    outcomes = _fanout(workers).run(_calls(1, 2))
    assert [(o.call.host_id, o.result, o.error) for o in outcomes] == [
        ("host-1", {"n": 1}, None),
        ("host-2", {"n": 2}, None),
    ]


def test_no_calls(make: Make) -> None:
    assert _fanout(make()).run([]) == []


def test_permanent_error_stops_the_others(make: Make) -> None:
    workers = make(
        worker_1=Scripted(upload=until_cancelled),
        worker_2=Scripted(upload=_fail(CorruptSSTable("/data/x does not match"))),
        worker_3=Scripted(upload=until_cancelled),
    )
    started = time.monotonic()
    outcomes = _fanout(workers).run(_calls(1, 2, 3))
    assert time.monotonic() - started < 5
    assert [type(o.error) for o in outcomes] == [Cancelled, CorruptSSTable, Cancelled]
    assert str(outcomes[1].error) == "node 127.0.0.2: /data/x does not match"
    assert "another node failed" in str(outcomes[0].error)
    assert {w for w, _ in workers.cancelled} >= {"worker-1", "worker-3"}
    assert first_error(outcomes) is outcomes[1].error


def test_the_others_go_on_where_that_is_wanted(make: Make) -> None:
    workers = make(worker_1=Scripted(), worker_2=Scripted(upload=_fail(CorruptSSTable("x"))))
    good, bad = _fanout(workers).run(_calls(1, 2), stop_at_first_error=False)
    assert good.error is None
    assert isinstance(bad.error, CorruptSSTable)
    assert first_error([good]) is None


def test_passing_failure_is_another_attempt(make: Make) -> None:
    attempts: list[int] = []

    def fail_twice(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        attempts.append(1)
        if len(attempts) < 3:
            raise CassandraUnavailable("not yet")
        return {"attempts": len(attempts)}

    workers = make(worker_1=Scripted(upload=fail_twice))
    (outcome,) = _fanout(workers).run(_calls(1))
    assert outcome.result == {"attempts": 3}
    assert sorted(task_id for _, task_id in workers.started) == [
        f"job:1:upload:{attempt}" for attempt in (1, 2, 3)
    ]


@pytest.mark.parametrize("outage", ["failing", "unreachable", "forgetful"])
def test_lasting_trouble_ends_with_the_deadline(make: Make, outage: str) -> None:
    """Repeated failures, no answers, or a worker that dies of each attempt."""
    work = Scripted(upload=until_cancelled)
    workers = make(worker_1=work)
    if outage == "failing":
        work.deeds["upload"] = _fail(CassandraUnavailable("out of order"))
    elif outage == "unreachable":
        workers.down.add("worker-1")
    else:
        workers.after_start = lambda worker_id, kind: workers.restart(worker_id)
    started = time.monotonic()
    (outcome,) = _fanout(workers, deadline=0.3).run(_calls(1))
    assert 0.3 <= time.monotonic() - started < 5
    assert isinstance(outcome.error, StillUnavailable)
    told = {
        "failing": "out of order",
        "unreachable": "worker worker-1 did not answer",
        "forgetful": "the worker was restarted and has lost its task",
    }[outage]
    assert str(outcome.error) == (
        f"node 127.0.0.1: {told} (for longer than [conductor] outage_deadline = 0.3 s)"
    )


@pytest.mark.parametrize("moves", [False, True])
def test_task_that_waits_longer_than_the_deadline(make: Make, moves: bool) -> None:
    """The store is away, and [storage] retry_deadline is longer than ours: that is no work."""
    attempts: list[int] = []

    def fail_late(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        attempts.append(1)
        if len(attempts) > 3:
            return {}
        for number in range(25):
            threading.Event().wait(0.02)
            context.report(Progress(files_done=number if moves else 0))
        raise CassandraUnavailable("away")

    workers = make(worker_1=Scripted(upload=fail_late))
    (outcome,) = _fanout(workers, deadline=0.2).run(_calls(1))
    assert (outcome.error is None) is moves
    assert len(attempts) == (4 if moves else 2)


def test_activity_that_changes_no_progress_ends_a_trouble_too(make: Make) -> None:
    """An upload that only hashes files, which the store has, works as any other."""
    attempts: list[int] = []

    def fail_late(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        attempts.append(1)
        if len(attempts) > 3:
            return {}
        for _ in range(25):
            threading.Event().wait(0.02)
            context.get_on()
        raise CassandraUnavailable("away")

    workers = make(worker_1=Scripted(upload=fail_late))
    (outcome,) = _fanout(workers, deadline=0.2).run(_calls(1))
    assert outcome.error is None


def test_unreachable_worker_goes_on_with_its_task(make: Make) -> None:
    """The task is not begun twice because its worker could not be asked for a while."""
    go_on = threading.Event()

    def wait(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        go_on.wait(10)
        return {"done": True}

    workers = make(worker_1=Scripted(upload=wait))
    refused: list[int] = []

    def lose(worker_id: str, status: TaskStatus) -> None:
        if status.state is TaskState.RUNNING and len(refused) < 3:
            refused.append(1)
            raise WorkerUnavailable("no answer")
        if len(refused) == 3:
            go_on.set()

    workers.after_status = lose
    (outcome,) = _fanout(workers).run(_calls(1))
    assert (outcome.result, len(refused)) == ({"done": True}, 3)
    assert workers.started == {("worker-1", "job:1:upload:1"): 1}


def test_lost_answer_to_a_start(make: Make) -> None:
    work = Scripted()
    workers = make(worker_1=work)
    lost: list[int] = []

    def lose(worker_id: str, kind: TaskKind) -> None:
        if not lost:
            lost.append(1)
            raise WorkerUnavailable("no answer")

    workers.after_start = lose
    (outcome,) = _fanout(workers).run(_calls(1))
    assert outcome.error is None
    assert work.performed == [TaskKind.UPLOAD]


def test_restarted_worker_begins_anew(make: Make) -> None:
    work = Scripted(upload=until_cancelled)
    workers = make(worker_1=work)

    def restart(worker_id: str, status: TaskStatus) -> None:
        if status.state is TaskState.RUNNING and len(work.performed) == 1:
            work.deeds["upload"] = lambda arguments, context: {"done": True}
            workers.restart(worker_id)

    workers.after_status = restart
    (outcome,) = _fanout(workers).run(_calls(1))
    assert outcome.result == {"done": True}
    assert work.performed == [TaskKind.UPLOAD] * 2
    assert workers.started == {("worker-1", "job:1:upload:1"): 2}


def test_cancelling_reaches_themake(make: Make) -> None:
    workers = make(
        worker_1=Scripted(upload=until_cancelled), worker_2=Scripted(upload=until_cancelled)
    )
    running: set[str] = set()
    workers.after_status = lambda worker_id, status: (
        running.add(worker_id) if status.state is TaskState.RUNNING else None
    )

    def check() -> None:
        if len(running) == 2:
            raise Cancelled("cancelled on request")

    outcomes = _fanout(workers, raise_if_cancelled=check).run(_calls(1, 2))
    assert {str(o.error) for o in outcomes} <= {
        "cancelled on request",
        "stopped, because another node failed",
    }
    assert isinstance(first_error(outcomes), Cancelled)
    assert {w for w, _ in workers.cancelled} == {"worker-1", "worker-2"}


def test_cancelling_does_not_wait_for_an_unreachable_worker(make: Make) -> None:
    workers = make(worker_1=Scripted())
    workers.down.add("worker-1")
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        if len(checks) > 3:
            raise Cancelled("cancelled on request")

    (outcome,) = _fanout(workers, raise_if_cancelled=check).run(_calls(1))
    assert isinstance(outcome.error, Cancelled)


class _Lost(Exception):
    """The lease is lost: another conductor goes on."""


def test_conductor_that_gives_up_leaves_the_tasks_alone(make: Make) -> None:
    go_on = threading.Event()

    def wait(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        go_on.wait(10)
        context.raise_if_cancelled()
        return {"done": True}

    work = Scripted(upload=wait)
    workers = make(worker_1=work)
    running: list[str] = []
    workers.after_status = lambda worker_id, status: (
        running.append(worker_id) if status.state is TaskState.RUNNING else None
    )

    def check() -> None:
        if running:
            raise _Lost

    with pytest.raises(_Lost):
        _fanout(workers, raise_if_cancelled=check).run(_calls(1))
    assert workers.cancelled == []
    go_on.set()
    (outcome,) = _fanout(workers).run(_calls(1))  # the other conductor
    assert outcome.result == {"done": True}
    assert work.performed == [TaskKind.UPLOAD]


def test_progress_is_passed_on(make: Make) -> None:
    go_on = threading.Event()

    def report(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        context.report(Progress(files_done=3))
        go_on.wait(10)
        return {}

    seen: list[tuple[str, int]] = []

    def progress(call: Call, progress: Mapping[str, int]) -> None:
        if progress["files_done"]:
            seen.append((call.host_id, progress["files_done"]))
            go_on.set()

    _fanout(make(worker_1=Scripted(upload=report))).run(_calls(1), progress=progress)
    assert seen[0] == ("host-1", 3)


def test_a_node_that_is_done_is_told_of_while_others_go_on(make: Make) -> None:
    go_on = threading.Event()

    def slow(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        assert go_on.wait(10)
        return {}

    def ended(outcome: Outcome) -> None:
        if (outcome.call.host_id, outcome.result) == ("host-1", {"n": 1}):
            go_on.set()

    quick = Scripted(upload=lambda arguments, context: {"n": arguments["n"]})
    workers = make(worker_1=quick, worker_2=Scripted(upload=slow))
    outcomes = _fanout(workers).run(_calls(1, 2), ended=ended)
    assert [o.error for o in outcomes] == [None, None]


def test_first_error_is_a_cause_not_a_consequence() -> None:
    (call,) = _calls(1)
    stopped, cause = Cancelled("stopped, because another node failed"), Transient("the cause")
    outcomes = [Outcome(call, {}, stopped), Outcome(call, {}), Outcome(call, {}, cause)]
    assert first_error(outcomes) is cause
    assert first_error(outcomes[:1]) is stopped
    assert first_error([]) is None

# SPDX-License-Identifier: Apache-2.0
"""The ends of tasks as messages: how many calls a task costs, and that no step waits for a poll.

The poll interval is an hour where nothing must depend on it: a wait for it ends the test.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest

from magnetodb_backup.conductor.fanout import Call, Fanout, Outcome
from magnetodb_backup.errors import (
    Cancelled,
    CassandraUnavailable,
    DatabaseUnavailable,
    StillUnavailable,
    WorkerUnavailable,
)
from magnetodb_backup.messaging.endings import Listener, TaskEndings
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus
from magnetodb_backup.worker.tasks import TaskContext
from tests.lab.processes import wait_for
from tests.unit.conductor.in_process import InProcessWorkers, Scripted, until_cancelled

HOUR = 3600.0
POLL = 0.01
RUNNING, DONE = TaskStatus(TaskState.RUNNING), TaskStatus(TaskState.DONE, result={"done": True})


def _calls(count: int) -> list[Call]:
    return [
        Call(f"host-{n}", f"127.0.0.{n}", f"worker-{n}", "job:1:upload", TaskKind.UPLOAD, {"n": n})
        for n in range(1, count + 1)
    ]


def _fanout(
    workers: Any,
    *,
    poll: float = HOUR,
    deadline: float = 10.0,
    raise_if_cancelled: Callable[[], None] = lambda: None,
) -> Fanout:
    return Fanout(
        workers, poll_interval=poll, outage_deadline=deadline, raise_if_cancelled=raise_if_cancelled
    )


def _in_process(count: int, **deeds: Any) -> InProcessWorkers:
    return InProcessWorkers({f"worker-{n}": Scripted(**deeds) for n in range(1, count + 1)})


def _ending_after_the_start(count: int) -> InProcessWorkers:
    """Return workers whose tasks end after all starts were answered with RUNNING."""
    answered = threading.Semaphore(0)

    def wait(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        assert answered.acquire(timeout=10)
        return {"n": arguments["n"]}

    workers = _in_process(count, upload=wait)
    workers.after_start = lambda worker_id, kind: answered.release()
    return workers


class Passive:
    """Workers without threads: what starts runs until the test ends it."""

    def __init__(self) -> None:
        self.endings = TaskEndings()
        self.lock = threading.Lock()
        self.started: list[tuple[str, str]] = []
        self.asked: list[tuple[str, str]] = []
        self.cancelled: list[tuple[str, str]] = []
        self.on_start: Callable[[str, str], None] = lambda worker_id, task_id: None

    def start(
        self, worker_id: str, task_id: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> TaskStatus | None:
        with self.lock:
            self.started.append((worker_id, task_id))
        self.on_start(worker_id, task_id)
        return RUNNING

    def status(self, worker_id: str, task_id: str) -> TaskStatus:
        with self.lock:
            self.asked.append((worker_id, task_id))
        return RUNNING

    def cancel(self, worker_id: str, task_id: str) -> None:
        with self.lock:
            self.cancelled.append((worker_id, task_id))

    def listening(self, listener: Listener) -> AbstractContextManager[None]:
        return self.endings.listening(listener)


def test_a_task_costs_one_call_and_one_message() -> None:
    workers = _ending_after_the_start(3)
    outcomes = _fanout(workers).run(_calls(3))
    assert [o.error for o in outcomes] == [None] * 3
    assert (sum(workers.calls.values()), workers.asked) == (3, {})


def test_a_large_result_costs_one_question_more() -> None:
    workers = _ending_after_the_start(1)
    workers.whole_status = False
    (outcome,) = _fanout(workers).run(_calls(1))
    assert outcome.result == {"n": 1}
    assert list(workers.calls.values()) == list(workers.asked.values()) == [1]


def test_a_large_result_that_is_announced_before_the_start_is_answered() -> None:
    workers = Passive()
    workers.on_start = lambda worker_id, task_id: workers.endings.publish(worker_id, task_id, None)
    workers.status = lambda worker_id, task_id: DONE  # type: ignore[method-assign]
    (outcome,) = _fanout(workers).run(_calls(1))
    assert outcome.result == {"done": True}


def test_a_lost_message_is_found_by_the_poll() -> None:
    workers = _ending_after_the_start(1)
    workers.lost_messages = {"worker-1"}
    (outcome,) = _fanout(workers, poll=POLL).run(_calls(1))
    assert outcome.result == {"n": 1}
    assert workers.asked["worker-1", "job:1:upload:1"] >= 1


def test_a_task_that_ended_before_is_not_asked_for_again() -> None:
    """Another conductor started it; the start returns the result."""
    workers = _in_process(1)
    workers.start("worker-1", "job:1:upload:1", TaskKind.UPLOAD, {})
    wait_for(
        lambda: workers.tables["worker-1"].status("job:1:upload:1").state is TaskState.DONE,
        deadline=10,
        what="the end of the task",
        interval=0.01,
    )
    (outcome,) = _fanout(workers).run(_calls(1))
    assert outcome.result == {"kind": "upload"}
    assert workers.asked == {}


def test_a_permanent_error_and_the_end_of_the_others_need_no_poll() -> None:
    begun = threading.Semaphore(0)

    def fail(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        assert begun.acquire(timeout=10)
        assert begun.acquire(timeout=10)
        raise Cancelled("by hand")

    def wait(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        begun.release()
        return until_cancelled(arguments, context)

    workers = InProcessWorkers(
        {
            "worker-1": Scripted(upload=fail),
            "worker-2": Scripted(upload=wait),
            "worker-3": Scripted(upload=wait),
        }
    )
    outcomes = _fanout(workers).run(_calls(3))
    assert [type(o.error) for o in outcomes] == [Cancelled] * 3
    assert {worker_id for worker_id, _ in workers.cancelled} == {"worker-2", "worker-3"}


def test_a_message_of_a_former_attempt_ends_nothing() -> None:
    workers = Passive()

    def answer(worker_id: str, task_id: str) -> None:
        attempt = task_id.rpartition(":")[2]
        if attempt == "1":
            failed = CassandraUnavailable("not yet").as_record()
            status = TaskStatus(TaskState.FAILED, error=failed)
            workers.endings.publish(worker_id, task_id, status)
            workers.endings.publish(worker_id, task_id, DONE)
        else:
            result = TaskStatus(TaskState.DONE, result={"attempt": attempt})
            workers.endings.publish(worker_id, task_id, result)

    workers.on_start = answer
    (outcome,) = _fanout(workers, poll=POLL).run(_calls(1))
    assert outcome.result == {"attempt": "2"}
    assert [task_id for _, task_id in workers.started] == ["job:1:upload:1", "job:1:upload:2"]


def test_a_thousand_tasks_start_before_the_first_one_ends() -> None:
    """Few threads carry the calls; the database is read for the check at the start and the end."""
    count, checks, most = 1000, [], [0]
    workers = Passive()

    def count_start(worker_id: str, task_id: str) -> None:
        most[0] = max(most[0], threading.active_count())
        with workers.lock:
            all_started = len(workers.started) == count
        if all_started:
            for started in list(workers.started):
                workers.endings.publish(*started, DONE)

    workers.on_start = count_start
    seen: list[Outcome] = []
    before = threading.active_count()
    outcomes = _fanout(workers, raise_if_cancelled=lambda: checks.append(1)).run(
        _calls(count), ended=seen.append
    )
    assert [o.result for o in outcomes] == [{"done": True}] * count
    assert (len(seen), len(workers.started), workers.asked) == (count, count, [])
    assert (len(checks), most[0] - before <= 128) == (2, True)


def test_many_running_tasks_are_polled_in_turn_not_all_at_once() -> None:
    """A thousand tasks that run are asked a hundred times a second, not a thousand times."""
    workers, looks = Passive(), []

    def check() -> None:
        looks.append(1)
        if len(looks) == 20:
            raise Cancelled("enough")

    _fanout(workers, poll=POLL, raise_if_cancelled=check).run(_calls(1000))
    assert len(workers.started) == 1000
    assert workers.asked == []  # 20 polls of 10 ms are over long before 10 s


def test_nothing_starts_while_the_database_is_away() -> None:
    workers, failures = _in_process(2), [1, 2, 3]

    def check() -> None:
        assert not workers.started or not failures
        if failures:
            failures.pop()
            raise DatabaseUnavailable("the database does not answer")

    outcomes = _fanout(workers, poll=POLL, raise_if_cancelled=check).run(_calls(2))
    assert [o.error for o in outcomes] == [None, None]


def test_a_step_that_lost_its_job_returns_nothing() -> None:
    """Its result must not be stored: another conductor runs the job."""

    class _Lost(Exception):
        pass

    workers = _in_process(1)

    def check() -> None:
        if workers.started:
            raise _Lost

    with pytest.raises(_Lost):
        _fanout(workers, raise_if_cancelled=check).run(_calls(1))
    assert workers.cancelled == []


def test_an_outage_of_the_database_after_the_last_end_is_waited_for() -> None:
    workers, failures = _in_process(1), [1, 2]

    def check() -> None:
        if workers.started and failures:
            failures.pop()
            raise DatabaseUnavailable("the database does not answer")

    (outcome,) = _fanout(workers, poll=POLL, raise_if_cancelled=check).run(_calls(1))
    assert (outcome.error, failures) == (None, [])


def test_a_database_that_stays_away_ends_every_call() -> None:
    def check() -> None:
        raise DatabaseUnavailable("the database does not answer")

    outcomes = _fanout(_in_process(2), poll=POLL, deadline=0.1, raise_if_cancelled=check).run(
        _calls(2)
    )
    assert [type(o.error) for o in outcomes] == [StillUnavailable] * 2
    assert "node 127.0.0.1: the database does not answer" in str(outcomes[0].error)


def test_a_task_is_cancelled_after_its_start_is_answered() -> None:
    """Else the start could arrive last, and its task would run without a job."""
    workers, started = Passive(), threading.Event()

    def slow(worker_id: str, task_id: str) -> None:
        started.set()
        assert cancelling.wait(10)
        assert workers.cancelled == []

    cancelling = threading.Event()

    def check() -> None:
        if started.is_set():
            cancelling.set()
            raise Cancelled("cancelled on request")

    workers.on_start = slow
    (outcome,) = _fanout(workers, poll=POLL, raise_if_cancelled=check).run(_calls(1))
    assert isinstance(outcome.error, Cancelled)
    assert workers.cancelled == workers.started


def test_an_unexpected_error_of_a_call_ends_the_step() -> None:
    workers = Passive()

    def break_(worker_id: str, task_id: str) -> None:
        raise ZeroDivisionError

    workers.on_start = break_
    with pytest.raises(ZeroDivisionError):
        _fanout(workers).run(_calls(1))


def test_a_worker_that_is_away_delays_no_other() -> None:
    workers = Passive()

    def answer(worker_id: str, task_id: str) -> None:
        if worker_id == "worker-1":
            raise WorkerUnavailable("worker-1 did not answer")
        workers.endings.publish(worker_id, task_id, DONE)

    workers.on_start = answer
    seen: list[str] = []

    def ended(outcome: Outcome) -> None:
        seen.append(outcome.call.host_id)
        if len(seen) == 2:
            workers.endings.publish("worker-1", "job:1:upload:1", DONE)

    outcomes = _fanout(workers).run(_calls(3), ended=ended)
    assert [o.error for o in outcomes] == [None] * 3
    assert seen[-1] == "host-1"

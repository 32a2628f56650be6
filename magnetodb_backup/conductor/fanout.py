# SPDX-License-Identifier: Apache-2.0
"""Runs one task on each of several workers and outlives outages of either side.

One loop follows all workers. A worker reports the end of its task by a message; polls find what a
lost message would have reported, and show progress. Threads only carry the calls over the bus, so
a thousand tasks start at once and none waits for another one's end.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import math
import queue
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from magnetodb_backup.conductor.followed import Answer, Ended, Followed
from magnetodb_backup.conductor.outcomes import (
    Call,
    Outcome,
    Progress,
    Troubled,
    Workers,
    first_error,
    still_unavailable,
    with_host,
)
from magnetodb_backup.conductor.patience import Patience
from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    StillUnavailable,
    TaskStalled,
    Transient,
    WorkerUnavailable,
    from_record,
)
from magnetodb_backup.tasks.kinds import COMMANDS, TaskState, TaskStatus

__all__ = ["Call", "Fanout", "Outcome", "Workers", "first_error", "still_unavailable"]
LOG = logging.getLogger(__name__)
_SENDERS = 128  # threads that carry calls; a worker that does not answer holds one for seconds
_POLLS_PER_SECOND = 100.0  # of one step, over all nodes


@dataclass(frozen=True)
class _Settings:
    workers: Workers
    poll_interval: float
    outage_deadline: float
    raise_if_cancelled: Callable[[], None]
    stall_deadline: float

    def patience(self) -> Patience:
        return Patience(self.outage_deadline, self.poll_interval)


class Fanout:
    """Runs calls side by side; deadlines and ``poll_interval`` in seconds.

    A task that must get on all the time and does not for ``stall_deadline`` is cancelled and
    started again, as after an outage.

    ``raise_if_cancelled`` is called at the start, once per poll interval and at the end. It
    raises to give everything up (Cancelled, lost ownership). While it raises a Transient error,
    nothing is started and no answer is taken.
    """

    def __init__(
        self,
        workers: Workers,
        *,
        poll_interval: float,
        outage_deadline: float,
        raise_if_cancelled: Callable[[], None],
        stall_deadline: float = math.inf,
    ) -> None:
        self._settings = _Settings(
            workers, poll_interval, outage_deadline, raise_if_cancelled, stall_deadline
        )

    def run(
        self,
        calls: list[Call],
        *,
        progress: Progress | None = None,
        ended: Callable[[Outcome], None] = lambda outcome: None,
        troubled: Troubled = lambda call, error: None,
        stop_at_first_error: bool = True,
    ) -> list[Outcome]:
        """Return the outcomes in the order of ``calls``; ``ended`` gets each one at once.

        A permanent error makes the other workers stop if ``stop_at_first_error``. A transient one
        is tried again until it has lasted for the outage deadline; then it is StillUnavailable.
        ``progress``, ``ended`` and ``troubled`` are called in the caller's thread; what the latter
        two raise, and what ``raise_if_cancelled`` raises besides BackupErrors, leaves the tasks
        running.
        """
        if not calls:
            return []
        progress = progress or (lambda call, progress: None)
        return _Loop(self._settings, calls, progress, ended, troubled).run(stop_at_first_error)


class _Loop:
    """One run of a Fanout: handles answers, messages and timers in the caller's thread."""

    def __init__(
        self,
        settings: _Settings,
        calls: list[Call],
        progress: Progress,
        ended: Callable[[Outcome], None],
        troubled: Troubled,
    ) -> None:
        self._settings, self._workers = settings, settings.workers
        self._poll_interval = settings.poll_interval
        self._progress, self._ended, self._troubled = progress, ended, troubled
        self._all = [
            Followed(call, settings.patience(), settings.poll_interval / 10) for call in calls
        ]
        self._by_call = {(f.call.worker_id, f.call.task_id): f for f in self._all}
        self._left = len(calls)
        self._events: queue.SimpleQueue[Answer | Ended] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Followed]] = []
        self._numbers = itertools.count()
        self._checking, self._check_at = True, 0.0
        self._check_patience = settings.patience()
        self._stop_others = True
        self._pool = ThreadPoolExecutor(min(len(calls), _SENDERS), thread_name_prefix="call")

    def run(self, stop_at_first_error: bool) -> list[Outcome]:
        self._stop_others = stop_at_first_error
        with self._workers.listening(self._hear):
            try:
                for followed in self._all:
                    self._schedule(followed, 0.0)
                while self._left:
                    if self._may_continue():
                        self._send_due()
                        self._take_next()
            finally:
                self._pool.shutdown(wait=False, cancel_futures=True)
        self._check_at_the_end()
        return [f.outcome for f in self._all if f.outcome is not None]

    # Waiting.

    def _may_continue(self) -> bool:
        """Check once per poll interval; False after a pause because the check itself fails."""
        if not self._checking or time.monotonic() < self._check_at:
            return True
        try:
            self._settings.raise_if_cancelled()
        except Transient as error:
            LOG.info("%s; trying again", error)
            pause = self._check_patience.pause_after_trouble()
            if self._check_patience.exhausted:
                self._checking = False
                self._give_up(error)
                return False
            time.sleep(pause)
            return False
        except BackupError as error:
            self._checking = False
            for followed in self._all:
                self._stop(followed, error)
            return self._left > 0
        self._check_patience = self._settings.patience()
        self._check_at = time.monotonic() + self._poll_interval
        return True

    def _check_at_the_end(self) -> None:
        """Check once more, so that no result is stored of a job that another conductor runs."""
        while self._checking:
            try:
                self._settings.raise_if_cancelled()
                return
            except Transient:
                pause = self._check_patience.pause_after_trouble()
                if self._check_patience.exhausted:
                    raise
                time.sleep(pause)

    def _gave_up(self, error: Transient) -> StillUnavailable:
        return still_unavailable(error, self._settings.outage_deadline)

    def _give_up(self, error: Transient) -> None:
        self._stop_others = False
        for followed in self._all:
            if followed.outcome is None:
                self._finish(followed, {}, self._gave_up(error))

    def _schedule(self, followed: Followed, pause: float) -> None:
        followed.due = time.monotonic() + pause
        heapq.heappush(self._timers, (followed.due, next(self._numbers), followed))

    def _send_due(self) -> None:
        """Send what is due: a start, or a question for the status."""
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            due, _, followed = heapq.heappop(self._timers)
            if followed.outcome or followed.stopping or followed.in_flight or due != followed.due:
                continue
            call, task_id = followed.call, followed.task_id
            rpc: Callable[[], TaskStatus | None]
            if followed.started:
                rpc = partial(self._workers.status, call.worker_id, task_id)
            else:
                rpc = partial(
                    self._workers.start, call.worker_id, task_id, call.kind, call.arguments
                )
            self._send(followed, rpc)

    def _send(self, followed: Followed, rpc: Callable[[], TaskStatus | None]) -> None:
        followed.in_flight, task_id = True, followed.task_id

        def carry() -> None:
            try:
                answer = Answer(followed, task_id, rpc(), None)
            except BaseException as error:  # noqa: BLE001 - raised in the loop's thread
                answer = Answer(followed, task_id, None, error)
            self._events.put(answer)

        self._pool.submit(carry)

    def _hear(self, worker_id: str, task_id: str, status: TaskStatus | None) -> None:
        """Take a message, in any thread."""
        if (worker_id, task_id.rpartition(":")[0]) in self._by_call:
            self._events.put(Ended(worker_id, task_id, status))

    def _take_next(self) -> None:
        moments = [self._timers[0][0]] if self._timers else []
        if self._checking:
            moments.append(self._check_at)
        timeout = max(min(moments) - time.monotonic(), 0.0) if moments else None
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return
        if isinstance(event, Answer):
            self._take_answer(event)
        else:
            self._take_message(event)

    # What happened.

    def _take_message(self, message: Ended) -> None:
        followed = self._by_call[message.worker_id, message.task_id.rpartition(":")[0]]
        if followed.outcome or followed.stopping or message.task_id != followed.task_id:
            return
        followed.started = True
        if message.status is not None:
            self._judge(followed, message.status)
        elif followed.in_flight:
            followed.ask_at_once = True
        else:
            self._schedule(followed, 0.0)

    def _take_answer(self, answer: Answer) -> None:
        followed = answer.followed
        followed.in_flight = False
        if followed.outcome:
            return
        if followed.stopping is not None:
            self._take_answer_while_stopping(followed, answer.error)
        elif answer.task_id != followed.task_id:  # a message was faster and began a new attempt
            self._schedule(followed, followed.due - time.monotonic())
        elif isinstance(answer.error, Transient):
            self._trouble(followed, answer.error)
        elif isinstance(answer.error, BackupError):
            self._stop(followed, answer.error)
        elif answer.error is not None:
            raise answer.error
        else:
            polled, followed.started = followed.started, True
            if answer.status is not None:
                self._judge(followed, answer.status, announced=not polled)
            else:  # started by a worker that does not report the end
                self._schedule(followed, followed.pause)

    def _judge(self, followed: Followed, status: TaskStatus, *, announced: bool = False) -> None:
        try:
            self._judge_status(followed, status, announced)
        except Transient as error:
            self._trouble(followed, error)
        except BackupError as error:
            self._stop(followed, error)

    def _judge_status(self, followed: Followed, status: TaskStatus, announced: bool) -> None:
        if status.state is TaskState.DONE:
            self._finish(followed, status.result, None)
        elif status.state is TaskState.FAILED:
            followed.attempt += 1
            followed.started = False
            error = from_record(status.error)
            if isinstance(error, Transient):
                raise error
            self._finish(followed, {}, error)
        elif status.state is TaskState.UNKNOWN:
            followed.started = False
            raise WorkerUnavailable("the worker was restarted and has lost its task")
        elif followed.stands_still(status, self._settings.stall_deadline):
            self._abandon(followed)
        else:
            # A command that ends by its time-out again and again is no progress.
            activity = None if followed.call.kind in COMMANDS else status.activity
            followed.patience.runs(status.progress, activity)
            self._note_trouble(followed, None)
            self._progress(followed.call, status.progress)
            longest = max(self._poll_interval, self._left / _POLLS_PER_SECOND)
            followed.pause = longest if announced else min(followed.pause * 1.5, longest)
            self._schedule(followed, 0.0 if followed.ask_at_once else followed.pause)
            followed.ask_at_once = False

    def _abandon(self, followed: Followed) -> None:
        """Cancel a task without waiting for its end; it is started again as after an outage."""
        worker_id, task_id = followed.call.worker_id, followed.task_id

        def cancel() -> None:
            with contextlib.suppress(BackupError):
                self._workers.cancel(worker_id, task_id)

        self._pool.submit(cancel)
        followed.attempt += 1
        followed.started = False
        raise TaskStalled(
            f"the {followed.call.kind.value} task made no progress for [conductor] stall_deadline "
            f"= {self._settings.stall_deadline:g} s; see the worker's log, and look for a disk or "
            "an object store that does not answer"
        )

    def _trouble(self, followed: Followed, error: Transient) -> None:
        call = followed.call
        LOG.info("%s on %s: %s; trying again", call.kind.value, call.host, error)
        self._note_trouble(followed, error)
        followed.pause = followed.patience.pause_after_trouble()
        if followed.patience.exhausted:
            self._finish(followed, {}, self._gave_up(error))
        else:
            self._schedule(followed, followed.pause)

    def _note_trouble(self, followed: Followed, error: Transient | None) -> None:
        if error is not None or followed.troubled:
            followed.troubled = error is not None
            self._troubled(followed.call, error)

    # Ends.

    def _stop(self, followed: Followed, error: BackupError) -> None:
        """Cancel the task, after the answer to what is on its way, and end the call."""
        if followed.outcome or followed.stopping:
            return
        followed.stopping = error
        if not followed.in_flight:
            self._cancel(followed)

    def _cancel(self, followed: Followed) -> None:
        followed.cancelled = True
        self._send(
            followed, partial(self._workers.cancel, followed.call.worker_id, followed.task_id)
        )

    def _take_answer_while_stopping(self, followed: Followed, error: BaseException | None) -> None:
        if not followed.cancelled:
            self._cancel(followed)
            return
        if isinstance(error, BackupError):
            LOG.info("cannot cancel the task on %s: %s", followed.call.host, error)
        elif error is not None:
            raise error
        self._finish(followed, {}, followed.stopping)

    def _finish(
        self, followed: Followed, result: Mapping[str, Any], error: BackupError | None
    ) -> None:
        if error is not None:
            error = with_host(followed.call, error)
        followed.outcome = outcome = Outcome(followed.call, result, error)
        self._left -= 1
        self._note_trouble(followed, None)
        if error is not None and self._stop_others:
            self._stop_others = False
            for other in self._all:
                self._stop(other, Cancelled("stopped, because another node failed"))
        self._ended(outcome)

# SPDX-License-Identifier: Apache-2.0
"""Tasks that run and make no progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.conductor.fanout import Call, Fanout
from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.errors import CassandraUnavailable, StillUnavailable
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.conductor.in_process import InProcessWorkers, Scripted, until_cancelled

_DEADLINE = 0.3  # seconds without progress


def _call(kind: TaskKind = TaskKind.UPLOAD) -> Call:
    return Call("host-1", "127.0.0.1", "worker-1", f"job:1:{kind.value}", kind, {})


def _fanout(workers: InProcessWorkers, outage_deadline: float) -> Fanout:
    return Fanout(
        workers,
        poll_interval=0.01,
        outage_deadline=outage_deadline,
        raise_if_cancelled=lambda: None,
        stall_deadline=_DEADLINE,
    )


def test_task_that_hangs_ends_the_step() -> None:
    """A read from a hung disk returns never: the backup was CREATING for ever."""
    workers = InProcessWorkers({"worker-1": Scripted(upload=until_cancelled)})
    (outcome,) = _fanout(workers, outage_deadline=0.1).run([_call()])
    assert isinstance(outcome.error, StillUnavailable)
    assert "made no progress for [conductor] stall_deadline = 0.3 s" in str(outcome.error)
    assert ("worker-1", "job:1:upload:1") in workers.cancelled


def test_task_that_hangs_once_is_started_again() -> None:
    attempts: list[int] = []

    def deed(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        attempts.append(1)
        return until_cancelled(arguments, context) if len(attempts) == 1 else {"done": True}

    workers = InProcessWorkers({"worker-1": Scripted(upload=deed)})
    (outcome,) = _fanout(workers, outage_deadline=10).run([_call()])
    assert (outcome.error, outcome.result) == (None, {"done": True})
    assert len(attempts) == 2


def _report(context: TaskContext, number: int) -> None:
    context.report(replace(Progress(), bytes_done=number))


def _read(context: TaskContext, number: int) -> None:
    context.get_on()


@pytest.mark.parametrize("sign", [_report, _read])
def test_task_that_shows_a_sign_of_life_may_take_any_time(
    sign: Callable[[TaskContext, int], None],
) -> None:
    """Files that are only hashed, because the store has them, change no progress."""

    def deed(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        for number in range(20):
            sign(context, number)
            threading.Event().wait(_DEADLINE / 5)
        return {"done": True}

    workers = InProcessWorkers({"worker-1": Scripted(upload=deed)})
    (outcome,) = _fanout(workers, outage_deadline=0.1).run([_call()])
    assert outcome.error is None
    assert workers.cancelled == []


@pytest.mark.parametrize("kind", [TaskKind.PREPARE, TaskKind.SNAPSHOT, TaskKind.RELEASE])
def test_command_of_cassandra_may_take_as_long_as_its_own_timeout(kind: TaskKind) -> None:
    """A flush that is slow was cancelled after stall_deadline, though nodetool waits longer."""

    def deed(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        with context.command_of_cassandra():
            threading.Event().wait(_DEADLINE * 3)
        return {"done": True}

    workers = InProcessWorkers({"worker-1": Scripted(**{kind.value: deed})})
    (outcome,) = _fanout(workers, outage_deadline=0.1).run([_call(kind)])
    assert outcome.error is None
    assert workers.cancelled == []


def test_command_that_always_ends_by_its_timeout_ends_the_step() -> None:
    """The wait for it is no progress that ends a time of trouble."""

    def deed(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        with context.command_of_cassandra():
            threading.Event().wait(_DEADLINE)
        raise CassandraUnavailable("nodetool flush timed out")

    workers = InProcessWorkers({"worker-1": Scripted(prepare=deed)})
    (outcome,) = _fanout(workers, outage_deadline=0.1).run([_call(TaskKind.PREPARE)])
    assert isinstance(outcome.error, StillUnavailable)
    assert "nodetool flush timed out" in str(outcome.error)


@pytest.mark.parametrize("kind", [TaskKind.RESTORE_IMPORT, TaskKind.RESTORE_REPAIR])
def test_work_of_cassandra_may_take_any_time(kind: TaskKind) -> None:
    def deed(arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        threading.Event().wait(_DEADLINE * 3)
        return {"done": True}

    workers = InProcessWorkers({"worker-1": Scripted(**{kind.value: deed})})
    (outcome,) = _fanout(workers, outage_deadline=0.1).run([_call(kind)])
    assert outcome.error is None


def test_a_download_that_hangs_ends_the_step() -> None:
    """A disk of a node that hangs held a restore, and its cluster, for ever."""
    workers = InProcessWorkers({"worker-1": Scripted(restore_download=until_cancelled)})
    (outcome,) = _fanout(workers, outage_deadline=0.1).run([_call(TaskKind.RESTORE_DOWNLOAD)])
    assert isinstance(outcome.error, StillUnavailable)
    assert "the restore_download task made no progress" in str(outcome.error)

# SPDX-License-Identifier: Apache-2.0
"""Reports to a conductor, and its waking, over the bus."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import oslo_messaging
import pytest

from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.errors import DatabaseUnavailable, WorkerUnavailable
from magnetodb_backup.messaging.bus import CONDUCTOR_TOPIC
from magnetodb_backup.messaging.conductor import ConductorClient, ConductorEndpoint
from magnetodb_backup.messaging.endings import TaskEndings
from magnetodb_backup.tasks.kinds import TaskState, TaskStatus
from tests.lab.processes import wait_for
from tests.unit.domain.samples import BACKUP_ID, REPORT
from tests.unit.messaging.conftest import Serve


class Conductor:
    """Remembers what it was told."""

    def __init__(self, *live: str) -> None:
        self.reports: list[NodeReport] = []
        self.woken = 0
        self.endings = TaskEndings()
        self._live = live

    def take_report(self, report: NodeReport) -> tuple[str, ...]:
        self.reports.append(report)
        return self._live

    def ended_restores(self, restores: Collection[str]) -> Mapping[str, bool]:
        return {restore: restore == "failed" for restore in restores if restore != "foreign"}

    def wake(self) -> None:
        self.woken += 1


def start(serve: Serve, name: str, conductor: Conductor) -> None:
    endpoint = ConductorEndpoint(
        conductor.take_report, conductor.ended_restores, conductor.wake, conductor.endings
    )
    serve(CONDUCTOR_TOPIC, name, endpoint)


@pytest.mark.parametrize(
    "report",
    [REPORT, replace(REPORT, member=None, directories=(), problem="Cassandra does not answer")],
    ids=["well", "in trouble"],
)
def test_a_report_arrives_whole_and_is_answered(
    transport: Any, serve: Serve, report: NodeReport
) -> None:
    conductor = Conductor(BACKUP_ID, "another")
    start(serve, "c1", conductor)
    assert ConductorClient(transport).report(report) == {BACKUP_ID, "another"}
    assert conductor.reports == [report]


def test_one_of_several_conductors_takes_a_report(transport: Any, serve: Serve) -> None:
    conductors = [Conductor(), Conductor()]
    for number, conductor in enumerate(conductors):
        start(serve, f"c{number}", conductor)
    assert ConductorClient(transport).report(REPORT) == frozenset()
    assert sum(len(c.reports) for c in conductors) == 1


def test_all_conductors_are_woken(transport: Any, serve: Serve) -> None:
    conductors = [Conductor(), Conductor()]
    for number, conductor in enumerate(conductors):
        start(serve, f"c{number}", conductor)
    ConductorClient(transport).look_for_jobs()
    wait_for(
        lambda: [c.woken for c in conductors] == [1, 1],
        deadline=20,
        what="both are woken",
        interval=0.01,
    )


def test_waking_needs_nobody(transport: Any) -> None:
    ConductorClient(transport).look_for_jobs()


def test_a_report_without_a_conductor_is_an_error(transport: Any) -> None:
    with pytest.raises(WorkerUnavailable, match=r"^the conductor did not answer; is it running"):
        ConductorClient(transport, timeout=0.1).report(REPORT)


def test_a_conductor_without_its_database_leaves_no_answer_that_clears_snapshots(
    transport: Any, serve: Serve
) -> None:
    class Broken(Conductor):
        def take_report(self, report: NodeReport) -> tuple[str, ...]:
            raise DatabaseUnavailable("the database does not answer")

    start(serve, "c1", Broken())
    with pytest.raises(DatabaseUnavailable):
        ConductorClient(transport).report(REPORT)


def test_ended_restores(transport: Any, serve: Serve) -> None:
    start(serve, "c1", Conductor())
    found = ConductorClient(transport).ended_restores(["failed", "cancelled", "foreign"])
    assert found == {"failed": True, "cancelled": False}


def test_conductor_of_an_older_release_knows_of_no_ended_restore(
    transport: Any, serve: Serve
) -> None:
    """The worker must not take this for an answer."""

    class Older:
        target = oslo_messaging.Target(version="1.1")

    serve(CONDUCTOR_TOPIC, "c1", Older())
    with pytest.raises(WorkerUnavailable, match="the conductor failed to answer"):
        ConductorClient(transport).ended_restores(["failed"])


def test_only_these_methods_are_offered() -> None:
    exposed = {
        name
        for name in dir(ConductorEndpoint)
        if getattr(getattr(ConductorEndpoint, name), "exposed", False)
    }
    assert exposed == {"report", "ended_restores", "look_for_jobs", "task_ended"}


@pytest.mark.parametrize(("size", "whole"), [(10, True), (100_000, False)])
def test_the_end_of_a_task_reaches_the_conductor_that_waits(
    transport: Any, serve: Serve, size: int, whole: bool
) -> None:
    """A result that is too large for a message is left out."""
    conductors = [Conductor(), Conductor()]
    heard: list[tuple[int, str, str, TaskStatus | None]] = []
    with ExitStack() as listening:
        for number, conductor in enumerate(conductors):
            start(serve, f"c{number}", conductor)
            listening.enter_context(
                conductor.endings.listening(lambda *end, n=number: heard.append((n, *end)))
            )
        status = TaskStatus(TaskState.DONE, result={"text": "x" * size})
        ConductorClient(transport).task_ended("c1", "w1", "task:1", status)
        wait_for(lambda: bool(heard), deadline=20, what="the message", interval=0.01)
    assert heard == [(1, "w1", "task:1", status if whole else None)]
    conductors[1].endings.publish("w1", "task:1", status)
    assert len(heard) == 1, "a listener that left is not called"


def test_the_end_of_a_task_needs_no_conductor(transport: Any) -> None:
    ConductorClient(transport).task_ended("gone", "w1", "t", TaskStatus(TaskState.DONE))

# SPDX-License-Identifier: Apache-2.0
"""The loop that begins the backups of schedules, with a clock that the test sets."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.conductor.schedules import ScheduleLoop
from magnetodb_backup.database import Database, connect
from magnetodb_backup.database.scheduling import Survey
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.schedule.records import RunStatus, ScheduleStatus
from magnetodb_backup.errors import DatabaseUnavailable
from tests.lab.catalogue import Clock, catalogue, job_of, recorded, url_in
from tests.lab.processes import wait_for
from tests.lab.schedules import backups_of, runs_of, scheduled
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.conductors import Start
from tests.unit.worker.fake_cql import CLUSTER as NAME_OF_CLUSTER

HOUR = 3600.0


def seconds(*numbers: int) -> float:
    return datetime(*numbers, tzinfo=timezone.utc).timestamp()  # type: ignore[misc,arg-type]


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = seconds(2026, 12, 1)
    return clock


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    with catalogue(tmp_path, clock) as database:
        yield database


class Woken:
    """Counts how often the loop of jobs was woken."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def loop(database: Database, woken: Woken) -> ScheduleLoop:
    return ScheduleLoop(database, woken, interval=10, stopping=threading.Event())


def complete(database: Database, backup_id: str) -> None:
    database.backups.set_status(backup_id, BackupStatus.CREATED)


def test_a_backup_begins_at_its_time(
    database: Database, clock: Clock, loop: ScheduleLoop, woken: Woken
) -> None:
    schedule = scheduled(
        database, scope={"type": "keyspaces", "keyspaces": ["k"]}, allow_partial=True,
        on_corrupt="mark", figures=True, data_centers=["dc1"],
    )  # fmt: skip
    clock.now = seconds(2026, 12, 1, 1, 59, 55)
    assert loop.look() == 5
    assert (backups_of(database), woken.count) == ((), 0)
    clock.now += 5
    assert loop.look() == 10
    (backup,) = backups_of(database)
    assert (backup.name, backup.cluster) == ("nightly-20261201T020000Z", "Test Cluster")
    assert backup.scope == {"type": "keyspaces", "keyspaces": ["k"]}
    assert (backup.allow_partial, backup.on_corrupt, backup.figures) == (True, "mark", True)
    assert backup.data_centers == ("dc1",)
    assert job_of(database, backup.id).cluster == "Test Cluster"
    (run,) = runs_of(database, schedule)
    assert (run.status, run.backup_id, run.reason) == (RunStatus.RUNNING, backup.id, "")
    assert woken.count == 1
    for _ in range(3):
        loop.look()
        clock.now += HOUR
    assert backups_of(database) == (backup,)
    assert woken.count == 1


@pytest.mark.parametrize("status", [s for s in RunStatus if s.value in BackupStatus.__members__])
def test_a_run_ends_as_its_backup(
    database: Database, clock: Clock, loop: ScheduleLoop, status: RunStatus
) -> None:
    schedule = scheduled(database)
    clock.now += 2 * HOUR
    loop.look()
    (backup,) = backups_of(database)
    ended = database.backups.set_status(backup.id, BackupStatus(status.value), error="why")
    (run,) = runs_of(database, schedule)
    assert (run.status, run.reason, run.finished_at) == (status, "why", ended.finished_at)
    database.backups.set_status(backup.id, BackupStatus.DELETING)
    database.backups.set_status(backup.id, BackupStatus.DELETED)
    assert runs_of(database, schedule) == (run,)


def test_a_name_that_is_taken_does_not_matter(
    database: Database, clock: Clock, loop: ScheduleLoop
) -> None:
    schedule = scheduled(database)
    taken = recorded(database, "other", name="nightly-20261201T020000Z")
    clock.now += 2 * HOUR
    loop.look()
    (run,) = runs_of(database, schedule)
    assert run.backup_id != taken.id
    assert database.backups.get(run.backup_id).name == ""


def test_a_run_waits_for_another_backup_of_the_cluster(
    database: Database, clock: Clock, loop: ScheduleLoop
) -> None:
    first, second = scheduled(database), scheduled(database, name="second", cron="5 2 * * *")
    other = scheduled(database, "other", name="other", cron="5 2 * * *")
    clock.now = seconds(2026, 12, 1, 2)
    loop.look()
    (run,) = runs_of(database, first)
    clock.now = seconds(2026, 12, 1, 2, 20)
    loop.look()
    assert runs_of(database, second) == ()
    assert len(runs_of(database, other)) == 1
    state = database.schedules.state(second.id)
    assert (state.waiting_for, state.last_run) == (run.backup_id, None)
    assert state.due_since is not None
    assert (state.due_since.hour, state.due_since.minute) == (2, 5)
    complete(database, run.backup_id)
    loop.look()
    (waited,) = runs_of(database, second)
    assert (waited.planned_at.minute, waited.status) == (5, RunStatus.RUNNING)
    state = database.schedules.state(second.id)
    assert (state.waiting_for, state.due_since, state.last_run) == ("", None, waited)


def test_rules_for_overlaps_and_missed_runs(
    database: Database, clock: Clock, loop: ScheduleLoop
) -> None:
    skipping = scheduled(database, name="skipping", overlap="skip")
    missing = scheduled(database, name="missing", missed="skip", begin_within=60)
    blocking = database.scheduling.run_now(scheduled(database, name="first", paused=True).id)
    clock.now = seconds(2026, 12, 1, 2)
    loop.look()
    (run,) = runs_of(database, skipping)
    assert (run.status, run.backup_id) == (RunStatus.SKIPPED, "")
    assert run.reason == f"backup {blocking.backup_id} of the cluster was not complete"
    assert run.finished_at == run.decided_at
    assert runs_of(database, missing) == ()
    clock.now += 61
    loop.look()
    (run,) = runs_of(database, missing)
    assert (run.status, run.backup_id) == (RunStatus.MISSED, "")
    assert run.reason.startswith("late by 61 s, 60 s are allowed: backup")
    assert len(backups_of(database)) == 1


def test_after_an_outage_one_run_is_made_up_for(
    database: Database, clock: Clock, loop: ScheduleLoop
) -> None:
    running = scheduled(database, name="running", cron="0 * * * *")
    skipping = scheduled(database, "other", name="skipping", missed="skip")
    clock.now = seconds(2026, 12, 9, 7, 59)
    loop.look()
    (run,) = runs_of(database, running)
    assert (run.planned_at.day, run.planned_at.hour) == (9, 7)
    assert "from 2026-12-01 01:00:00 UTC on were left out" in run.reason
    (missed,) = runs_of(database, skipping)
    assert (missed.status, missed.planned_at.day) == (RunStatus.MISSED, 9)


def test_a_backup_that_is_not_complete_in_time_is_cancelled(
    database: Database, clock: Clock, loop: ScheduleLoop, woken: Woken
) -> None:
    schedule = scheduled(database, finish_within=600)
    clock.now = seconds(2026, 12, 1, 2)
    loop.look()
    (backup,) = backups_of(database)
    clock.now += 600
    loop.look()
    assert not job_of(database, backup.id).cancel_requested
    clock.now += 1
    loop.look()
    assert job_of(database, backup.id).cancel_requested
    assert woken.count == 2
    loop.look()
    assert woken.count == 2
    database.backups.set_status(backup.id, BackupStatus.CANCELLED, error="cancelled on request")
    (run,) = runs_of(database, schedule)
    assert run.status is RunStatus.CANCELLED
    assert run.reason == (
        "cancelled because it was not complete by 2026-12-01 02:10:00 UTC; cancelled on request"
    )


def test_a_backup_that_is_complete_in_time_is_not_cancelled(
    database: Database, clock: Clock, loop: ScheduleLoop
) -> None:
    scheduled(database, finish_within=600)
    clock.now = seconds(2026, 12, 1, 2)
    loop.look()
    (backup,) = backups_of(database)
    complete(database, backup.id)
    clock.now += 601
    loop.look()
    assert not job_of(database, backup.id).cancel_requested


def test_paused_schedules_begin_nothing(
    database: Database, clock: Clock, loop: ScheduleLoop
) -> None:
    schedule = scheduled(database, cron="0 * * * *")
    database.schedules.set_status(schedule.id, ScheduleStatus.PAUSED)
    clock.now += 2.5 * HOUR
    assert loop.look() == 10
    assert runs_of(database, schedule) == ()
    database.schedules.set_status(schedule.id, ScheduleStatus.ACTIVE)
    loop.look()
    assert runs_of(database, schedule) == ()  # the hours of the pause were not missed
    clock.now += 0.5 * HOUR
    loop.look()
    assert [run.planned_at.hour for run in runs_of(database, schedule)] == [3]


def test_a_clock_that_is_set_back_repeats_nothing(
    database: Database, clock: Clock, loop: ScheduleLoop
) -> None:
    schedule = scheduled(database, cron="0 * * * *")

    def run_to(end: float) -> list[int]:
        while clock.now < end:
            clock.now += 300
            loop.look()
            for backup in backups_of(database):
                if backup.status is BackupStatus.CREATING:
                    complete(database, backup.id)
        return [run.planned_at.hour for run in runs_of(database, schedule)]

    assert run_to(seconds(2026, 12, 1, 3, 30)) == [3, 2, 1]
    clock.now = seconds(2026, 12, 1, 1, 30)
    assert run_to(seconds(2026, 12, 1, 4, 30)) == [4, 3, 2, 1]


def test_a_clock_that_was_wrong_for_years_stops_no_schedule(
    database: Database, clock: Clock, loop: ScheduleLoop
) -> None:
    schedule = scheduled(database)
    clock.now = seconds(2036, 7, 1, 12)
    loop.look()
    clock.now = seconds(2026, 12, 1, 12)
    loop.look()
    complete(database, backups_of(database)[0].id)
    clock.now = seconds(2026, 12, 2, 2)
    loop.look()
    planned = {f"{run.planned_at:%Y-%m-%d}" for run in runs_of(database, schedule)}
    assert planned == {"2036-07-01", "2026-12-02"}


# Several conductors.


@contextmanager
def beside(tmp_path: Path, clock: Callable[[], float], count: int) -> Iterator[list[Database]]:
    databases = [connect(url_in(tmp_path), clock) for _ in range(count)]
    yield databases
    for database in databases:
        database.close()


def at_once(works: list[Callable[[], Any]]) -> list[Exception]:
    """Run functions in threads that begin at the same time; return their errors."""
    barrier, errors = threading.Barrier(len(works)), []

    def run(work: Callable[[], Any]) -> None:
        barrier.wait(30)
        try:
            work()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def test_conductors_that_look_at_the_same_second_make_one_backup(
    tmp_path: Path, database: Database, clock: Clock
) -> None:
    schedules = [
        scheduled(database, str(n), name=f"s{n}", cron="0 * * * *", overlap="skip")
        for n in range(3)
    ]
    with beside(tmp_path, clock, 4) as databases:
        loops = [
            ScheduleLoop(d, lambda: None, interval=10, stopping=threading.Event())
            for d in databases
        ]
        for hour in range(1, 6):
            clock.now = seconds(2026, 12, 1, hour)
            assert at_once([loop.look for loop in loops]) == []
            backups = backups_of(database)
            assert len(backups) == hour * len(schedules)
            assert len({backup.name for backup in backups}) == len(backups)
            for backup in backups:
                if backup.status is BackupStatus.CREATING:
                    complete(database, backup.id)
            assert at_once([loop.look for loop in loops]) == []
            assert len(backups_of(database)) == len(backups)
    for schedule in schedules:
        assert [run.planned_at.hour for run in runs_of(database, schedule)] == [5, 4, 3, 2, 1]


def test_conductors_that_have_seen_the_same_make_one_backup(
    tmp_path: Path, database: Database, clock: Clock
) -> None:
    """One stops between its look and its claim, until another has claimed the time."""
    schedule = scheduled(database, overlap="skip")
    clock.now = seconds(2026, 12, 1, 2)
    with beside(tmp_path, clock, 2) as databases:
        seen = [d.scheduling.survey() for d in databases]
        assert seen[0] == seen[1]
        first, second = (d.scheduling.advance(schedule.id) for d in databases)
    assert first is not None
    assert second is None
    assert runs_of(database, schedule) == (first,)
    assert len(backups_of(database)) == 1


def wait_for_backups(database: Database, count: int) -> None:
    wait_for(
        lambda: len(backups_of(database)) >= count,
        deadline=60, what=f"{count} backups", interval=0.02,
    )  # fmt: skip


def test_loops_side_by_side(tmp_path: Path, database: Database, clock: Clock) -> None:
    schedule = scheduled(database, cron="*/10 * * * *")
    stopping = threading.Event()
    with beside(tmp_path, clock, 2) as databases:
        loops = [ScheduleLoop(d, lambda: None, interval=0.02, stopping=stopping) for d in databases]
        threads = [threading.Thread(target=loop.run) for loop in loops]
        for thread in threads:
            thread.start()
        for number in range(1, 11):
            clock.now += 600
            wait_for_backups(database, number)
            complete(database, runs_of(database, schedule)[0].backup_id)
        stopping.set()
        for loop, thread in zip(loops, threads, strict=True):
            loop.wake()
            thread.join(30)
            assert not thread.is_alive()
    assert len(backups_of(database)) == len(runs_of(database, schedule)) == 10
    assert {run.status for run in runs_of(database, schedule)} == {RunStatus.CREATED}


# With the loop of jobs.


def wait_for_end(cluster: Cluster, backup_id: str) -> None:
    wait_for(
        lambda: job_of(cluster.database, backup_id).status.finished,
        deadline=60, what="the end of the job", interval=0.02,
    )  # fmt: skip


def test_from_the_planned_time_to_the_backup(cluster: Cluster, start: Start) -> None:
    conductor = start(poll_interval=3600)
    schedule = scheduled(cluster.database, NAME_OF_CLUSTER, cron="*/10 * * * *", missed="skip")
    loop = ScheduleLoop(
        cluster.database, conductor.loop.wake, interval=10, stopping=threading.Event()
    )
    for number in range(1, 3):
        cluster.clock.now += 600
        for node in cluster.nodes:
            cluster.report(node)
        loop.look()
        newest = runs_of(cluster.database, schedule)[0].backup_id
        wait_for_end(cluster, newest)
        runs = runs_of(cluster.database, schedule)
        assert [run.status for run in runs] == [RunStatus.CREATED] * number
        backup = cluster.database.backups.get(newest)
        assert (backup.status, runs[0].finished_at) == (BackupStatus.CREATED, backup.finished_at)
        assert cluster.repository.read_backup(newest).backup_id == newest


# Trouble.


class Failing:
    """A database whose looks fail some times, and then stop the loop."""

    def __init__(self, stopping: threading.Event, errors: list[Exception]) -> None:
        self.scheduling = self
        self._stopping, self._errors = stopping, errors

    def survey(self) -> Survey:
        if not self._errors:
            self._stopping.set()
            return Survey(datetime(2026, 12, 1, tzinfo=timezone.utc), (), {})
        raise self._errors.pop(0)

    def cancel_late(self) -> tuple[str, ...]:
        return ()


def test_outages_are_logged_once_and_end_nothing(caplog: pytest.LogCaptureFixture) -> None:
    stopping = threading.Event()
    errors: list[Exception] = [DatabaseUnavailable("no answer")] * 3 + [RuntimeError("odd")]
    database: Any = Failing(stopping, errors)
    loop = ScheduleLoop(database, lambda: None, interval=0.01, stopping=stopping)
    with caplog.at_level(logging.WARNING):
        loop.run()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "cannot look at the schedules: no answer",
        "looking at the schedules failed; the next look follows",
    ]


def test_a_schedule_that_cannot_be_used_here_stops_no_other(
    database: Database, clock: Clock, loop: ScheduleLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """The zones of another machine may be newer."""
    wrong = scheduled(database, name="wrong", zone="Mars/Olympus")
    right = scheduled(database, name="right")
    clock.now += 2 * HOUR
    for _ in range(2):
        loop.look()
    assert len(runs_of(database, right)) == 1
    text = "zone is 'Mars/Olympus', which is no time zone"
    assert [r.getMessage().count(text) for r in caplog.records if wrong.id in r.getMessage()] == [1]

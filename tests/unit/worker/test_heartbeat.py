# SPDX-License-Identifier: Apache-2.0
"""What a worker reports, and which snapshots it removes by itself."""

from __future__ import annotations

import logging
import shutil
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.errors import BusUnavailable, CassandraUnavailable, UnsupportedPartitioner
from magnetodb_backup.tasks.kinds import TAKES_ROOM, TaskKind, TaskState, snapshot_tag
from magnetodb_backup.worker.service import WorkerService, spawn
from magnetodb_backup.worker.tasks import TaskContext, Tasks
from tests.lab.processes import wait_for
from tests.unit.cassandra.tree import table
from tests.unit.worker.fake_cql import CLUSTER, FakeCql
from tests.unit.worker.fake_node import HOST, FakeNode, member
from tests.unit.worker.reported import DEAD, LIVE, T, Worker, wait_failed


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


def test_report_of_a_healthy_node(worker: Worker) -> None:
    worker.reporter.report_once()
    (report,) = worker.conductor.reports
    assert (report.worker_id, report.cluster, report.node_control) == (
        "worker-1", CLUSTER, "nodetool",
    )  # fmt: skip
    assert report.hostname == socket.gethostname()
    assert report.member == worker.node.me
    assert [d.path for d in report.directories] == list(worker.node.data.names)
    assert (report.problem, report.stopping) == ("", False)
    assert NodeReport.from_json(report.as_json()) == report


def test_cassandra_that_is_down_keeps_its_name(worker: Worker) -> None:
    worker.reporter.report_once()
    worker.node.cql_down = True
    worker.reporter.report_once()
    report = worker.conductor.reports[-1]
    assert report.problem == "Cassandra does not answer CQL"
    assert (report.member, report.cluster) == (worker.node.me, CLUSTER)


def test_cassandra_that_was_never_up(worker: Worker) -> None:
    worker.node.cql_down = True
    worker.reporter.report_once()
    (report,) = worker.conductor.reports
    assert (report.member, report.cluster, report.directories) == (None, "", ())
    assert report.problem


def test_a_partitioner_that_is_not_supported_is_named(worker: Worker) -> None:
    """``status check`` shows the reported problem; the worker does not stay silent."""

    def refuse(_: FakeNode) -> FakeCql:
        raise UnsupportedPartitioner("the cluster uses ByteOrderedPartitioner, which is not")

    worker.node.make_cql = refuse
    worker.reporter.report_once()
    (report,) = worker.conductor.reports
    assert "ByteOrderedPartitioner" in report.problem
    assert not report.down


def _gone(path: Path) -> None:
    shutil.rmtree(path)


def _unreadable(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to(path)  # like missing permissions, but for root too


@pytest.mark.parametrize("spoil", [_gone, _unreadable])
def test_data_directory_that_cannot_be_read_is_reported(
    worker: Worker, spoil: Callable[[Path], None]
) -> None:
    worker.reporter.report_once()
    spoil(worker.node.data.paths[1])
    worker.reporter.report_once()
    problem = worker.conductor.reports[-1].problem
    assert f"data directory {worker.node.data.paths[1]}: " in problem
    assert "check [cassandra] data_directories" in problem


def test_wrong_node_is_reported_and_its_tasks_end(worker: Worker) -> None:
    worker.reporter.report_once()
    worker.node.me = replace(worker.node.me, host_id=member(2).host_id)
    with worker.task():
        worker.reporter.report_once()
        assert f"this worker belongs to {HOST}" in worker.conductor.reports[-1].problem
        wait_failed(worker, "WrongNode")


def test_full_disk_is_reported_and_stops_the_upload(tmp_path: Path) -> None:
    """The watchdog: the snapshot must go before Cassandra has no room to write."""
    worker = Worker(tmp_path, head_room_percent=100.0)
    with worker.task():
        worker.reporter.report_once()
        assert "[worker] head_room_percent = 100" in worker.conductor.reports[-1].problem
        wait_failed(worker, "NoSpace")


@pytest.mark.parametrize("kind", sorted(set(TaskKind) - TAKES_ROOM))
def test_full_disk_ends_only_what_takes_room(tmp_path: Path, kind: TaskKind) -> None:
    """An import renames files: its end would free nothing, and leave the tables truncated."""
    worker = Worker(tmp_path, head_room_percent=100.0)
    worker.tasks.start("task", kind, {})
    worker.reporter.report_once()
    assert "[worker] head_room_percent = 100" in worker.conductor.reports[-1].problem
    (context,) = worker.tasks.running()
    context.raise_if_cancelled()
    worker.tasks.cancel("task")


def test_full_disk_ends_a_download(tmp_path: Path) -> None:
    worker = Worker(tmp_path, head_room_percent=100.0)
    worker.tasks.start("task", TaskKind.RESTORE_DOWNLOAD, {})
    worker.reporter.report_once()
    wait_failed(worker, "NoSpace")


def test_passing_trouble_ends_no_task(worker: Worker) -> None:
    worker.node.cql_down = True
    with worker.task():
        worker.reporter.report_once()
        (context,) = worker.tasks.running()
        context.raise_if_cancelled()


# Left-over snapshots.


def test_snapshots_of_dead_backups_are_removed(worker: Worker) -> None:
    tags = {
        "live": snapshot_tag(LIVE, 2),
        "dead": snapshot_tag(DEAD, 1),
        "foreign": "mdbb-by-hand",
        "cassandra's": "truncated-123-t",
    }
    for tag in tags.values():
        worker.node.data.snapshot(1, T, tag)
    worker.node.data.snapshot(0, table("dropped", "t", 99), tags["dead"])
    worker.reporter.report_once()
    assert worker.released == [tags["dead"]]
    assert not worker.node.snapshots(tags["dead"])
    assert all(worker.node.snapshots(tags[t]) for t in ("live", "foreign", "cassandra's"))


def test_snapshot_of_a_running_task_stays(worker: Worker) -> None:
    tag = snapshot_tag(DEAD, 1)
    worker.node.data.snapshot(0, T, tag)
    with worker.task(tag):
        worker.reporter.report_once()
        assert worker.node.snapshots(tag)


def test_task_of_a_dead_backup_ends_and_its_snapshot_goes(worker: Worker) -> None:
    """The conductor gave up while nobody reached this worker; the upload would take hours."""
    dead, live = snapshot_tag(DEAD, 1), snapshot_tag(LIVE, 1)
    for tag in (dead, live):
        worker.node.data.snapshot(0, T, tag)
    worker.tasks.start("other", TaskKind.UPLOAD, {"tag": live})
    with worker.task(dead):
        worker.reporter.report_once()
        wait_failed(worker, "Cancelled")
    worker.reporter.report_once()
    assert worker.released == [dead]
    assert worker.tasks.status("other").state is TaskState.RUNNING
    worker.tasks.cancel("other")


def test_snapshot_that_is_taken_meanwhile_stays(worker: Worker) -> None:
    """The answer is older than the snapshot; only the next one may speak of it."""
    tag = snapshot_tag(DEAD, 1)

    def snapshot() -> None:
        worker.node.data.snapshot(0, T, tag)

    worker.conductor.on_report = snapshot
    worker.reporter.report_once()
    assert worker.node.snapshots(tag)
    worker.conductor.on_report = lambda: None
    worker.reporter.report_once()
    assert not worker.node.snapshots(tag)


def test_nothing_is_removed_while_nobody_answers(worker: Worker) -> None:
    tag = snapshot_tag(DEAD, 1)
    worker.node.data.snapshot(0, T, tag)

    def fail() -> None:
        raise BusUnavailable("no broker")

    worker.conductor.on_report = fail
    with pytest.raises(BusUnavailable):
        worker.reporter.report_once()
    assert worker.node.snapshots(tag)


def test_snapshot_that_cannot_be_removed_keeps_no_other(worker: Worker) -> None:
    tags = [snapshot_tag(DEAD, number) for number in range(1, 4)]
    for tag in tags:
        worker.node.data.snapshot(0, T, tag)
    worker.node.clears_nothing = True
    with pytest.raises(CassandraUnavailable, match="still on disk"):
        worker.reporter.report_once()
    assert worker.released == tags
    assert len(worker.conductor.reports) == 1


# The loop.


def _run(worker: Worker) -> Callable[[], None]:
    class Server:
        def start(self) -> None: ...
        def stop(self) -> None: ...
        def wait(self) -> None: ...

    service = WorkerService(Server(), worker.reporter)
    service.start()
    return service.stop


def _wait_reports(worker: Worker, count: int) -> None:
    wait_for(
        lambda: len(worker.conductor.reports) >= count,
        deadline=10,
        what=f"{count} reports",
        interval=0.01,
    )


def test_reports_go_on_and_end_with_a_goodbye(worker: Worker) -> None:
    stop = _run(worker)
    _wait_reports(worker, 3)
    stop()
    last = worker.conductor.reports[-1]
    assert last.stopping
    assert not any(r.stopping for r in worker.conductor.reports[:-1])
    assert replace(last, stopping=False) == worker.conductor.reports[-2]


@pytest.mark.parametrize("error", [BusUnavailable("no broker"), RuntimeError("a bug")])
def test_reports_go_on_after_errors(worker: Worker, error: Exception) -> None:
    def fail() -> None:
        if len(worker.conductor.reports) < 3:
            raise error

    worker.conductor.on_report = fail
    stop = _run(worker)
    _wait_reports(worker, 5)
    stop()


def test_lasting_trouble_is_logged_once(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def fail() -> None:
        if len(worker.conductor.reports) < 4:
            raise BusUnavailable("no broker")

    worker.conductor.on_report = fail
    stop = _run(worker)
    _wait_reports(worker, 6)
    stop()
    assert caplog.text.count("cannot report: BusUnavailable: no broker") == 1
    assert caplog.text.count("reports reach the conductor again") == 1


def test_stopping_does_not_wait_for_a_conductor(worker: Worker) -> None:
    def fail() -> None:
        raise BusUnavailable("no broker")

    worker.conductor.on_report = fail
    stop = _run(worker)
    _wait_reports(worker, 1)
    stop()
    assert worker.conductor.reports[-1].stopping


class _Hanging:
    """Work that does not notice its cancellation."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        self.end.wait(30)
        return {}


def test_stuck_task_is_a_problem_of_the_node(tmp_path: Path) -> None:
    """A backup names it at its begin, instead of waiting behind it."""
    work = _Hanging()
    worker = Worker(tmp_path, tasks=Tasks(work, spawn, stuck_after=0.0))
    worker.tasks.start("job:1:upload:1", TaskKind.UPLOAD, {})
    assert worker.reporter.look().problem == ""
    worker.tasks.cancel("job:1:upload:1")
    assert "does not end; look for a disk" in worker.reporter.look().problem
    work.end.set()

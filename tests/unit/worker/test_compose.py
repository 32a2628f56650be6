# SPDX-License-Identifier: Apache-2.0
"""A composed worker is whole: its reporter, its task table and its handlers know each other."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.files.staging import ROOT, Staging
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, snapshot_tag
from magnetodb_backup.worker.compose import Worker, compose_worker
from magnetodb_backup.worker.heartbeat import ReportSettings
from tests.lab.processes import wait_for
from tests.unit.repository.stores import Store
from tests.unit.worker.fake_control import FakeControl
from tests.unit.worker.fake_node import HOST, FakeNode
from tests.unit.worker.reported import DEAD, LIVE, Conductor
from tests.unit.worker.working import node_parts, worker_settings


class Composed:
    """A worker of a node of directories, and the conductor that it reports to."""

    def __init__(self, root: Path) -> None:
        self.node, self.conductor = FakeNode(root), Conductor()
        state_dir = root / "state"
        self.worker: Worker = compose_worker(
            node_parts(self.node, Store(), state_dir),
            self.conductor,
            worker_settings(state_dir),
            ReportSettings("worker-1", "nodetool", interval=0.02, head_room_percent=0.0),
        )


@pytest.fixture
def composed(tmp_path: Path) -> Composed:
    return Composed(tmp_path)


def test_report_names_the_worker_and_its_node(composed: Composed) -> None:
    composed.worker.reporter.report_once()
    (report,) = composed.conductor.reports
    assert (report.worker_id, report.node_control) == ("worker-1", "nodetool")
    assert report.member == composed.node.me


def test_left_over_snapshots_and_staged_files_are_removed(composed: Composed) -> None:
    node = composed.node
    dead, live = snapshot_tag(DEAD, 1), snapshot_tag(LIVE, 1)
    for tag in (dead, live):
        FakeControl(node).take_snapshot(tag, [t.name for t in node.tables], ttl_seconds=None)
    staging = Staging(node.data.names, DEAD)
    staging.prepare()
    composed.worker.reporter.report_once()
    wait_for(lambda: not node.snapshots(dead), deadline=10, what="the removal", interval=0.01)
    assert node.snapshots(live)
    assert not any((path / ROOT / DEAD).exists() for path in node.data.paths)


def test_report_waits_for_no_command_of_cassandra(composed: Composed) -> None:
    """Finding 20: the worker seemed dead for as long as Cassandra took to clear a snapshot."""
    node, go_on = composed.node, threading.Event()
    dead = snapshot_tag(DEAD, 1)
    FakeControl(node).take_snapshot(dead, [t.name for t in node.tables], ttl_seconds=None)

    def wait() -> None:
        go_on.wait(30)

    node.on_clear = wait
    started = time.monotonic()
    for _ in range(3):
        composed.worker.reporter.report_once()
    assert time.monotonic() - started < 10
    assert len(composed.conductor.reports) == 3
    go_on.set()
    wait_for(lambda: not node.snapshots(dead), deadline=10, what="the removal", interval=0.01)


def test_task_table_performs_on_the_node(composed: Composed) -> None:
    tasks = composed.worker.tasks
    tasks.start("task", TaskKind.DESCRIBE, {"host_id": HOST})
    wait_for(
        lambda: tasks.status("task").state is TaskState.DONE,
        deadline=5,
        what="the task's end",
        interval=0.01,
    )


def test_end_of_a_task_is_sent_to_the_conductor_that_started_it(composed: Composed) -> None:
    composed.worker.tasks.start("task", TaskKind.DESCRIBE, {"host_id": HOST}, "conductor-2")
    ended = composed.conductor.ended
    wait_for(lambda: bool(ended), deadline=5, what="the message", interval=0.01)
    ((conductor, worker, task, status),) = ended
    assert (conductor, worker, task) == ("conductor-2", "worker-1", "task")
    assert status.state is TaskState.DONE

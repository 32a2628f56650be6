# SPDX-License-Identifier: Apache-2.0
"""The task that collects a container: alone in it, and only as long as a conductor asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.backup.collection import ContainerUse
from magnetodb_backup.errors import Cancelled, ConductorSilent, Conflict, InvalidValue
from magnetodb_backup.tasks.kinds import TaskKind, TaskState
from magnetodb_backup.worker.backup.containers import Containers
from magnetodb_backup.worker.remembered import NodeMemory
from magnetodb_backup.worker.tasks import TaskContext, Tasks
from tests.lab.processes import wait_for
from tests.unit.worker.fake_node import HOST, member
from tests.unit.worker.working import BACKUP, Working

STEPS = (TaskKind.PREPARE, TaskKind.SNAPSHOT, TaskKind.UPLOAD, TaskKind.RELEASE)
GONE = member(9).host_id


@pytest.fixture
def working(tmp_path: Path) -> Working:
    """A worker whose only backup is deleted; its packs are due."""
    working = Working(tmp_path)
    working.do_all(*STEPS)
    working.cluster.delete_backup(BACKUP, [HOST])
    assert collect(working, now=0.0).waiting_packs == 1
    return working


def arguments(**more: Any) -> dict[str, Any]:
    values = {"source": HOST, "known": [], "now": 1e6, "grace": 1e5, "lease": 60.0}
    return {**values, **more}


def collect(working: Working, context: TaskContext | None = None, **more: Any) -> ContainerUse:
    use: ContainerUse = working.do(TaskKind.COLLECT, context, **arguments(**more))
    return use


def test_packs_that_are_due_are_removed(working: Working) -> None:
    assert collect(working).freed_packs == 1
    assert working.repository.packs() == {}
    working.do_all(*STEPS, backup_id="bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb")
    assert len(working.repository.packs()) == 1  # it was uploaded again


def test_without_cassandra(working: Working) -> None:
    working.node.local(memory=NodeMemory(working.state_dir / "node.json")).known()
    working.node.cql_down = True
    assert collect(working).freed_packs == 1


class Silent(TaskContext):
    """A task that no conductor has asked for since an hour."""

    def unasked_for(self) -> float:
        return 3600.0


def test_nothing_is_deleted_once_the_conductor_is_silent(working: Working) -> None:
    with pytest.raises(ConductorSilent, match=r"no conductor has asked .* for 3600 s"):
        collect(working, Silent())
    assert len(working.repository.packs()) == 1


def test_cancelled_collection_deletes_nothing(working: Working) -> None:
    context = TaskContext()
    context.cancel()
    with pytest.raises(Cancelled):
        collect(working, context)
    assert len(working.repository.packs()) == 1


def test_each_question_of_a_conductor_counts() -> None:
    go_on = threading.Event()

    class Work:
        def perform(self, kind: TaskKind, arguments: Any, context: TaskContext) -> dict[str, Any]:
            go_on.wait(30)
            return {}

    tasks = Tasks(Work(), lambda run, name: threading.Thread(target=run, daemon=True).start())
    tasks.start("t", TaskKind.COLLECT, {})
    (context,) = tasks.running()
    questions: tuple[Callable[[], object], ...] = (
        lambda: tasks.status("t"),
        lambda: tasks.start("t", TaskKind.COLLECT, {}),
    )
    for ask in questions:
        context._asked_at = time.monotonic() - 100
        assert context.unasked_for() >= 100
        ask()
        assert context.unasked_for() < 100
    go_on.set()
    wait_for(lambda: tasks.status("t").state is TaskState.DONE, deadline=30, what="the end")


def test_trap_1_a_container_has_one_task_at_a_time(tmp_path: Path) -> None:
    containers, held = Containers(tmp_path), threading.Event()
    context = TaskContext()

    def hold() -> None:
        with containers.hold(HOST, context):
            held.set()

    with containers.hold(HOST, context):
        assert containers.is_held(HOST)
        thread = threading.Thread(target=hold)
        thread.start()
        with containers.hold(GONE, context):  # that of another node is free
            assert not held.is_set()
    thread.join(30)
    assert held.is_set()
    assert not containers.is_held(HOST)


def test_waiting_for_a_container_can_be_cancelled(tmp_path: Path) -> None:
    containers, context = Containers(tmp_path), TaskContext()
    context.cancel()
    with (
        containers.hold(HOST, TaskContext()),
        pytest.raises(Cancelled),
        containers.hold(HOST, context),
    ):
        raise AssertionError("two tasks hold one container")
    assert not containers.is_held(HOST)


def test_member_of_the_ring_is_not_collected_by_another_node(working: Working) -> None:
    working.node.members = (working.node.me, member(9))
    with pytest.raises(Conflict, match=f"node {GONE} is a member of the ring"):
        collect(working, source=GONE)
    working.node.members = (working.node.me,)
    assert collect(working, source=GONE).packs == 0


def test_report_beside_an_upload(working: Working) -> None:
    use = collect(working, report_only=True, beside_uploads=True, by_backup=True)
    assert (use.due_packs, use.freed_packs, use.in_use) == (1, 0, False)
    with pytest.raises(InvalidValue, match="beside an upload"):
        collect(working, beside_uploads=True)

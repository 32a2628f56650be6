# SPDX-License-Identifier: Apache-2.0
"""Work inside Cassandra is waited for as long as it makes progress, and to its end."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.tables import IndexDescription, TableName
from magnetodb_backup.errors import Cancelled, CommandFailed
from magnetodb_backup.tasks.cluster import SelectedTable
from magnetodb_backup.tasks.codec import encode
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.restore.waiting import Bounds, Remaining, wait_for_progress
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.worker.fake_node import FakeNode
from tests.unit.worker.restoring_node import RestoringNode, T

_NAME = TableName("ks", "by_name")
_VIEW = {"views": [["ks", "by_name"]], "indexes": []}
_STALL = 0.2  # seconds


@pytest.fixture
def restoring(tmp_path: Path) -> RestoringNode:
    return RestoringNode(tmp_path)


def _await(restoring: RestoringNode, **more: Any) -> None:
    arguments = {**_VIEW, "seconds": _STALL, **more}
    restoring.do(TaskKind.RESTORE_VIEWS, **arguments)


class _Builds:
    """A view that is built after some looks, each of which finds the build further."""

    def __init__(self, node: FakeNode, looks: int, *, moves: bool = True) -> None:
        self._node, self._looks, self._moves, self.seen = node, looks, moves, 0
        node.unbuilt.add(_NAME)
        node.on_look = self.look

    def look(self) -> None:
        self.seen += 1
        self._node.builds = {"build": self.seen if self._moves else 0}
        if self.seen >= self._looks:
            self._node.unbuilt.clear()
            self._node.unready.clear()
            self._node.builds = {}


def test_a_build_is_waited_for_while_it_makes_progress(restoring: RestoringNode) -> None:
    """A view that takes longer than the bound, but whose build goes forward, fails no restore."""
    builds = _Builds(restoring.node, looks=12)  # 0.6 s
    _await(restoring)
    assert builds.seen >= 12


def test_a_build_without_progress_ends_the_wait(restoring: RestoringNode) -> None:
    _Builds(restoring.node, looks=10_000, moves=False)
    with pytest.raises(CommandFailed) as failure:
        _await(restoring)
    assert "not ready: view ks.by_name, without progress for 0.2 s" in str(failure.value)
    assert "[conductor] build_stall_timeout" in str(failure.value)
    assert "nodetool viewbuildstatus" in str(failure.value)


def test_a_build_is_bounded_in_all_where_asked(restoring: RestoringNode) -> None:
    _Builds(restoring.node, looks=10_000)
    with pytest.raises(CommandFailed) as failure:
        _await(restoring, longest=0.3)
    assert "view ks.by_name after 0.3 s ([conductor] build_timeout)" in str(failure.value)


def test_an_index_after_an_offline_restore_is_waited_for_likewise(restoring: RestoringNode) -> None:
    node = restoring.node
    node.indexes = [IndexDescription(T, "by_word", "CUSTOM", "StorageAttachedIndex")]
    node.unready.add("by_word")
    builds = _Builds(node, looks=12)
    (table,) = [t for t in node.tables if t.name == T]
    tables = [encode(SelectedTable.of(table))]
    restoring.do(TaskKind.RESTORE_INDEXES, tables=tables, seconds=_STALL)
    assert builds.seen >= 12


@pytest.mark.parametrize("kept", ["batches", "hints"])
def test_view_updates_on_their_way_are_waited_for(restoring: RestoringNode, kept: str) -> None:
    """A built view lacks the rows whose updates are still in a batch log, or are hints."""
    node = restoring.node
    waiting = [node.now - 10 + each for each in range(8)]
    later = node.now + 1
    seen = []

    def look() -> None:
        seen.append(len(waiting))
        setattr(node, kept, [*waiting, later])
        del waiting[:1]

    node.on_look = look
    _await(restoring)
    assert not waiting
    assert seen[-1] == 0  # what is newer than the end of the build is not waited for


@pytest.mark.parametrize(
    ("kept", "named"),
    [("batches", "view updates in the batch log"), ("hints", "hints for other nodes")],
)
def test_view_updates_that_do_not_arrive_are_named(
    restoring: RestoringNode, kept: str, named: str
) -> None:
    setattr(restoring.node, kept, [restoring.node.now - 1])
    with pytest.raises(CommandFailed, match=named) as failure:
        _await(restoring)
    assert "are all nodes up?" in str(failure.value)


def test_a_wait_can_be_cancelled(restoring: RestoringNode) -> None:
    restoring.node.batches = [restoring.node.now - 1]
    restoring.node.on_look = restoring.context.cancel
    with pytest.raises(Cancelled):
        _await(restoring, seconds=3600)


def test_a_build_that_fails_again_and_again_ends_the_wait(restoring: RestoringNode) -> None:
    """Cassandra repeats a build that failed every 5 minutes: it gets as far as before."""
    node, looks = restoring.node, itertools.count()
    node.unbuilt.add(_NAME)

    def look() -> None:
        node.builds = {"ks.by_name 0": next(looks) % 4}

    node.on_look = look
    with pytest.raises(CommandFailed, match=r"without progress for 0\.2 s"):
        _await(restoring, longest=3)


def test_names_that_come_back_are_no_progress() -> None:
    looks = itertools.count()

    def look() -> Remaining:
        return Remaining(("a", "b")[: 1 + next(looks) % 2])

    with pytest.raises(CommandFailed, match=r"without progress for 0\.2 s"):
        wait_for_progress(look, Bounds(_STALL, 3), "look", TaskContext())

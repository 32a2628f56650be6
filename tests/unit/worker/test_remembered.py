# SPDX-License-Identifier: Apache-2.0
"""What a worker remembers of its node outlives the process, and stays private."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.errors import CassandraUnavailable, WrongNode
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.heartbeat import Reporter, ReportSettings
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.remembered import KnownNode, NodeMemory
from magnetodb_backup.worker.restore.keeping import StagingKeeper
from magnetodb_backup.worker.service import spawn
from magnetodb_backup.worker.tasks import TaskContext, Tasks
from tests.unit.worker.fake_control import FakeControl
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import HOST, FakeNode, member

KNOWN = KnownNode(CLUSTER, member(1), ("/data1", "/data2"), "/log", "/hints", "/caches")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.json"


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def local(node: FakeNode, path: Path) -> LocalNode:
    """Return the node as a new worker process sees it."""
    return LocalNode(
        node.connect,
        FakeControl(node),
        expected_host_id="",
        configured_directories=(),
        memory=NodeMemory(path),
    )


def test_it_is_kept(path: Path) -> None:
    NodeMemory(path).keep(KNOWN)
    assert NodeMemory(path).load() == KNOWN
    assert path.stat().st_mode & 0o777 == 0o600
    NodeMemory(path).keep(replace(KNOWN, hints_directory="/other"))
    assert NodeMemory(path).load() == replace(KNOWN, hints_directory="/other")


def test_what_is_known_is_not_written_again(path: Path) -> None:
    NodeMemory(path).keep(KNOWN)
    written = path.stat().st_mtime_ns, path.stat().st_ino
    NodeMemory(path).keep(KNOWN)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == written


def test_nothing_is_known_at_first(path: Path) -> None:
    assert NodeMemory(path).load() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"member": null}'])
def test_what_is_damaged_counts_as_nothing(
    path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(text)
    assert NodeMemory(path).load() is None
    assert "cannot be used" in caplog.text


def test_a_disk_that_takes_nothing_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = NodeMemory(tmp_path / "missing" / "node.json")
    memory.keep(KNOWN)
    assert "cannot be written" in caplog.text
    assert memory.load() is None


def test_node_that_does_not_answer_is_as_it_was_seen(node: FakeNode, path: Path) -> None:
    seen = local(node, path).known()
    assert seen.member == node.me
    assert seen.data_directories == node.data.names
    assert seen.hints_directory == str(node.data.paths[0].parent / "hints")
    node.cql_down = True
    assert local(node, path).known() == seen
    assert local(node, path).prove_known(HOST) == node.me


def test_node_that_was_never_seen(node: FakeNode, path: Path) -> None:
    node.cql_down = True
    with pytest.raises(CassandraUnavailable):
        local(node, path).known()
    with pytest.raises(CassandraUnavailable):
        local(node, path).prove_known(HOST)


class Nobody:
    """A conductor that is never asked, and work that is never done."""

    def report(self, report: NodeReport) -> frozenset[str]:
        raise AssertionError("nothing is reported here")

    def ended_restores(self, restores: Collection[str]) -> Mapping[str, bool]:
        raise AssertionError("nothing is asked here")

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        raise AssertionError("nothing is done here")


def reporter(node: FakeNode, path: Path) -> Reporter:
    return Reporter(
        local(node, path),
        Nobody(),
        Tasks(Nobody(), spawn),
        lambda tag: None,
        StagingKeeper(local(node, path), max_age=0.0),
        ReportSettings("worker-1", "nodetool", interval=1, head_room_percent=0),
    )


def test_worker_tells_of_its_node_after_a_restart_without_cassandra(
    node: FakeNode, path: Path
) -> None:
    before = reporter(node, path).look()
    assert (before.member, before.problem, before.down) == (node.me, "", False)
    node.cql_down = True
    report = reporter(node, path).look()
    assert (report.cluster, report.member, report.down) == (CLUSTER, node.me, True)
    assert "does not answer CQL" in report.problem
    assert NodeReport.from_json(report.as_json()) == report


def test_other_problems_are_not_a_node_that_is_down(node: FakeNode, path: Path) -> None:
    node.data.paths[1].rename(node.data.paths[1].with_name("away"))
    report = reporter(node, path).look()
    assert report.problem
    assert not report.down


def test_another_node_is_not_taken_for_it(node: FakeNode, path: Path) -> None:
    local(node, path).known()
    other = member(2).host_id
    with pytest.raises(WrongNode):
        local(node, path).prove_known(other)
    node.cql_down = True
    with pytest.raises(CassandraUnavailable):
        local(node, path).prove_known(other)

# SPDX-License-Identifier: Apache-2.0
"""Restores during which the ring changes, or is about to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from magnetodb_backup.domain.restore.records import Existing, RestoreStatus
from magnetodb_backup.errors import RingDiffers
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring, T
from tests.unit.worker.fake_node import member

JOINING = {"127.0.0.4": "joining"}


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    restoring = Restoring(cluster)
    restoring.add_row(2, T, b"newer")
    restoring.forget()
    return restoring


def _at(restoring: Restoring, kind: TaskKind, change: Callable[[], None]) -> None:
    def before_start(worker_id: str, started: TaskKind) -> None:
        if started is kind:
            change()

    restoring.cluster.workers.before_start = before_start


def _join(restoring: Restoring) -> None:
    """Let a fourth node join; one node sees it."""
    restoring.cluster.nodes[3].unsettled = dict(JOINING)


def _joined(restoring: Restoring) -> None:
    for node in restoring.cluster.nodes.values():
        node.unsettled = {}
        node.members = (*node.members[:3], member(4))


@pytest.mark.parametrize("state", ["joining", "leaving", "moving"])
def test_nothing_is_truncated_while_a_node_joins_leaves_or_moves(
    restoring: Restoring, state: str
) -> None:
    """A node that joins keeps what it got before, and gets nothing of what is imported."""
    before = restoring.rows()

    def change() -> None:
        restoring.cluster.nodes[3].unsettled = {"127.0.0.4": state}

    _at(restoring, TaskKind.RESTORE_DOWNLOAD, change)
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restoring.job(restore).error_code == "RingDiffers"
    assert restore.error.startswith(f"node 127.0.0.4 is {state} (seen by 127.0.0.3): nothing has")
    assert "repeat the restore once all nodes have joined" in restore.error
    assert restoring.rows() == before
    assert restoring.changes() == []


def test_nothing_is_truncated_if_a_node_has_joined_since_the_census(restoring: Restoring) -> None:
    before = restoring.rows()
    _at(restoring, TaskKind.RESTORE_DOWNLOAD, lambda: _joined(restoring))
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "does not see the ring of the census: it also has 127.0.0.4" in restore.error
    assert restoring.rows() == before


def test_nothing_is_truncated_if_a_node_has_moved_since_the_census(restoring: Restoring) -> None:
    before = restoring.rows()

    def move() -> None:
        node = restoring.cluster.nodes[1]
        node.members = (node.me, replace(node.members[1], tokens=(7,)), node.members[2])

    _at(restoring, TaskKind.RESTORE_DOWNLOAD, move)
    restore = restoring.restore(existing=Existing.REPLACE)
    assert "it has other tokens of 127.0.0.2" in restore.error
    assert restoring.rows() == before


@pytest.mark.parametrize("dry_run", [True, False])
def test_ring_that_changes_at_the_beginning(restoring: Restoring, dry_run: bool) -> None:
    for node in restoring.cluster.nodes.values():
        node.unsettled = dict(JOINING)
    restore = restoring.restore(existing=Existing.REPLACE, dry_run=dry_run)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restore.error == (
        "node 127.0.0.4 is joining; repeat the restore once the ring does not change"
    )
    assert restoring.changes() == []


def test_offline_nothing_is_stopped_while_a_node_joins(restoring: Restoring) -> None:
    _at(restoring, TaskKind.RESTORE_DOWNLOAD, lambda: _join(restoring))
    restore = restoring.restore(offline=True, existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "node 127.0.0.4 is joining" in restore.error
    assert restoring.told("drain", "stop", "cql DROP") == []


@pytest.mark.parametrize("joins_at", [TaskKind.RESTORE_TRUNCATE, TaskKind.RESTORE_IMPORT])
def test_after_the_truncation_a_joining_node_is_waited_for(
    restoring: Restoring, joins_at: TaskKind
) -> None:
    """It may give up: then the restore continues. What it waits for is shown."""
    restore = restoring.request(existing=Existing.REPLACE)
    node, seen = restoring.cluster.nodes[3], []

    def look() -> None:
        if node.unsettled:
            seen.append(restoring.cluster.database.restores.get(restore.id).waiting_for)
            if len(seen) == 3:
                node.unsettled = {}

    node.on_ring_look = look
    asked: list[str] = []

    def join() -> None:
        if not asked:
            asked.append("once")
            _join(restoring)

    _at(restoring, joins_at, join)
    ended = restoring.run(restore)
    assert (ended.status, ended.error) == (RestoreStatus.RESTORED, "")
    phase = "import" if joins_at is TaskKind.RESTORE_TRUNCATE else "cleanup"
    text = f"waits before {phase} until the ring is settled: node 127.0.0.4 is joining"
    assert seen[-1] == f"{text} (seen by 127.0.0.3)"
    assert restoring.rows() == restoring.saved


def test_node_that_has_joined_after_the_truncation(restoring: Restoring) -> None:
    _at(restoring, TaskKind.RESTORE_TRUNCATE, lambda: _joined(restoring))
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "it also has 127.0.0.4" in restore.error
    assert "the tables may be truncated, and no rows have been delivered" in restore.error


def test_node_that_has_joined_during_the_delivery(restoring: Restoring) -> None:
    """It lacks the restored rows: the restore does not report success."""
    _at(restoring, TaskKind.RESTORE_IMPORT, lambda: _joined(restoring))
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "it also has 127.0.0.4" in restore.error
    assert "run nodetool repair --full on all nodes" in restore.error


def test_waiting_for_a_joining_node_can_be_cancelled(restoring: Restoring) -> None:
    restore = restoring.request(existing=Existing.REPLACE)
    _at(restoring, TaskKind.RESTORE_TRUNCATE, lambda: _join(restoring))
    node = restoring.cluster.nodes[3]

    def look() -> None:
        if node.unsettled:
            restoring.cluster.database.jobs.request_cancel(restore.id)

    node.on_ring_look = look
    assert restoring.run(restore).status is RestoreStatus.CANCELLED


def test_node_control_is_asked_where_cql_does_not_show_it(restoring: Restoring) -> None:
    """Cassandra before 4.1."""
    for node in restoring.cluster.nodes.values():
        node.shows_gossip = False
    _at(restoring, TaskKind.RESTORE_DOWNLOAD, lambda: _join(restoring))
    assert "node 127.0.0.4 is joining" in restoring.restore(existing=Existing.REPLACE).error


def test_a_peer_that_is_known_in_part_for_a_moment_is_waited_for(restoring: Restoring) -> None:
    looks: list[str] = []

    def look() -> None:
        looks.append("ring")
        if len(looks) < 3:
            raise RingDiffers("node 127.0.0.1 does not know the tokens of its peer 127.0.0.3")

    for node in restoring.cluster.nodes.values():
        node.on_ring_look = look
    request = restoring.request(existing=Existing.REPLACE, dry_run=True)
    restore = restoring.run(request, worker_timeout=10)
    assert (restore.status, restore.error) == (RestoreStatus.PLANNED, "")


def test_a_ring_that_lacks_a_node_is_refused(restoring: Restoring) -> None:
    """The node would keep its rows from before the truncation, and get none."""
    before = restoring.rows()
    for number in (1, 2):
        node = restoring.cluster.nodes[number]
        node.members = node.members[:2]
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "lacks nodes whose Cassandra is NORMAL: 127.0.0.3" in restore.error
    assert restoring.rows() == before

# SPDX-License-Identifier: Apache-2.0
"""Partial backups: who may be missing, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.errors import NotFound
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster


@pytest.fixture
def replicated(cluster: Cluster) -> Cluster:
    """The cluster with two replicas of each range."""
    for node in cluster.nodes.values():
        node.replication["replication_factor"] = "2"
    return cluster


def test_partial_backup_without_a_lost_node(replicated: Cluster) -> None:
    replicated.fall_silent(3)
    backup = replicated.backup(allow_partial=True)
    missing = replicated.nodes[3].me.host_id
    assert backup.status is BackupStatus.PARTIAL
    assert (backup.error, backup.notes) == ("", (f"without the nodes {missing}",))
    assert backup.coverage is not None
    assert backup.coverage["ks"]["status"] == "partial"
    assert (backup.coverage["ks"]["whole"], backup.coverage["ks"]["lost"]) == (1, 0)
    manifest = replicated.repository.read_backup(backup.id)
    assert (manifest.status, manifest.missing_nodes) == ("PARTIAL", (missing,))
    assert [(m.host_id, m.tokens) for m in manifest.missing()] == [(missing, (300,))]
    assert len(manifest.nodes) == 2
    assert replicated.verify(backup)["problems"] == []
    record = replicated.node_backup(backup, 3)
    assert record.phase == "missing"
    assert "its worker last reported at" in record.error


def test_partial_backup_is_refused_without_leave(replicated: Cluster) -> None:
    replicated.fall_silent(3)
    backup = replicated.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "127.0.0.3" in backup.error
    assert "its worker last reported at" in backup.error


def test_node_with_a_problem_is_missing(replicated: Cluster) -> None:
    replicated.report(3, problem="the disk is full")
    backup = replicated.backup(allow_partial=True)
    assert backup.status is BackupStatus.PARTIAL
    assert replicated.node_backup(backup, 3).error == "the disk is full"


def test_all_nodes_present_make_it_whole(replicated: Cluster) -> None:
    backup = replicated.backup(allow_partial=True)
    assert (backup.status, backup.error) == (BackupStatus.CREATED, "")


def test_each_range_needs_a_replica(replicated: Cluster) -> None:
    replicated.fall_silent(2, 3)
    backup = replicated.backup(allow_partial=True)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "without 127.0.0.2, 127.0.0.3 no replica is left" in backup.error
    assert "of the keyspaces ks" in backup.error
    assert replicated.did("flush") == [0, 0, 0]


def test_single_replicas_allow_no_missing_node(cluster: Cluster) -> None:
    cluster.fall_silent(3)
    backup = cluster.backup(allow_partial=True)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "no replica is left" in backup.error


@pytest.mark.parametrize("kind", [TaskKind.PREPARE, TaskKind.SNAPSHOT, TaskKind.UPLOAD])
def test_node_that_is_lost_on_the_way(replicated: Cluster, kind: TaskKind) -> None:
    replicated.lose(2, kind)
    backup = replicated.run(replicated.request(allow_partial=True), outage_deadline=0.15)
    assert backup.status is BackupStatus.PARTIAL
    assert replicated.repository.read_backup(backup.id).missing_nodes == (
        replicated.nodes[2].me.host_id,
    )
    record = replicated.node_backup(backup, 2)
    assert record.phase == "failed"
    assert "worker worker-2 did not answer" in record.error
    for number in (1, 3):
        assert replicated.node_backup(backup, number).phase == "done"
        assert replicated.restored(backup, number) == replicated.contents(number)


@pytest.mark.parametrize("trouble", ["lost", "wrong node"])
def test_first_node_is_not_needed_more_than_others(replicated: Cluster, trouble: str) -> None:
    """It is the one that is asked first for what any node can tell."""
    if trouble == "lost":
        replicated.workers.down.add("worker-1")
    else:
        replicated.nodes[1].controlled_host_id = replicated.nodes[2].me.host_id
    backup = replicated.run(replicated.request(allow_partial=True), outage_deadline=0.1)
    assert backup.status is BackupStatus.PARTIAL
    assert replicated.node_backup(backup, 1).phase == "failed"


def test_outage_of_the_bus_is_waited_for_once(replicated: Cluster) -> None:
    """Not once for each node: who has not reported since is not asked."""
    replicated.workers.down.update(f"worker-{number}" for number in replicated.nodes)
    backup = replicated.request(allow_partial=True)

    def tick() -> bool:
        replicated.clock.now += 0.02
        return True

    done = replicated.run(backup, outage_deadline=0.1, still_owner=tick)
    assert done.status is BackupStatus.CREATE_FAILED
    assert done.error.startswith("node 127.0.0.1: worker worker-1 did not answer")


def test_absent_node_that_knows_an_older_schema(replicated: Cluster) -> None:
    replicated.fall_silent(3)
    old = replace(replicated.nodes[3].me, schema_version="schema-0")
    for node in replicated.nodes.values():
        node.members = (*node.members[:2], old)
    backup = replicated.run(replicated.request(allow_partial=True), outage_deadline=0.3)
    assert (backup.status, backup.phase) == (BackupStatus.PARTIAL, "commit")


def test_node_that_fails_for_good_leaves_the_backup(replicated: Cluster) -> None:
    node = replicated.nodes[2]
    node.write(node.tables[0], "nb-1-big-Digest.crc32", b"12345")
    backup = replicated.backup(allow_partial=True)
    assert backup.status is BackupStatus.PARTIAL
    assert "does not match its Digest.crc32" in replicated.node_backup(backup, 2).error


def test_nodes_that_fail_one_after_the_other(replicated: Cluster) -> None:
    """Two losses on the way are too many; that is seen at the latest at the commit."""
    first, second = replicated.nodes[1], replicated.nodes[2]
    first.controlled_host_id = second.me.host_id  # fails in prepare
    second.write(second.tables[0], "nb-1-big-Digest.crc32", b"12345")  # fails in upload
    backup = replicated.backup(allow_partial=True)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "no replica is left" in backup.error
    with pytest.raises(NotFound):
        replicated.repository.read_backup(backup.id)


def test_all_nodes_failing_is_no_partial_backup(replicated: Cluster) -> None:
    for node in replicated.nodes.values():
        node.write(node.tables[0], "nb-1-big-Digest.crc32", b"12345")
    backup = replicated.backup(allow_partial=True)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "does not match its Digest.crc32" in backup.error


def test_conductor_that_dies_keeps_lost_nodes_out(replicated: Cluster) -> None:
    replicated.nodes[2].controlled_host_id = replicated.nodes[1].me.host_id
    backup = replicated.request(allow_partial=True)
    replicated.run(backup, still_owner=replicated.until(backup, Phase.PREPARE))
    replicated.nodes[2].controlled_host_id = replicated.nodes[2].me.host_id
    done = replicated.run(backup, owner="conductor-2")
    assert done.status is BackupStatus.PARTIAL
    assert replicated.did("snapshot") == [1, 0, 1]

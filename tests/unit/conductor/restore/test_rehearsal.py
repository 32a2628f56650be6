# SPDX-License-Identifier: Apache-2.0
"""Restores whose delivery is rehearsed by the nodes, before anything is changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magnetodb_backup.cassandra.files.staging import ROOT
from magnetodb_backup.domain.restore.records import Existing, Restore, RestoreStatus
from magnetodb_backup.errors import AccessDenied, CassandraUnavailable, CommandFailed
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    return Restoring(cluster)


def _refused(restoring: Restoring) -> str:
    """Restore; prove that nothing was changed; return the error."""
    before, schema = restoring.rows(), restoring.cluster.nodes[1].schema
    restoring.forget()
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    _nothing_changed(restoring, restore)
    assert (restoring.rows(), restoring.cluster.nodes[1].schema) == (before, schema)
    return restore.error


def _nothing_changed(restoring: Restoring, restore: Restore) -> None:
    assert restoring.changes() == []
    assert restoring.staged() == []
    assert "download" not in set(restoring.performed(restore))


def _other_ring(restoring: Restoring) -> None:
    """Let the rows be streamed: a node has other tokens than in the backup."""
    nodes = restoring.cluster.nodes
    nodes[3].me = replace(nodes[3].me, tokens=(12345,))
    for node in nodes.values():
        node.members = tuple(other.me for other in nodes.values())
    restoring.cluster.report(3)


def test_bulk_loader_that_cannot_be_used(restoring: Restoring) -> None:
    """It is run before tables are emptied and indexes dropped, not after."""
    _other_ring(restoring)
    restoring.cluster.nodes[2].refuses_loader = CommandFailed("sstableloader cannot be run")
    error = _refused(restoring)
    assert "the bulk loader cannot send files: sstableloader cannot be run" in error
    addresses = " ".join(n.me.address for n in restoring.cluster.nodes.values())
    assert f"loader rehearses {addresses}" in restoring.cluster.nodes[1].log


def test_dry_run_names_a_bulk_loader_that_cannot_be_used(restoring: Restoring) -> None:
    _other_ring(restoring)
    restoring.cluster.nodes[2].refuses_loader = AccessDenied("the ring refuses sstableloader")
    restore = restoring.restore(existing=Existing.REPLACE, dry_run=True)
    assert restore.status is RestoreStatus.PLANNED
    assert restore.plan is not None
    assert any("the ring refuses sstableloader" in p for p in restore.plan["problems"])
    _nothing_changed(restoring, restore)


@pytest.mark.parametrize("dry_run", [True, False])
def test_files_that_cassandra_may_not_take_over(restoring: Restoring, dry_run: bool) -> None:
    """A worker of another user than Cassandra's: known before anything is emptied."""
    restoring.cluster.nodes[2].takes_nothing_over = True
    if dry_run:
        restore = restoring.restore(existing=Existing.REPLACE, dry_run=True)
        assert restore.plan is not None
        text = "; ".join(restore.plan["problems"])
        _nothing_changed(restoring, restore)
    else:
        text = _refused(restoring)
    assert "Cassandra cannot take over files that this worker stages" in text
    assert "Insufficient permissions" in text
    assert restoring.cluster.nodes[2].me.address in text


def test_rehearsal_leaves_no_directory(restoring: Restoring) -> None:
    restoring.restore(existing=Existing.REPLACE, dry_run=True)
    nodes = restoring.cluster.nodes.values()
    assert [n.log.count("rehearse") for n in nodes] == [1, 1, 1]
    assert [p for n in nodes for d in n.data.paths for p in d.glob(f"{ROOT}*")] == []


def test_node_that_does_not_answer_a_rehearsal_is_asked_again(restoring: Restoring) -> None:
    """One lost connection must not refuse a restore."""
    restoring.cluster.nodes[2].silent_rehearsals = 2
    restore = restoring.restore(existing=Existing.REPLACE)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.cluster.nodes[2].silent_rehearsals == 0


def test_bulk_loader_that_never_reaches_a_node(restoring: Restoring) -> None:
    """A wrong address does not become right: a dry run ends with the problem."""
    _other_ring(restoring)
    restoring.cluster.nodes[1].refuses_loader = CassandraUnavailable("NoHostAvailable")
    restore = restoring.restore(existing=Existing.REPLACE, dry_run=True)
    assert restore.status is RestoreStatus.PLANNED
    assert restore.plan is not None
    assert any("NoHostAvailable" in problem for problem in restore.plan["problems"])

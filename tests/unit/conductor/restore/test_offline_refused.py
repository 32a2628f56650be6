# SPDX-License-Identifier: Apache-2.0
"""Offline restores that are refused, and those of nodes that are down or alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.restore.records import Existing, RestoreStatus
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.offline import Offline
from tests.unit.conductor.restoring import T, U


@pytest.fixture
def offline(cluster: Cluster) -> Offline:
    return Offline(cluster)


def _refused(offline: Offline, **request: Any) -> str:
    before = offline.rows()
    restore = offline.restore(**request)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert offline.rows() == before
    assert offline.told("stop", "drain", "disable_clients") == []
    assert offline.staged() == []
    return restore.error


def test_commands_that_are_not_set(offline: Offline) -> None:
    offline.cluster.nodes[2].has_no_commands = True
    assert "127.0.0.2: [cassandra] stop_command is not set" in _refused(offline)


def test_tables_with_rows_are_refused_by_default(offline: Offline) -> None:
    error = _refused(offline, existing=Existing.REFUSE)
    assert "ks.t, ks.u, system_auth.roles have data; say --existing replace" in error
    assert "merge" not in error


def test_ring_of_other_tokens(offline: Offline) -> None:
    nodes = offline.cluster.nodes
    nodes[2].me = replace(nodes[2].me, tokens=(222,))
    for node in nodes.values():
        node.members = tuple(n.me for n in nodes.values())
    offline.cluster.report(2)
    error = _refused(offline)
    assert "no node has the tokens, data centre and rack of 127.0.0.2" in error
    assert "no node with the tokens, data centre and rack of 127.0.0.2" in error
    assert "restore without --offline" in error


def test_nodes_that_the_ring_has_lost(offline: Offline) -> None:
    """The others keep their tokens, but have more rows than before."""
    nodes = offline.cluster.nodes
    for number in (1, 2):
        nodes[number].members = (nodes[1].me, nodes[2].me)
    offline.cluster.report(3, stopping=True)
    error = _refused(offline)
    assert "no node has the tokens, data centre and rack of 127.0.0.3. Files cannot be" in error


def test_other_replication(offline: Offline) -> None:
    for node in offline.cluster.nodes.values():
        node.replication = {**node.replication, "replication_factor": "2"}
    error = _refused(offline)
    assert "the replication of keyspace ks is" in error
    assert "ALTER KEYSPACE ks to the backup's first" in error


def test_node_that_is_down_comes_back_with_everything(offline: Offline) -> None:
    """Its commit log has newer writes, which must not be replayed."""
    offline.go_down(2)
    restore = offline.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert offline.rows() == offline.saved
    assert offline.commands(2) == ["start"]
    assert offline.others(2) == set()
    assert offline.others(1) == {"commitlog"}
    assert offline.staged() == []


@pytest.mark.parametrize("request_", [{"system_auth": False}, {"tables": ("ks.t",)}])
def test_part_of_a_node_that_is_down(offline: Offline, request_: dict[str, Any]) -> None:
    offline.go_down(2)
    error = _refused(offline, **request_)
    assert "127.0.0.2 does not answer its worker (" in error
    assert "): its commit log may have newer writes" in error
    assert "start it first, or restore everything" in error


def test_schema_that_a_node_that_is_down_does_not_hear_of(offline: Offline) -> None:
    offline.drop(U)
    offline.go_down(2)
    error = _refused(offline)
    assert "127.0.0.2 does not answer its worker (" in error
    assert "), but tables have to be made" in error


def test_failure_leaves_a_node_down_that_was_down(offline: Offline) -> None:
    offline.go_down(2)
    offline.cluster.nodes[3].refused.add("stop")
    restore = offline.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert offline.rows() == offline.newer
    assert offline.commands(2) == []
    assert offline.runs()[:2] == [True, False]


def test_single_node(offline: Offline) -> None:
    address = offline.cluster.nodes[2].me.address
    restore = offline.restore(node=address)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    rows = offline.rows()
    assert {k: v for k, v in rows.items() if k[0] == 2} == {
        k: v for k, v in offline.saved.items() if k[0] == 2
    }
    assert {k: v for k, v in rows.items() if k[0] != 2} == {
        k: v for k, v in offline.newer.items() if k[0] != 2
    }
    assert offline.commands(1) == offline.commands(3) == []
    # Its hints are writes that other nodes lack, and that its clients saw acknowledged.
    assert "truncate_hints" not in offline.commands(2)
    assert offline.others(2) == {"commitlog", "hints"}
    assert sorted(offline.told("repair")) == ["repair ks t u", "repair system_auth roles"]


def test_single_node_that_is_down(offline: Offline) -> None:
    """Its replicas have what its commit log has."""
    offline.go_down(3)
    restore = offline.restore(node=offline.cluster.nodes[3].me.host_id, tables=("ks.t",))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert offline.others(3) == {"commitlog", "hints"}
    rows = offline.rows(T)
    assert rows[3, T] == offline.saved[3, T]
    assert rows[1, T] == offline.newer[1, T]


def test_dry_run_changes_nothing(offline: Offline) -> None:
    restore = offline.restore(dry_run=True)
    assert restore.status is RestoreStatus.PLANNED
    assert restore.plan is not None
    assert restore.plan["problems"] == []
    warnings = "; ".join(restore.plan["warnings"])
    assert "Cassandra is stopped on 127.0.0.1, 127.0.0.2, 127.0.0.3" in warnings
    assert offline.rows() == offline.newer
    assert offline.told("stop", "drain", "disable_clients") == []


def test_single_node_that_is_down_keeps_its_commit_log(offline: Offline) -> None:
    """Its newer writes are good ones, even if all tables are restored."""
    offline.go_down(3)
    restore = offline.restore(node=offline.cluster.nodes[3].me.host_id)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert offline.others(3) == {"commitlog", "hints"}

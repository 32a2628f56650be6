# SPDX-License-Identifier: Apache-2.0
"""Restores of a backup of one data centre (case 22)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.restore.records import Existing, Restore, RestoreStatus
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.data_centers import BOTH, replicate, split, without_worker
from tests.unit.conductor.restoring import Restoring, T, U


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    restoring = Restoring(split(cluster), data_centers=("dc1",))
    restoring.truncate(T, U)
    restoring.forget()
    return restoring


def _imported(restoring: Restoring, restore: Restore) -> None:
    """The nodes of dc1 have their files, and dc2 has none of its own."""
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    saved = restoring.saved_rows(T, U)
    assert restoring.rows(T, U) == {
        (number, name): rows if number != 3 else [] for (number, name), rows in saved.items()
    }
    assert (restore.plan or {})["method_by_keyspace"] == {"ks": "import"}
    assert restoring.staged() == []


def _warnings(restore: Restore) -> str:
    return "\n".join((restore.plan or {})["warnings"])


def test_other_data_centre_gets_its_rows_by_repair(restoring: Restoring) -> None:
    restore = restoring.restore()
    _imported(restoring, restore)
    assert restoring.told("repair") == ["repair -pr ks t u"] * 3
    warning = (
        "the backup is of data centre dc1 only: 127.0.0.3 get no files. The repair at the end "
        "brings them the rows of the keyspaces ks"
    )
    assert warning in _warnings(restore)


def test_no_worker_is_needed_where_nothing_is_delivered(restoring: Restoring) -> None:
    """Primary ranges would not do then: those of nodes that are not repaired would be left out."""
    without_worker(restoring.cluster, 3)
    restore = restoring.restore()
    _imported(restoring, restore)
    assert restoring.told("repair") == ["repair ks t u"] * 2
    assert restoring.cluster.nodes[3].log == []
    assert "no usable worker on 127.0.0.3 (dc2): their settings" in _warnings(restore)


def test_single_node_of_the_data_centre_is_repaired_by_the_other_one(cluster: Cluster) -> None:
    """With one node in the data centre, the ring still has others."""
    for number in (2, 3):
        cluster.nodes[number].me = replace(cluster.nodes[number].me, dc="dc2")
    for node in cluster.nodes.values():
        node.members = tuple(other.me for other in cluster.nodes.values())
    replicate(cluster, BOTH)
    without_worker(cluster, 2, 3)
    restoring = Restoring(cluster, data_centers=("dc1",))
    restoring.truncate(T)
    restoring.forget()
    restore = restoring.restore(tables=("ks.t",))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.told("repair") == ["repair ks t"]


def test_workers_of_the_data_centre_are_needed(restoring: Restoring) -> None:
    without_worker(restoring.cluster, 2)
    restore = restoring.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "127.0.0.2" in restore.error
    assert "--allow-partial" not in restore.error
    assert "--dc" not in restore.error


def test_backup_of_all_nodes_needs_all_workers(cluster: Cluster) -> None:
    restoring = Restoring(split(cluster))
    without_worker(cluster, 3)
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "127.0.0.3" in restore.error


def test_streaming_needs_a_worker_on_each_node(restoring: Restoring) -> None:
    cluster = restoring.cluster
    replicate(cluster, {**BOTH, "dc1": "2"})
    without_worker(cluster, 3)
    restore = restoring.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "the keyspaces ks are streamed, which needs a worker on each node" in restore.error
    assert "127.0.0.3 (dc2). Start magnetodb-backup-worker there" in restore.error
    assert restoring.changes() == []


def test_rows_are_streamed_to_all_data_centres(restoring: Restoring) -> None:
    replicate(restoring.cluster, {**BOTH, "dc1": "2"})
    restore = restoring.restore()
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    own = {n: rows for (n, name), rows in restoring.saved_rows(T).items()}
    assert restoring.rows(T) == {(n, T): sorted([*own[1], *own[2]]) for n in (1, 2, 3)}
    assert restoring.told("repair") == ["repair -pr ks t u"] * 3


@pytest.mark.parametrize("absent", [False, True])
def test_node_of_the_data_centre(restoring: Restoring, absent: bool) -> None:
    if absent:
        without_worker(restoring.cluster, 3)
    restore = restoring.restore(node="127.0.0.2", existing=Existing.MERGE)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows(T)[2, T] == restoring.saved_rows(T)[2, T]
    assert restoring.told("repair") == ["repair ks t u"]


def test_node_of_another_data_centre(restoring: Restoring) -> None:
    restore = restoring.restore(node="127.0.0.3", existing=Existing.MERGE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "no node backup has the tokens, data centre and rack of node 127.0.0.3" in restore.error
    assert "run nodetool rebuild dc1 on the node" in restore.error


def test_keyspace_whose_data_centre_the_target_lacks(restoring: Restoring) -> None:
    """Case 21: it cannot be created as it was; created otherwise, its files are imported."""
    cluster = restoring.cluster
    restoring.drop(T, U)
    left = (1, 2)
    for number in left:
        cluster.nodes[number].members = cluster.nodes[number].members[:2]
        cluster.nodes[number].ring = [cluster.nodes[n] for n in left]
        cluster.nodes[number].schema = ""
    without_worker(cluster, 3)
    restore = restoring.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "keyspace ks is replicated to the data centres dc2, which the target" in restore.error
    example = (
        "CREATE KEYSPACE ks WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '1'}"
    )
    assert example in restore.error


def test_room_for_what_a_repair_brings(restoring: Restoring) -> None:
    """A node without files needs room, too."""
    cluster = restoring.cluster
    inner = cluster.work(3)

    class Full:
        def perform(self, kind: TaskKind, arguments: Any, context: Any) -> Any:
            result = inner.perform(kind, arguments, context)
            return {**result, "spare": 1} if kind is TaskKind.RESTORE_PREFLIGHT else result

    cluster.workers.restart("worker-3", Full())
    restore = restoring.restore(dry_run=True)
    (problem,) = (restore.plan or {})["problems"]
    assert problem.startswith("127.0.0.3: about 0 MiB arrive by streaming")


def test_partial_backup_of_the_data_centre_repairs_whole_ranges(cluster: Cluster) -> None:
    replicate(split(cluster), {**BOTH, "dc1": "2"})
    cluster.fall_silent(2)
    restoring = Restoring(cluster, data_centers=("dc1",), allow_partial=True)
    assert restoring.backup.status.value == "PARTIAL"
    cluster.workers.down.clear()
    cluster.report(2)
    restoring.truncate(T)
    restoring.forget()
    restore = restoring.restore(tables=("ks.t",), allow_partial=True)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.told("repair") == ["repair ks t"] * 3


def test_offline_restore_stops_all_nodes(restoring: Restoring) -> None:
    restore = restoring.restore(offline=True)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows(T)[3, T] == []
    assert restoring.rows(T)[1, T] == restoring.saved_rows(T)[1, T]
    assert restoring.told("repair") == ["repair -pr ks t u"] * 3


def test_offline_restore_needs_all_workers(restoring: Restoring) -> None:
    without_worker(restoring.cluster, 3)
    restore = restoring.restore(offline=True)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "127.0.0.3" in restore.error

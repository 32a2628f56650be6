# SPDX-License-Identifier: Apache-2.0
"""Restores that are refused: nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.domain.restore.records import Existing, RestoreStatus
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.repository.format.names import (
    cluster_container,
    manifest_name,
    node_manifest_name,
    schema_name,
)
from tests.unit.cassandra.tree import table
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring, T, U, manifest_with, nothing_changed
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

CONTAINER = cluster_container(PREFIX, CLUSTER)


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    return Restoring(cluster)


def _refused(restoring: Restoring, **request: Any) -> str:
    """Restore; prove that nothing was changed; return the error."""
    before, schema = restoring.rows(), restoring.cluster.nodes[1].schema
    restoring.forget()
    restore = restoring.restore(**request)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    nothing_changed(restoring, restore)
    assert (restoring.rows(), restoring.cluster.nodes[1].schema) == (before, schema)
    job = restoring.job(restore)
    assert (job.status, job.error) == (JobStatus.FAILED, restore.error)
    return restore.error


# Data that exists.


def test_table_that_has_rows(restoring: Restoring) -> None:
    restoring.truncate(U)
    error = _refused(restoring)
    assert error.startswith("ks.t has data; say --existing replace")
    assert "ks.u" not in error


@pytest.mark.parametrize(
    "request_", [{"to_table": "u"}, {"to_table": "u", "to_keyspace": "ks"}], ids=str
)
def test_target_name_that_exists(restoring: Restoring, request_: dict[str, str]) -> None:
    restoring.truncate(U)
    error = _refused(restoring, tables=("ks.t",), **request_)
    assert error.startswith("the target ks.u exists; choose another name")


def test_table_of_another_structure(restoring: Restoring) -> None:
    restoring.drop(T)
    other = fake_changes.table_text(table("ks", "t", 1), "k bigint PRIMARY KEY, v text")
    fake_changes.execute(list(restoring.cluster.nodes.values()), other)
    for existing in Existing:
        error = _refused(restoring, tables=("ks.t",), existing=existing)
        assert "the schema differs:" in error
        assert "bigint" in error


AGAIN = "ALTER TABLE ks.t DROP v USING TIMESTAMP 5;\nALTER TABLE ks.t ADD v text;\n"


@pytest.mark.parametrize("existing", [Existing.REPLACE, Existing.REFUSE])
def test_column_that_was_dropped_and_added_again(restoring: Restoring, existing: Existing) -> None:
    """Cassandra hides its cells of before, so not all rows of the backup would come back."""
    restoring.truncate(T)
    for node in restoring.cluster.nodes.values():
        node.schema += AGAIN
    error = _refused(restoring, tables=("ks.t",), existing=existing)
    assert error.startswith("the schema differs:\ntable ks.t: column v was dropped at 5 here")
    assert "--existing merge" in error


@pytest.mark.parametrize("request_", [{"existing": Existing.MERGE}, {"node": "127.0.0.2"}], ids=str)
def test_merge_takes_the_drop_of_a_column_for_a_deletion(
    restoring: Restoring, request_: dict[str, Any]
) -> None:
    for node in restoring.cluster.nodes.values():
        node.schema += AGAIN
    restore = restoring.restore(**request_)
    assert restore.status is RestoreStatus.RESTORED
    assert restore.plan is not None
    (note,) = restore.plan["schema"]["notes"]
    assert "column v was dropped at 5 here" in note


# The backup.


def test_partial_backup(cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        node.replication = {"class": "SimpleStrategy", "replication_factor": "3"}
    cluster.fall_silent(3)
    restoring = Restoring(cluster, allow_partial=True)
    assert restoring.backup.status is BackupStatus.PARTIAL
    cluster.workers.down.clear()
    cluster.report(3)
    restoring.truncate(T)
    error = _refused(restoring, tables=("ks.t",))
    assert f"is PARTIAL: without the nodes {cluster.nodes[3].me.host_id}" in error
    assert "--allow-partial" in error


@pytest.mark.parametrize(
    ("request_", "lacking"),
    [({"tables": ("ks.gone",)}, "ks.gone"), ({"keyspaces": ("gone",)}, "gone")],
    ids=["table", "keyspace"],
)
def test_what_the_backup_lacks(
    restoring: Restoring, request_: dict[str, Any], lacking: str
) -> None:
    error = _refused(restoring, **request_)
    assert error.startswith(f"the backup does not have {lacking}; it has the keyspaces ks")


def test_backup_that_was_deleted_meanwhile(restoring: Restoring) -> None:
    restoring.cluster.repository.delete_backup(restoring.backup.id)
    assert "the store has no manifest of backup" in _refused(restoring)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("manifest", manifest_with(format=2), "has format version 2, this version knows 1"),
        ("manifest", lambda body: body[:-9], "manifest.json: is not JSON"),
        ("manifest", manifest_with(nodes="none"), "malformed backup manifest"),
        ("manifest", manifest_with(skew_ms=7), "the catalogue knows"),
        ("schema", lambda body: body + b"-- x", "it was changed after the backup"),
        ("node", lambda body: body + b"x", "it was changed after the backup"),
        ("node", lambda body: b"", "it was changed after the backup"),
    ],
)
def test_changed_manifests(
    restoring: Restoring, name: str, change: Callable[[bytes], bytes], told: str
) -> None:
    restoring.truncate(T, U)
    host_id = restoring.cluster.nodes[2].me.host_id
    names = {
        "manifest": manifest_name(restoring.backup.id),
        "schema": schema_name(restoring.backup.id),
        "node": node_manifest_name(restoring.backup.id, host_id),
    }
    restoring.cluster.store.change(CONTAINER, names[name], change)
    assert told in _refused(restoring)


@pytest.mark.parametrize("name", ["schema", "node"])
def test_missing_manifests(restoring: Restoring, name: str) -> None:
    restoring.truncate(T, U)
    host_id = restoring.cluster.nodes[2].me.host_id
    missing = {
        "schema": schema_name(restoring.backup.id),
        "node": node_manifest_name(restoring.backup.id, host_id),
    }[name]
    restoring.cluster.store.delete(CONTAINER, missing)
    assert missing in _refused(restoring)


def test_lost_and_short_packs(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    lost, short = (restoring.cluster.packs(number) for number in (1, 3))
    (one,), (other,) = lost.packs(), short.packs()
    restoring.cluster.lose_pack(1, one)
    restoring.cluster.damage_pack(3, other, lambda body: body[:-1])
    error = _refused(restoring)
    assert f"127.0.0.1: node backup {lost.host_id}: pack {one}: missing" in error
    assert f"127.0.0.3: node backup {short.host_id}: pack {other}: has " in error
    assert "127.0.0.2" not in error


# The target.


def _versions(cluster: Cluster, version: str, *numbers: int) -> None:
    for number in numbers or cluster.nodes:
        cluster.nodes[number].me = replace(cluster.nodes[number].me, version=version)
    for number, node in cluster.nodes.items():
        node.members = tuple(other.me for other in cluster.nodes.values())
        cluster.report(number)


def test_older_cassandra(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    _versions(restoring.cluster, "4.1.10")
    error = _refused(restoring)
    assert "node 127.0.0.1 runs Cassandra 4.1.10, the backup is of 5.0.9" in error


def test_one_older_node(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    _versions(restoring.cluster, "4.1.10", 3)
    error = _refused(restoring)
    assert "node 127.0.0.3 runs Cassandra 4.1.10" in error
    assert "node 127.0.0.1 runs" not in error


@pytest.mark.parametrize("version", ["5.0.2", "5.0.10", "5.1.0", "6.0-beta1"])
def test_newer_and_patched_cassandra(restoring: Restoring, version: str) -> None:
    restoring.truncate(T, U)
    _versions(restoring.cluster, version)
    assert restoring.restore().status is RestoreStatus.RESTORED


def _to_data_centre(cluster: Cluster, name: str, **factors: str) -> Restoring:
    """Back up a keyspace with these factors; let its nodes be in another data centre then."""
    network = {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", **factors}
    for node in cluster.nodes.values():
        node.replication = network
        node.schema = fake_changes.schema_text(node.tables, network)
    restoring = Restoring(cluster)
    for node in cluster.nodes.values():
        fake_changes.drop([node], T)
        fake_changes.drop([node], U)
        node.schema = ""
        node.me = replace(node.me, dc=name)
    for number, node in cluster.nodes.items():
        node.members = tuple(other.me for other in cluster.nodes.values())
        cluster.report(number)
    return restoring


def test_data_centres_that_the_target_lacks(cluster: Cluster) -> None:
    error = _refused(_to_data_centre(cluster, "other", dc1="1"))
    assert "keyspace ks is replicated to the data centres dc1, which the target does not" in error
    assert "(it has other)" in error


def test_another_partitioner(restoring: Restoring) -> None:
    for node in restoring.cluster.nodes.values():
        node.partitioner = "RandomPartitioner"
    restoring.truncate(T, U)
    error = _refused(restoring)
    assert "of a cluster with Murmur3Partitioner, the target has RandomPartitioner" in error
    assert "partitioner: Murmur3Partitioner" in error


def test_partitioner_of_an_older_release(cluster: Cluster) -> None:
    """It kept none, and tokens that both partitioners have show none."""
    for node in cluster.nodes.values():
        node.partitioner = ""
    restoring = Restoring(cluster)
    for node in cluster.nodes.values():
        node.partitioner = "RandomPartitioner"
    restoring.truncate(T, U)
    assert restoring.restore().status is RestoreStatus.RESTORED


def test_data_centre_without_replicas_need_not_be_there(cluster: Cluster) -> None:
    """A factor of 0 asks for no replica in a data centre that the target does not have."""
    restoring = _to_data_centre(cluster, "dc1", dc1="1", away="0")
    restore = restoring.restore(dry_run=True)
    assert restore.plan is not None
    assert (restore.status, restore.plan["problems"]) == (RestoreStatus.PLANNED, [])


def test_node_that_the_ring_lacks(restoring: Restoring) -> None:
    error = _refused(restoring, node="127.0.0.9", existing=Existing.MERGE)
    assert "the target has no node '127.0.0.9'; its nodes: 127.0.0.1 (" in error


def test_node_of_other_tokens(restoring: Restoring) -> None:
    nodes = restoring.cluster.nodes
    nodes[3].me = replace(nodes[3].me, tokens=(12345,))
    for node in nodes.values():
        node.members = tuple(other.me for other in nodes.values())
    restoring.cluster.report(3)
    error = _refused(restoring, node="127.0.0.3", existing=Existing.MERGE)
    assert "no node backup has the tokens, data centre and rack of node 127.0.0.3" in error


def test_node_whose_view_is_gone(cluster: Cluster) -> None:
    """A single node's share makes no view, and its files would belong to nothing."""
    view = TableName("ks", "v")
    fake_changes.execute(list(cluster.nodes.values()), fake_changes.view_text(view, T))
    restoring = Restoring(cluster)
    restoring.drop(view)
    error = _refused(restoring, node="127.0.0.3", existing=Existing.MERGE)
    assert "the view ks.v does not exist, and a single node's share does not make it" in error
    assert "CREATE MATERIALIZED VIEW first, or leave it out by --skip view=ks.v" in error
    by_table = _refused(restoring, node="127.0.0.3", existing=Existing.MERGE, tables=("ks.t",))
    assert "the view ks.v does not exist" in by_table
    chosen = restoring.restore(node="127.0.0.3", existing=Existing.MERGE, skip=("view=ks.v",))
    assert (chosen.status, chosen.error) == (RestoreStatus.RESTORED, "")


def test_node_without_a_worker(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    restoring.cluster.fall_silent(2)
    assert "127.0.0.2" in _refused(restoring)


def test_no_space(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    restoring.cluster.workers.restart(
        "worker-2", restoring.cluster.work(2, head_room_percent=100.0)
    )
    error = _refused(restoring)
    directory = restoring.cluster.nodes[2].data.names[0]
    assert error.startswith(f"127.0.0.2: data directory {directory} has ")
    assert "[worker] head_room_percent keeps" in error


def test_all_problems_are_told_at_once(restoring: Restoring) -> None:
    (pack,) = restoring.cluster.packs(1).packs()
    restoring.cluster.lose_pack(1, pack)
    _versions(restoring.cluster, "4.1.10", 3)
    error = _refused(restoring)
    assert "ks.t, ks.u have data" in error
    assert f"pack {pack}: missing" in error
    assert "runs Cassandra 4.1.10" in error


def test_name_of_a_table_that_was_tampered_with(restoring: Restoring) -> None:
    change = manifest_with(
        selection={"keyspaces": [{"name": "ks", "replication": {}}],
                   "tables": [{"keyspace": "ks", "table": "../../t", "id": "0" * 32}]}
    )  # fmt: skip
    restoring.cluster.store.change(CONTAINER, manifest_name(restoring.backup.id), change)
    assert "'../../t' is not a table name" in _refused(restoring)

# SPDX-License-Identifier: Apache-2.0
"""Backups of the nodes of one data centre (case 22)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.data_centers import (
    BOTH,
    FAR,
    ROLES,
    add_table,
    replicate,
    split,
    without_worker,
)
from tests.unit.worker.fake_node import SIMPLE


@pytest.fixture
def two(cluster: Cluster) -> Cluster:
    return split(cluster)


ALL = {"type": "all"}


def test_data_centre_with_workers_is_a_complete_backup(two: Cluster) -> None:
    without_worker(two, 3)
    backup = two.backup(data_centers=("dc1",))
    assert (backup.status, backup.error, backup.notes) == (BackupStatus.CREATED, "", ())
    assert backup.data_centers == ("dc1",)
    assert backup.coverage is not None
    assert backup.coverage["ks"]["status"] == "complete"
    assert (backup.coverage["ks"]["ranges"], backup.coverage["ks"]["lost"]) == (3, 0)
    manifest = two.repository.read_backup(backup.id)
    assert (manifest.status, manifest.data_centers) == ("CREATED", ("dc1",))
    hosts = [two.nodes[n].me.host_id for n in (1, 2, 3)]
    assert [node.host_id for node in manifest.nodes] == hosts[:2]
    assert (manifest.missing_nodes, manifest.missing_ring) == ((), ())
    # A restore compares the ring with that of the backup.
    (other,) = manifest.other_nodes
    assert (other.host_id, other.dc, other.tokens) == (hosts[2], "dc2", (300,))
    assert two.verify(backup)["problems"] == []
    assert {n.host_id for n in two.database.backups.node_backups(backup.id)} == set(hosts[:2])
    for number in (1, 2):
        assert two.restored(backup, number) == two.contents(number)
    assert two.did("flush") == two.did("snapshot") == [1, 1, 0]


def test_worker_that_is_missing_elsewhere_is_named_with_the_remedy(two: Cluster) -> None:
    without_worker(two, 3)
    backup = two.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert f"127.0.0.3 (host ID {two.nodes[3].me.host_id}, dc2)" in backup.error
    assert "or back up only data centre dc1, by --dc dc1" in backup.error


def test_data_centre_is_no_remedy_where_its_own_worker_is_missing(two: Cluster) -> None:
    without_worker(two, 2, 3)
    backup = two.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "--dc" not in backup.error


def test_live_workers_elsewhere_are_not_asked(two: Cluster) -> None:
    """A data centre that is hardly reachable does not disturb the backup of another one."""
    two.workers.down.add("worker-3")
    node = two.nodes[3]
    node.members = tuple(replace(m, schema_version="schema-0") for m in node.members)
    backup = two.run(two.request(data_centers=("dc1",)), outage_deadline=0.3)
    assert (backup.status, backup.error) == (BackupStatus.CREATED, "")
    assert not any(worker == "worker-3" for worker, _ in two.workers.calls)


def test_missing_worker_of_the_data_centre_is_missed(two: Cluster) -> None:
    without_worker(two, 2)
    backup = two.backup(data_centers=("dc1",))
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "127.0.0.2" in backup.error
    assert "127.0.0.3" not in backup.error


def test_all_nodes_of_a_data_centre_are_missing(two: Cluster) -> None:
    two.fall_silent(3)
    backup = two.backup(data_centers=("dc2",))
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "has no usable worker in data centre dc2 (machine-3" in backup.error


@pytest.mark.parametrize(("factor", "status"), [("2", "PARTIAL"), ("1", "CREATE_FAILED")])
def test_partial_backup_is_judged_by_the_data_centre(
    two: Cluster, factor: str, status: str
) -> None:
    """With one replica in dc1, what node 2 had is lost, though dc2 has it as well."""
    replicate(two, {**BOTH, "dc1": factor})
    without_worker(two, 2)
    backup = two.backup(data_centers=("dc1",), allow_partial=True)
    assert backup.status.value == status
    if status == "PARTIAL":
        assert two.repository.read_backup(backup.id).missing_nodes == (two.nodes[2].me.host_id,)
        assert backup.notes == (f"without the nodes {two.nodes[2].me.host_id}",)
    else:
        assert "without 127.0.0.2 no replica is left" in backup.error


def test_whole_ring_is_compared(two: Cluster) -> None:
    """A node of the data centre that knows another dc2 than the others may miss more than that."""
    two.nodes[2].members = two.nodes[2].members[:2]
    backup = two.backup(data_centers=("dc1",))
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "does not see the ring of the census: it lacks 127.0.0.3" in backup.error


def test_unknown_data_centre(two: Cluster) -> None:
    backup = two.backup(data_centers=("dc1", "dc9"))
    assert backup.status is BackupStatus.CREATE_FAILED
    assert backup.error == "cluster 'test cluster' has no data centre dc9; known: dc1, dc2"


def test_all_data_centres(two: Cluster) -> None:
    backup = two.backup(data_centers=("dc2", "dc1"))
    assert (backup.status, backup.data_centers) == (BackupStatus.CREATED, ("dc2", "dc1"))
    assert len(two.repository.read_backup(backup.id).nodes) == 3


def test_keyspaces_without_a_copy_are_left_out_of_everything(two: Cluster) -> None:
    """One that is only elsewhere, and Cassandra's own with its usual replication."""
    add_table(two, ROLES, SIMPLE)
    add_table(two, FAR, {**BOTH, "dc1": "0"})
    backup = two.backup(data_centers=("dc1",), scope=ALL)
    assert (backup.status, backup.error) == (BackupStatus.CREATED, "")
    note = "without the keyspaces far, system_auth, of which data centre dc1 has no complete copy"
    assert backup.notes == (note,)
    assert backup.coverage is not None
    found = {keyspace: each["status"] for keyspace, each in backup.coverage.items()}
    assert found == {"ks": "complete", "far": "excluded", "system_auth": "excluded"}
    manifest = two.repository.read_backup(backup.id)
    for selection in (manifest.selection, backup.selection or {}):
        assert [k["name"] for k in selection["keyspaces"]] == ["ks"]
        assert {t["keyspace"] for t in selection["tables"]} == {"ks"}
    assert {table for table, _ in two.restored(backup, 1)} == {"t", "u"}
    assert "far" not in " ".join(two.nodes[1].log)


@pytest.mark.parametrize(
    ("name", "replication", "told"),
    [
        (FAR, {**BOTH, "dc1": "0"}, "far (no replica there)"),
        (FAR, SIMPLE, "far (1 of 3 token ranges have no replica there; SimpleStrategy"),
        (FAR, {"class": "x.OwnStrategy"}, "it is not known where OwnStrategy has its replicas"),
        (ROLES, SIMPLE, "system_auth (1 of 3 token ranges"),
    ],
)
def test_keyspace_without_a_copy_that_is_asked_for_is_refused(
    two: Cluster, name: TableName, replication: dict[str, str], told: str
) -> None:
    add_table(two, name, replication)
    scope = {"type": "keyspaces", "keyspaces": ["ks", name.keyspace]}
    backup = two.backup(data_centers=("dc1",), scope=scope)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert told in backup.error
    assert "data centre dc1 has no complete copy of the keyspaces" in backup.error
    assert "back up all data centres, without --dc" in backup.error
    assert two.did("flush") == [0, 0, 0]


def test_keyspace_of_users_of_which_a_part_is_there_is_never_left_out(two: Cluster) -> None:
    add_table(two, FAR, SIMPLE)
    backup = two.backup(data_centers=("dc1",), scope=ALL)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "far (1 of 3 token ranges have no replica there" in backup.error


def test_data_centre_without_any_table(two: Cluster) -> None:
    replicate(two, {**BOTH, "dc1": "0"})
    backup = two.backup(data_centers=("dc1",), scope=ALL)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "ks (no replica there)" in backup.error


@pytest.mark.parametrize(
    "replication", [{"class": "EverywhereStrategy"}, {**SIMPLE, "replication_factor": "3"}]
)
def test_every_node_has_everything(two: Cluster, replication: dict[str, str]) -> None:
    replicate(two, replication)
    without_worker(two, 3)
    backup = two.backup(data_centers=("dc1",))
    assert (backup.status, backup.error) == (BackupStatus.CREATED, "")


def test_tables_that_are_made_meanwhile_begin_another_round(two: Cluster) -> None:
    """What is compared is what the scope selects, whatever is left out."""
    add_table(two, ROLES, SIMPLE)
    two.nodes[1].on_flush = lambda: _add_once(two)
    backup = two.backup(data_centers=("dc1",), scope=ALL)
    assert (backup.status, backup.error) == (BackupStatus.CREATED, "")
    assert two.job(backup).round == 2
    assert {t["table"] for t in (backup.selection or {})["tables"]} == {"t", "u", "v"}


def _add_once(two: Cluster) -> None:
    two.nodes[1].on_flush = lambda: None
    add_table(two, TableName("ks", "v"), dict(BOTH))


def test_fingerprints_need_no_other_data_centre(two: Cluster) -> None:
    without_worker(two, 3)
    backup = two.backup(data_centers=("dc1",), figures=True)
    assert (backup.status, backup.notes, backup.figures) == (BackupStatus.CREATED, (), True)
    assert [two.nodes[n].read_locally for n in (1, 2, 3)] == [{True}, {True}, set()]
    backup = two.backup(data_centers=(), figures=True, allow_partial=True)
    assert two.nodes[1].read_locally == {True, False}


def test_task_of_the_census_goes_to_the_data_centre(two: Cluster) -> None:
    asked: list[str] = []

    def before_start(worker_id: str, kind: TaskKind) -> None:
        asked.append(worker_id)

    two.workers.before_start = before_start
    two.backup(data_centers=("dc2",))
    assert set(asked) == {"worker-3"}

# SPDX-License-Identifier: Apache-2.0
"""Restores that are checked against the backup's figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.domain.fingerprints import TokenRange
from magnetodb_backup.domain.restore.records import Existing, Restore, RestorePhase, RestoreStatus
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.repository.format.names import cluster_container
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring, T, U
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

DIFFERS = "restored, but its rows are not those of the backup"


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    """A backup with figures; each SSTable of a node is one row."""
    made = Restoring(cluster, figures=True)
    assert made.backup.figures
    return made


def _manifest(restoring: Restoring) -> BackupManifest:
    return restoring.cluster.repository.read_backup(restoring.backup.id)


def _refused(restoring: Restoring, restore: Restore) -> str:
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restoring.changes() == []
    assert set(restore.tables.values()) <= {"untouched"}
    assert restore.checks is None
    return restore.error


def test_restored_rows_are_proven(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    restore = restoring.restore(check=True)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restore.checks is not None
    assert list(restore.checks) == ["ks.t", "ks.u"]
    for check in restore.checks.values():
        assert (check["different"], check["changing"], check["unread"]) == (0, 0, 0)
        assert check["equal"] >= 4
        assert check["rows_found"] == check["rows_expected"] == 6
    assert set(restore.tables.values()) == {"restored"}
    performed = list(dict.fromkeys(restoring.performed(restore)))
    assert performed[-3:] == ["check", "cleanup_ring", "cleanup"]


def test_only_what_is_restored_is_checked(restoring: Restoring) -> None:
    restoring.truncate(T)
    restoring.add_row(1, U, b"not of this restore")
    restore = restoring.restore(check=True, tables=("ks.t",))
    assert restore.status is RestoreStatus.RESTORED
    assert list(restore.checks or {}) == ["ks.t"]
    assert list((restore.plan or {})["figures"]) == ["ks.t"]


def test_another_name_is_checked_under_that(restoring: Restoring) -> None:
    restore = restoring.restore(check=True, tables=("ks.t",), to_table="New")
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert list(restore.checks or {}) == list(restore.tables) == ["ks.New"]


def test_masked_columns_refuse_a_check(restoring: Restoring) -> None:
    """Case 11: what is compared would be masks."""
    for node in restoring.cluster.nodes.values():
        node.masked[T] = ("mail",)
    restoring.truncate(T, U)
    error = _refused(restoring, restoring.restore(check=True))
    assert "masks instead of the values of mail in ks.t" in error
    assert "GRANT UNMASK ON TABLE ks.t to the role of [cassandra] username" in error
    assert restoring.restore().status is RestoreStatus.RESTORED


def test_without_a_check_no_row_is_read(restoring: Restoring) -> None:
    read: list[TableName] = []
    for node in restoring.cluster.nodes.values():
        node.on_read = lambda of, range_: read.append(of)
    restoring.truncate(T)
    restore = restoring.restore(tables=("ks.t",))
    assert (restore.status, restore.checks, read) == (RestoreStatus.RESTORED, None, [])
    assert "figures" not in (restore.plan or {})


def test_each_range_is_read_again_once(restoring: Restoring) -> None:
    read: list[tuple[TableName, TokenRange]] = []
    for node in restoring.cluster.nodes.values():
        node.on_read = lambda of, range_: read.append((of, range_))
    restoring.truncate(T, U)
    restore = restoring.restore(check=True)
    assert len(set(read)) == len(read) == 2 * restore.checks["ks.t"]["equal"]  # type: ignore[index]


def test_missing_rows_are_found(restoring: Restoring) -> None:
    """As if newer tombstones were in the table that looked empty."""
    restoring.truncate(T, U)
    node = restoring.cluster.nodes[2]

    def lose(table: TableName) -> None:
        if table == U:  # ks.t is imported already
            fake_changes.table_files(node, T)[0].unlink()

    node.on_import = lose
    restore = restoring.restore(check=True)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restore.tables == {"ks.t": DIFFERS, "ks.u": "restored"}
    check = (restore.checks or {})["ks.t"]
    assert (check["different"], check["rows_expected"], check["rows_found"]) == (1, 6, 5)
    assert "5 rows found of 6" in restore.error
    assert "expired since (TTL), or newer deletions" in restore.error


def test_a_difference_is_a_failure_that_names_it(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    node = restoring.cluster.nodes[2]
    body = b"written during the restore"

    def write(table: TableName) -> None:
        if table == U:
            restoring.add_row(1, U, body)
            node.on_import = lambda of: None

    node.on_import = write
    restore = restoring.restore(check=True)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restore.tables == {"ks.t": "restored", "ks.u": DIFFERS}
    assert restore.checks is not None
    assert restore.checks["ks.t"]["different"] == 0
    check = restore.checks["ks.u"]
    assert (check["different"], check["rows_expected"], check["rows_found"]) == (1, 6, 7)
    (difference,) = check["differences"]
    assert difference["rows_found"] == difference["rows_expected"] + 1
    assert restore.error.startswith("the restored rows are not those of the backup: ks.u: 1 of ")
    assert f"7 rows found of 6: ({difference['start']}, {difference['end']}]" in restore.error
    assert "written during the restore" in restore.error
    assert "TTL" not in restore.error
    assert restoring.staged() == []


def test_refused_sstables_come_first_and_their_rows_are_missed(restoring: Restoring) -> None:
    restoring.truncate(T)
    restoring.cluster.nodes[2].malformed = {b"2 ks.t"}
    restore = restoring.restore(check=True, tables=("ks.t",))
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restore.error.startswith("Cassandra refused SSTables; everything else is restored.")
    assert "Hence the restored rows are not those of the backup: ks.t: 1 of " in restore.error
    assert "5 rows found of 6" in restore.error
    assert "expired since (TTL)" in restore.error
    assert "restored without the SSTables" in restore.tables["ks.t"]


def test_a_conductor_that_dies_after_the_check(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    restore = restoring.request(check=True)
    restoring.run(restore, still_owner=restoring.until(restore, RestorePhase.CHECK))
    done = restoring.run(restore, owner="conductor-2")
    assert done.status is RestoreStatus.RESTORED
    assert done.checks is not None
    assert set(restoring.cluster.workers.starts("check").values()) == {1}


def test_a_table_that_cannot_be_read_is_no_proof(restoring: Restoring) -> None:
    restoring.truncate(T)

    def refuse(of: TableName, range_: TokenRange) -> None:
        raise CommandFailed("too many tombstones")

    restoring.cluster.nodes[2].on_read = refuse
    restore = restoring.restore(check=True, tables=("ks.t",))
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "node 127.0.0.2: too many tombstones" in restore.error
    assert restore.tables == {"ks.t": "restored"}


# What preflight refuses.


def test_backup_without_figures(cluster: Cluster) -> None:
    restoring = Restoring(cluster)
    restoring.truncate(T)
    restoring.forget()
    error = _refused(restoring, restoring.restore(check=True, tables=("ks.t",)))
    assert "has no fingerprints to check a restore against; leave --check out" in error


def test_merge_into_a_table_with_rows(restoring: Restoring) -> None:
    restoring.truncate(T)
    restoring.forget()
    error = _refused(restoring, restoring.restore(check=True, existing=Existing.MERGE))
    assert "table ks.u has rows, so after a merge it cannot have the backup's fingerprints" in error
    assert "ks.t" not in error


def test_merge_into_empty_tables(restoring: Restoring) -> None:
    restoring.truncate(T, U)
    restore = restoring.restore(check=True, existing=Existing.MERGE)
    assert restore.status is RestoreStatus.RESTORED


@pytest.mark.parametrize("damage", ["changed", "missing", "another backup's"])
def test_figures_that_somebody_changed(restoring: Restoring, damage: str) -> None:
    restoring.truncate(T)
    restoring.forget()
    manifest, store = _manifest(restoring), restoring.cluster.store
    stored = manifest.figures[1]
    container = cluster_container(PREFIX, CLUSTER)
    if damage == "missing":
        store.delete(container, stored.name)
    elif damage == "changed":
        store.change(container, stored.name, lambda body: body[:-1])
    else:
        other = restoring.cluster.backup(figures=True)
        (body,) = [
            b"".join(store.read(container, f.name))
            for f in restoring.cluster.repository.read_backup(other.id).figures
            if f.name.endswith(stored.name.rpartition("/")[2])
        ]
        host_id = stored.name.rpartition("/")[2].removesuffix(".jsonl.zst")
        wrong = restoring.cluster.repository.put_fingerprints(manifest.backup_id, host_id, body)
        figures = (manifest.figures[0], wrong, manifest.figures[2])
        committed = restoring.cluster.repository.commit(replace(manifest, figures=figures))
        restoring.cluster.database.backups.update(
            manifest.backup_id, manifest_sha256=committed.sha256
        )
        restoring.forget()
    error = _refused(restoring, restoring.restore(check=True, tables=("ks.t",)))
    assert stored.name in error


def test_nothing_that_could_be_compared(cluster: Cluster) -> None:
    """Every range changed while the backup was made."""
    tokens = (*range(101, 301), *(token << 50 for token in range(-8191, 8192, 50)))
    cluster.rows[T] = [(token, "old") for token in tokens]

    def change() -> None:
        cluster.rows[T] = [(token, "new") for token, _ in cluster.rows[T]]

    cluster.nodes[1].on_flush = change
    restoring = Restoring(cluster, figures=True)
    restoring.truncate(T)
    restoring.forget()
    plan = restoring.restore(check=True, dry_run=True, tables=("ks.t",)).plan or {}
    assert any("nothing could be checked; leave --check out" in p for p in plan["problems"])
    assert plan["figures"]["ks.t"]["steady"] == 0


def test_fingerprints_of_a_part_of_the_tokens_prove_nothing(cluster: Cluster) -> None:
    """An older release read the tokens of the default partitioner in any cluster."""
    for node in cluster.nodes.values():
        node.partitioner = ""
    restoring = Restoring(cluster, figures=True)
    for node in cluster.nodes.values():
        node.partitioner = "RandomPartitioner"
    restoring.truncate(T, U)
    restoring.forget()
    error = _refused(restoring, restoring.restore(check=True))
    assert f"the fingerprints of backup {restoring.backup.id} leave out tokens" in error
    assert "of RandomPartitioner" in error
    assert restoring.restore().status is RestoreStatus.RESTORED


def test_a_plan_tells_what_could_be_compared(cluster: Cluster) -> None:
    cluster.rows[T] = [(5, "a")]
    cluster.nodes[1].on_flush = lambda: cluster.rows[T].append((7, "b"))
    restoring = Restoring(cluster, figures=True)
    restoring.truncate(T)
    restore = restoring.restore(check=True, dry_run=True, tables=("ks.t",))
    assert restore.status is RestoreStatus.PLANNED
    plan = restore.plan or {}
    steady = plan["figures"]["ks.t"]["steady"]
    assert plan["figures"]["ks.t"] == {"steady": steady, "changing": 1, "unread": 0}
    told = f"the check can compare {steady} of {steady + 1} token ranges of ks.t"
    assert any(told in w for w in plan["warnings"])
    assert restore.checks is None
    assert TaskKind.RESTORE_CHECK.value not in set(restoring.performed(restore))

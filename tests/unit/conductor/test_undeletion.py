# SPDX-License-Identifier: Apache-2.0
"""Undeletion and purge, by conductors and stores that fail at any moment."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from magnetodb_backup.domain.backup.from_manifest import as_deleted, records_of
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.jobs import JobKind, JobStatus
from magnetodb_backup.errors import (
    Conflict,
    StorageRefused,
)
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.stored_backups import StoredBackup, StoredBackups
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.deleting import (
    CONTAINER,
    WEEK,
    S,
    assert_restorable,
    delete,
    dying_at,
    names,
    purge,
    status_of,
    undelete,
)
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

# Undeletion


@pytest.mark.parametrize("partial", [False, True])
def test_undeleted_backup_has_its_former_status(cluster: Cluster, partial: bool) -> None:
    if partial:
        for node in cluster.nodes.values():
            node.replication["replication_factor"] = "2"
        cluster.fall_silent(2)
    backup = cluster.backup(allow_partial=partial, name="nightly")
    assert backup.status is (S.PARTIAL if partial else S.CREATED)
    before = names(cluster, backup)
    delete(cluster, backup)
    cluster.clock.now += WEEK - 1
    undeleted = undelete(cluster, backup)
    assert undeleted.status is backup.status
    assert (undeleted.deleted_at, undeleted.undelete_until) == (None, None)
    kept = ("notes", "coverage", "manifest_sha256", "figures", "name", "bytes", "selection")
    assert [getattr(undeleted, k) for k in kept] == [getattr(backup, k) for k in kept]
    manifest = cluster.repository.read_backup(backup.id)
    assert undeleted.finished_at is not None
    assert undeleted.finished_at.isoformat() == manifest.committed_at
    assert names(cluster, backup) == before
    assert cluster.job(backup, JobKind.UNDELETION).result == {"status": backup.status.value}
    assert delete(cluster, backup).status is S.DELETED  # and once more


def test_undeleted_backup_restores(cluster: Cluster) -> None:
    backup = cluster.backup()
    delete(cluster, backup)
    undelete(cluster, backup)
    assert_restorable(cluster, backup)


@pytest.mark.parametrize("write", range(3))
def test_trap_5_undeletion_by_a_conductor_that_dies(cluster: Cluster, write: int) -> None:
    backup = cluster.backup()
    delete(cluster, backup)
    with dying_at(cluster, write) as writes:
        undelete(cluster, backup)
    assert writes == [
        layout.manifest_name(backup.id), layout.deleted_manifest_name(backup.id)
    ][:write]  # fmt: skip
    assert status_of(cluster, backup) is (S.CREATED if write else S.DELETED)
    if write < 2:
        assert cluster.job(backup, JobKind.UNDELETION).status is JobStatus.RUNNING
        cluster.run(backup, JobKind.UNDELETION, owner="conductor-2")
    assert status_of(cluster, backup) is S.CREATED
    assert layout.deleted_manifest_name(backup.id) not in names(cluster, backup)
    assert_restorable(cluster, backup)


def test_undeletion_of_what_cannot_be_restored(cluster: Cluster) -> None:
    """No backup is CREATED without its node manifests."""
    backup = cluster.backup()
    delete(cluster, backup)
    host_id = cluster.nodes[2].me.host_id
    cluster.store.delete(CONTAINER, layout.node_manifest_name(backup.id, host_id))
    undeleted = undelete(cluster, backup)
    assert undeleted.status is S.DELETED
    assert f"nodes/{host_id}" in undeleted.error
    assert cluster.job(backup, JobKind.UNDELETION).status is JobStatus.FAILED
    assert layout.manifest_name(backup.id) not in names(cluster, backup)


def test_undeletion_that_the_store_refuses_can_be_asked_for_again(cluster: Cluster) -> None:
    backup = cluster.backup()
    delete(cluster, backup)

    def fail(name: str) -> None:
        raise StorageRefused("the account is read-only")

    cluster.store.before_put = fail
    undeleted = undelete(cluster, backup)
    assert (undeleted.status, undeleted.error) == (S.DELETED, "the account is read-only")
    assert undeleted.undelete_until is not None
    cluster.store.before_put = lambda name: None
    undeleted = undelete(cluster, backup)
    assert (undeleted.status, undeleted.error) == (S.CREATED, "")


def test_undeletion_after_the_database_was_lost(
    cluster: Cluster, tmp_path: Path, empty_database: Path
) -> None:
    """What was deleted, and until when it can be undeleted, is in the store."""
    backup = cluster.backup()
    deleted = delete(cluster, backup)
    shutil.copy(empty_database, tmp_path / "another.sqlite")
    (tmp_path / "another").mkdir()
    another = Cluster(tmp_path / "another", tmp_path / "another.sqlite")
    another.store = cluster.store
    (found,) = StoredBackups(another.store, PREFIX).backups(CLUSTER)
    assert isinstance(found, StoredBackup)
    assert found.deleted is not None
    record, nodes = records_of(found.manifest, found.manifest_sha256)
    record = as_deleted(record, found.deleted.deleted_at, found.deleted.undelete_until)
    another.database.backups.learn(record, nodes)
    known = another.database.backups.get(backup.id)
    assert (known.status, known.undelete_until) == (S.DELETED, deleted.undelete_until)
    assert undelete(another, known).status is S.CREATED
    another.database.close()
    cluster.database.deletions.undone(backup.id, S.CREATED, cluster.database.deletions.now())
    assert_restorable(cluster, backup)


def test_a_name_may_be_taken_meanwhile(cluster: Cluster) -> None:
    backup = cluster.backup(name="nightly")
    delete(cluster, backup)
    newer = cluster.backup(name="nightly")
    assert undelete(cluster, backup).name == "nightly"
    with pytest.raises(Conflict, match="may be any of") as told:
        cluster.database.backups.find("nightly")
    assert backup.id in str(told.value)
    assert newer.id in str(told.value)


# Purge


def test_purge_is_for_those_whose_period_is_over(cluster: Cluster) -> None:
    first, second, kept = (cluster.backup() for _ in range(3))
    delete(cluster, first)
    cluster.clock.now += WEEK / 2
    delete(cluster, second)
    assert purge(cluster) == []
    cluster.clock.now += WEEK / 2
    assert purge(cluster) == [first.id]
    assert names(cluster, first) == []
    assert cluster.database.backups.get(first.id).purged_at == cluster.database.deletions.now()
    with pytest.raises(Conflict, match="its manifests were purged at"):
        cluster.database.deletions.request_undeletion(first.id)
    assert purge(cluster) == []
    assert undelete(cluster, second).status is S.CREATED
    for backup in (second, kept):
        assert_restorable(cluster, backup)


def test_purge_waits_for_an_undeletion(cluster: Cluster) -> None:
    """It was accepted within the period, and no conductor ran until now."""
    backup = cluster.backup()
    delete(cluster, backup)
    job = cluster.database.deletions.request_undeletion(backup.id)
    cluster.clock.now += 2 * WEEK
    assert not cluster.database.deletions.begin_purge(backup.id)
    assert cluster.run(backup, JobKind.UNDELETION).status is S.CREATED
    assert cluster.database.jobs.get(job.id).status is JobStatus.DONE
    assert purge(cluster) == []
    assert_restorable(cluster, backup)


@pytest.mark.parametrize("write", [0, 1, 3, 6])
def test_trap_6_purge_by_a_conductor_that_dies(cluster: Cluster, write: int) -> None:
    first, second = cluster.backup(), cluster.backup()
    delete(cluster, first)
    cluster.clock.now += WEEK
    with dying_at(cluster, write):
        assert purge(cluster) == []
    assert cluster.database.deletions.due(CLUSTER) == (first.id,)
    assert layout.deleted_manifest_name(first.id) in names(cluster, first)
    with pytest.raises(Conflict, match="its manifests are being purged"):
        cluster.database.deletions.request_undeletion(first.id)
    assert purge(cluster) == [first.id]
    assert names(cluster, first) == []
    assert_restorable(cluster, second)


def test_purge_of_what_an_undeletion_left(cluster: Cluster) -> None:
    """It wrote the manifest and failed; the backup is still recorded as deleted."""
    backup = cluster.backup()
    delete(cluster, backup)
    with dying_at(cluster, 1):
        cluster.database.deletions.request_undeletion(backup.id)
        cluster.run(backup, JobKind.UNDELETION, still_owner=_until_put_back(cluster, backup))
    job = cluster.job(backup, JobKind.UNDELETION)
    cluster.database.jobs.finish(job.id, JobStatus.FAILED)
    assert status_of(cluster, backup) is S.DELETED
    assert layout.manifest_name(backup.id) in names(cluster, backup)
    cluster.clock.now += WEEK
    assert purge(cluster) == [backup.id]
    assert names(cluster, backup) == []


def _until_put_back(cluster: Cluster, backup: Backup) -> Callable[[], bool]:
    job = cluster.job(backup, JobKind.UNDELETION)
    return lambda: "put_back" not in cluster.database.jobs.step_results(job.id, 1)

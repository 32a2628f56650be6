# SPDX-License-Identifier: Apache-2.0
"""Deletion, by conductors and stores that fail at any moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.errors import (
    Conflict,
    NotFound,
    StorageRefused,
    StorageUnavailable,
)
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.stored_backups import StoredBackup, StoredBackups
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.deleting import (
    CONTAINER,
    WEEK,
    S,
    assert_restorable,
    delete,
    dying_at,
    names,
    status_of,
    undelete,
)
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX


def test_deletion_sets_the_manifest_aside(cluster: Cluster) -> None:
    backup = cluster.backup()
    packs, before = cluster.packs(1).packs(), names(cluster, backup)
    deleted = delete(cluster, backup)
    assert deleted.status is S.DELETED
    assert deleted.deleted_at is not None
    assert deleted.undelete_until is not None
    assert (deleted.undelete_until - deleted.deleted_at).total_seconds() == WEEK
    assert cluster.job(backup, JobKind.DELETION).result == {
        "objects_removed": 1, "undelete_until": "2027-01-22T08:00:00.125Z",
    }  # fmt: skip
    aside, manifest = layout.deleted_manifest_name(backup.id), layout.manifest_name(backup.id)
    assert set(names(cluster, backup)) == {*before, aside} - {manifest}
    assert cluster.packs(1).packs() == packs
    with pytest.raises(NotFound):
        cluster.repository.read_backup(backup.id)


def test_without_a_period_deletion_removes_all_manifests(cluster: Cluster) -> None:
    backup = cluster.backup()
    packs = cluster.packs(1).packs()
    deleted = delete(cluster, backup, undelete_period=0.0)
    assert (deleted.status, deleted.undelete_until) == (S.DELETED, None)
    assert deleted.purged_at is not None
    # The backup manifest, the schema as text and as rows, and three node manifests.
    assert cluster.job(backup, JobKind.DELETION).result == {
        "objects_removed": 6, "undelete_until": None,
    }  # fmt: skip
    assert names(cluster, backup) == []
    assert cluster.packs(1).packs() == packs
    with pytest.raises(Conflict, match="its manifests were purged at"):
        cluster.database.deletions.request_undeletion(backup.id)


def test_deletion_reaches_what_is_not_listed_yet(cluster: Cluster) -> None:
    """Listings lag; what stayed behind would keep packs for ever."""
    backup = cluster.backup()
    cluster.store.unlisted = lambda name: True
    delete(cluster, backup, undelete_period=0.0)
    assert status_of(cluster, backup) is S.DELETED
    cluster.store.unlisted = lambda name: False
    assert list(cluster.store.list(CONTAINER)) == []


def test_deletion_of_a_failed_backup(cluster: Cluster) -> None:
    """It has no manifest, so it could not be undeleted: nothing is kept."""
    backup = cluster.backup(scope={"type": "galaxy"})
    deleted = delete(cluster, backup)
    assert (deleted.status, deleted.undelete_until) == (S.DELETED, None)
    assert deleted.purged_at is not None


def test_a_manifest_whose_commit_is_not_recorded_is_not_kept(cluster: Cluster) -> None:
    """The backup failed, and so an undeletion must not make a backup of it."""
    backup = cluster.backup()
    failed = cluster.request()
    cluster.run(failed, still_owner=cluster.until(failed, Phase.UPLOAD))
    cluster.database.backups.set_status(failed.id, S.CREATE_FAILED)
    body = b"".join(cluster.store.read(CONTAINER, layout.manifest_name(backup.id)))
    cluster.repository.commit_text(failed.id, body)
    assert delete(cluster, failed).purged_at is not None
    assert names(cluster, failed) == []


def test_deletion_of_a_backup_whose_manifest_is_lost(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    backup = cluster.backup()
    cluster.store.delete(CONTAINER, layout.manifest_name(backup.id))
    assert delete(cluster, backup).purged_at is not None
    assert "no manifest in the store, so it cannot be undeleted" in caplog.text
    assert names(cluster, backup) == []


def test_deletion_that_an_older_release_began(cluster: Cluster) -> None:
    """It has removed the manifest and stored no step; the rest goes as it would have then."""
    backup = cluster.backup()
    cluster.database.backups.request_deletion(backup.id)
    cluster.store.delete(CONTAINER, layout.manifest_name(backup.id))
    deleted = cluster.run(backup, JobKind.DELETION)
    assert (deleted.status, names(cluster, backup)) == (S.DELETED, [])


@pytest.mark.parametrize("write", range(3))
def test_trap_5_deletion_by_a_conductor_that_dies(cluster: Cluster, write: int) -> None:
    """Whatever it has done, the next one ends with a backup that can be undeleted."""
    backup = cluster.backup()
    with dying_at(cluster, write) as writes:
        died = delete(cluster, backup)
    assert writes == [
        layout.deleted_manifest_name(backup.id), layout.manifest_name(backup.id)
    ][:write]  # fmt: skip
    assert died.status is (S.DELETED if write == 2 else S.DELETING)
    found = StoredBackups(cluster.store, PREFIX).backup(CLUSTER, backup.id)
    assert isinstance(found, StoredBackup)
    assert (found.deleted is None) == (write < 2)
    if write < 2:
        assert cluster.run(backup, JobKind.DELETION, owner="conductor-2").status is S.DELETED
    assert undelete(cluster, backup).status is S.CREATED
    assert_restorable(cluster, backup)


@pytest.mark.parametrize("step", ["decide", "set_aside", "remove", "purge"])
def test_deletion_by_a_conductor_that_dies_between_steps(cluster: Cluster, step: str) -> None:
    """The times are those of the first one, although the clock goes on."""
    backup = cluster.backup()
    begun = cluster.database.deletions.now()
    job = cluster.database.backups.request_deletion(backup.id)

    def alive() -> bool:
        return step not in cluster.database.jobs.step_results(job.id, 1)

    cluster.run(backup, JobKind.DELETION, still_owner=alive)
    if step != "purge":  # after which nothing asks who owns the job
        assert status_of(cluster, backup) is S.DELETING
        cluster.clock.now += 1000
        cluster.run(backup, JobKind.DELETION, owner="conductor-2")
    deleted = cluster.database.backups.get(backup.id)
    assert (deleted.status, deleted.deleted_at) == (S.DELETED, begun)
    assert undelete(cluster, backup).status is S.CREATED
    assert_restorable(cluster, backup)


@pytest.mark.parametrize("write", [0, 1, 2, 3, 8])
def test_trap_6_deletion_without_a_period_by_a_conductor_that_dies(
    cluster: Cluster, write: int
) -> None:
    """The manifest goes before the data, and what is set aside goes last."""
    backup = cluster.backup()
    with dying_at(cluster, write) as writes:
        delete(cluster, backup, undelete_period=0.0)
    assert writes[1:2] in ([], [layout.manifest_name(backup.id)])
    # Set aside, remove the manifest; then its name again, five objects, and what was set aside.
    assert status_of(cluster, backup) is S.DELETING
    found = StoredBackups(cluster.store, PREFIX).backup(CLUSTER, backup.id)
    assert isinstance(found, StoredBackup)
    assert (found.deleted is None) == (write < 2)
    cluster.run(backup, JobKind.DELETION, owner="conductor-2", undelete_period=0.0)
    assert status_of(cluster, backup) is S.DELETED
    assert names(cluster, backup) == []


def test_interrupted_deletion_goes_on(cluster: Cluster) -> None:
    backup = cluster.backup()
    deleted: list[str] = []

    def fail(name: str) -> None:
        deleted.append(name)
        if len(deleted) == 2:
            raise StorageUnavailable("503")

    cluster.store.before_delete = fail
    delete(cluster, backup, undelete_period=0.0)
    assert status_of(cluster, backup) is S.DELETED
    assert deleted[0] == layout.manifest_name(backup.id)


def test_deletion_that_is_refused_can_be_asked_for_again(cluster: Cluster) -> None:
    backup = cluster.backup()

    def fail(name: str) -> None:
        raise StorageRefused("the account is read-only")

    cluster.store.before_delete = fail
    delete(cluster, backup)
    failed = cluster.database.backups.get(backup.id)
    assert (failed.status, failed.error) == (
        S.DELETE_FAILED,
        "the account is read-only",
    )
    cluster.store.before_delete = lambda name: None
    delete(cluster, backup)
    assert status_of(cluster, backup) is S.DELETED


def test_deletion_waits_for_a_running_backup(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """The request cancels the backup; until that is done, nothing is removed."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.UPLOAD))
    cluster.database.backups.request_deletion(backup.id)
    with ThreadPoolExecutor(1) as pool:
        deletion = pool.submit(cluster.run, backup, JobKind.DELETION)
        wait_for(
            lambda: "is still being cancelled" in caplog.text,
            deadline=10,
            what="a look",
            interval=0.01,
        )
        cluster.run(backup, owner="conductor-2")
        assert deletion.result(10).status is S.DELETED
    assert cluster.job(backup).status is JobStatus.CANCELLED
    assert list(cluster.store.list("backups.test%20cluster")) == []


def test_deletion_is_refused_while_a_verification_reads(cluster: Cluster) -> None:
    backup = cluster.backup()
    job = cluster.database.jobs.create(
        JobKind.VERIFICATION, Subject.backup(backup.id), CLUSTER, {"read_data": True}
    )
    with pytest.raises(Conflict, match=f"is read by verification {job.id}"):
        cluster.database.backups.request_deletion(backup.id)
    cluster.run(backup, JobKind.VERIFICATION)
    assert delete(cluster, backup).status is S.DELETED


def test_a_conductor_that_lost_the_job_removes_no_manifest(cluster: Cluster) -> None:
    """Another one may have ended the deletion since, and the backup may have been undeleted."""
    backup = cluster.backup()
    reads: list[str] = []

    def read(name: str) -> None:
        if name == layout.manifest_name(backup.id):
            reads.append(name)

    cluster.store.before_read = read
    cluster.database.backups.request_deletion(backup.id)
    # It is read to be set aside, and once more right before its removal.
    cluster.run(backup, JobKind.DELETION, still_owner=lambda: len(reads) < 2)
    assert len(reads) == 2
    cluster.repository.read_backup(backup.id)
    assert status_of(cluster, backup) is S.DELETING
    assert cluster.run(backup, JobKind.DELETION, owner="conductor-2").status is S.DELETED

# SPDX-License-Identifier: Apache-2.0
"""Every backup job ends, also if its clean-up fails."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.jobs import JobKind, JobStatus
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster

_NO_CONTAINER = "\u6771" * 30  # nine characters each in the name of a container


@pytest.mark.parametrize("cancel", [False, True])
def test_cluster_whose_name_no_container_can_have(cluster: Cluster, cancel: bool) -> None:
    """An older release recorded it; the clean-up raised the error again and again.

    The commit and the clean-up after it both need the container.
    """
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.RELEASE))
    with cluster.database._engine.begin() as connection:
        for table in ("backups", "jobs"):
            connection.execute(text(f"UPDATE {table} SET cluster = :name"), {"name": _NO_CONTAINER})
    if cancel:
        cluster.database.jobs.request_cancel(cluster.job(backup).id)
    ended = cluster.run(backup, owner="conductor-2")
    assert ended.status is (BackupStatus.CANCELLED if cancel else BackupStatus.CREATE_FAILED)
    assert ("cancelled on request" if cancel else "is too long for Swift") in ended.error
    assert cluster.job(backup).status.finished
    assert cluster.snapshots() == []


def test_backup_that_is_deleted_before_its_job_has_ended(cluster: Cluster) -> None:
    """The conductor died right after the commit; the deletion asked for the job's end."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.RELEASE))
    cluster.database.backups.set_status(backup.id, BackupStatus.CREATED)
    cluster.database.backups.request_deletion(backup.id)
    cluster.run(backup, owner="conductor-2")
    assert cluster.job(backup).status is JobStatus.DONE
    cluster.run(backup, JobKind.DELETION)
    assert cluster.database.backups.get(backup.id).status is BackupStatus.DELETED


def test_failure_of_a_backup_that_is_deleted_meanwhile(cluster: Cluster) -> None:
    """Its failure was decided; its record has gone on since."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.SNAPSHOT))
    job = cluster.job(backup)
    cluster.database.jobs.save_step(job.id, job.round, "failed", {"code": "NoSpace", "message": ""})
    cluster.database.backups.set_status(backup.id, BackupStatus.CREATE_FAILED)
    cluster.database.backups.set_status(backup.id, BackupStatus.DELETING)
    cluster.run(backup, owner="conductor-2")
    assert cluster.job(backup).status is JobStatus.FAILED


def test_clean_up_of_a_store_that_raises_anything(cluster: Cluster) -> None:
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.RELEASE))

    def broken(name: str) -> None:
        raise ZeroDivisionError

    cluster.store.before_delete = broken
    cluster.database.jobs.request_cancel(cluster.job(backup).id)
    assert cluster.run(backup, owner="conductor-2").status is BackupStatus.CANCELLED


def test_error_that_is_longer_than_a_record(cluster: Cluster) -> None:
    def refuse() -> None:
        raise ZeroDivisionError("x" * 2_000_000)

    cluster.nodes[1].on_snapshot = refuse
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert len(backup.error) < 1_001_000
    assert cluster.workers.starts(TaskKind.SNAPSHOT.value)

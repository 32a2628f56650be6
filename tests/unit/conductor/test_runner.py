# SPDX-License-Identifier: Apache-2.0
"""Verifications, and jobs that meet what nobody expected."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from sqlalchemy import event

from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.jobs import Fence, JobKind, JobStatus, Resource, Subject
from magnetodb_backup.errors import (
    DatabaseUnavailable,
    InvalidValue,
)
from magnetodb_backup.tasks.kinds import TaskState, TaskStatus
from tests.lab.catalogue import adopt
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER

# Verification.


def test_verification_reports_what_it_found(cluster: Cluster) -> None:
    backup = cluster.backup()
    report = cluster.verify(backup)
    assert (report["files"], report["packs"], report["problems"]) == (12, 3, [])
    assert report["bytes_read"] == backup.bytes
    assert cluster.job(backup, JobKind.VERIFICATION).status is JobStatus.DONE


def test_verification_of_what_was_never_committed(cluster: Cluster) -> None:
    backup = cluster.backup(scope={"type": "galaxy"})
    cluster.verify(backup)
    job = cluster.job(backup, JobKind.VERIFICATION)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "NotFound")
    assert "it was not committed, or it was deleted" in job.error
    assert cluster.database.backups.get(backup.id) == backup


def test_cancelled_verification_leaves_the_backup_alone(cluster: Cluster) -> None:
    backup = cluster.backup()
    job = cluster.database.jobs.create(JobKind.VERIFICATION, Subject.backup(backup.id), CLUSTER, {})
    cluster.database.jobs.request_cancel(job.id)
    assert cluster.run(backup, JobKind.VERIFICATION) == backup
    assert cluster.job(backup, JobKind.VERIFICATION).status is JobStatus.CANCELLED


# What any job may meet.


def test_finished_job_is_left_alone(cluster: Cluster) -> None:
    backup = cluster.backup()
    puts, job = list(cluster.store.puts), cluster.job(backup)
    cluster.runner().run(job, Fence("conductor-1", ((Resource.job(job.id), 1),)), lambda: True)
    assert cluster.store.puts == puts
    assert cluster.job(backup) == job


def test_job_of_another_owner_is_left_alone(cluster: Cluster) -> None:
    backup = cluster.request()
    mine, fence = adopt(cluster.database, cluster.job(backup).id, "conductor-1")
    adopt(cluster.database, mine.id, "conductor-2")
    cluster.runner().run(mine, fence, lambda: True)
    assert cluster.steps(backup) == set()
    assert cluster.database.backups.get(backup.id).status is BackupStatus.CREATING


def test_failure_that_comes_after_the_job_went_elsewhere_is_not_its_end(cluster: Cluster) -> None:
    """A conductor stood still for a while; meanwhile another one has adopted the job."""
    backup = cluster.request(scope={"type": "galaxy"})
    one_at_a_time, moved = threading.Lock(), threading.Event()

    def move(worker_id: str, status: TaskStatus) -> None:
        # The end is seen twice, in a message and in an answer that may come later.
        with one_at_a_time:
            if status.state is TaskState.FAILED and not moved.is_set():
                adopt(cluster.database, cluster.job(backup).id, "conductor-2")
                moved.set()

    cluster.workers.after_status = move
    assert cluster.run(backup).status is BackupStatus.CREATING
    assert cluster.job(backup).status is JobStatus.RUNNING
    assert cluster.steps(backup) == set()
    cluster.workers.after_status = lambda worker_id, status: None
    assert cluster.run(backup, owner="conductor-2").status is BackupStatus.CREATE_FAILED


def test_result_that_the_database_does_not_take_ends_the_job(cluster: Cluster) -> None:
    """A report of thousands of lost packs; to verify again would not make it shorter."""
    backup = cluster.backup()

    def refuse(*event: Any) -> None:
        if any('"read_data"' in str(value) for value in event[3] or ()):
            raise InvalidValue("Data too long for column 'result'")

    engine = cluster.database._engine
    event.listen(engine, "before_cursor_execute", refuse)
    cluster.database.jobs.create(JobKind.VERIFICATION, Subject.backup(backup.id), CLUSTER, {})
    cluster.run(backup, JobKind.VERIFICATION)
    event.remove(engine, "before_cursor_execute", refuse)
    job = cluster.job(backup, JobKind.VERIFICATION)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "InvalidValue")
    assert "Data too long" in job.error


def test_error_with_a_name_that_is_no_text(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Files may have any bytes in their names; the job ends in spite of them, and it is logged."""
    odd = os.fsdecode(b"\xff")

    def write() -> None:
        (cluster.nodes[2].snapshots("mdbb-*")[0] / odd / odd).mkdir(parents=True)

    cluster.nodes[2].on_snapshot = write
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "\\udcff is not a regular file" in backup.error
    assert b"\\udcff is not a regular file" in caplog.text.encode()


def test_error_that_nobody_expected(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    def fail(name: str) -> None:
        if name.endswith("manifest.json"):
            raise ZeroDivisionError("oops")

    cluster.store.before_put = fail
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert backup.error == "ZeroDivisionError: oops"
    assert cluster.job(backup).error_code == "Unexpected"
    assert "Traceback" in caplog.text


def test_stopping_process_leaves_the_job(cluster: Cluster) -> None:
    backup = cluster.request()
    cluster.stopping.set()
    assert cluster.run(backup).status is BackupStatus.CREATING
    assert cluster.job(backup).status is JobStatus.RUNNING


def test_outage_of_the_database_leaves_the_job(cluster: Cluster) -> None:
    """It can be recorded nowhere; whoever finds the job afterwards goes on."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.SNAPSHOT))
    claimed = adopt(cluster.database, cluster.job(backup).id, "conductor-1")
    with cluster.database_away(), pytest.raises(DatabaseUnavailable):
        cluster.runner().run(*claimed, lambda: True)
    assert cluster.run(backup, owner="conductor-2").status is BackupStatus.CREATED
    assert cluster.did("snapshot") == [1, 1, 1]

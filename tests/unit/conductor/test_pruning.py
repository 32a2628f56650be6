# SPDX-License-Identifier: Apache-2.0
"""When a conductor removes old jobs and records, and how much at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from magnetodb_backup.conductor.pruning import Pruner, PruningSettings
from magnetodb_backup.database import Database
from magnetodb_backup.database.models import BackupRow, JobRow
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from tests.lab.catalogue import recorded
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.conductors import Start
from tests.unit.domain.samples import TIME

DAY = 86400.0
SETTINGS = PruningSettings(steps_after=30 * DAY, jobs_after=400 * DAY)


class Looks:
    """A pruner whose clock stands still."""

    def __init__(self, database: Database, settings: PruningSettings = SETTINGS) -> None:
        self.now = 100.0
        self.pruner = Pruner(database, settings, clock=lambda: self.now)

    def look(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.pruner.look()


def _ended_jobs(database: Database, number: int) -> None:
    """Record jobs of 2024, each with a step."""
    for n in range(number):
        job = database.jobs.create(JobKind.VERIFICATION, Subject.cluster(f"{n}"), "c", {})
        database.jobs.save_step(job.id, 1, "parse", {})
        database.jobs.finish(job.id, JobStatus.DONE)
    with database._engine.begin() as connection:
        connection.execute(update(JobRow).values(updated_at=TIME))


def _steps(database: Database) -> int:
    with database._engine.begin() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM job_steps").scalar() or 0)


def test_one_batch_at_a_look_then_a_pause(database: Database) -> None:
    _ended_jobs(database, 120)
    looks, left = Looks(database), []
    for _ in range(3):
        looks.look()
        left.append(_steps(database))
    assert left == [70, 20, 0]
    _ended_jobs(database, 0)
    job = database.jobs.create(JobKind.VERIFICATION, Subject.cluster("new"), "c", {})
    database.jobs.save_step(job.id, 1, "parse", {})
    database.jobs.finish(job.id, JobStatus.DONE)
    _ended_jobs(database, 0)
    looks.look(3599)
    assert _steps(database) == 1
    looks.look(1)
    assert _steps(database) == 0


def test_zero_keeps_all(database: Database) -> None:
    _ended_jobs(database, 1)
    backup = recorded(database, "c", BackupStatus.DELETED)
    with database._engine.begin() as connection:
        connection.execute(update(BackupRow).values(finished_at=TIME, updated_at=TIME))
    Looks(database, PruningSettings(0, 0)).look()
    assert _steps(database) == 1
    assert database.backups.get(backup.id).id == backup.id
    Looks(database, PruningSettings(0, 400 * DAY)).look()
    assert database.backups.list(include_deleted=True) == ()
    assert _steps(database) == 1  # of a job that is the newest about its subject


def test_an_outage_is_logged_and_outlived(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    looks = Looks(cluster.database)
    _ended_jobs(cluster.database, 1)
    with cluster.database_away():
        looks.look()
    assert "cannot remove old jobs and records; trying again later: the database" in caplog.text
    looks.look(3600)
    assert _steps(cluster.database) == 0


def test_conductors_prune_beside_a_backup(cluster: Cluster, start: Start) -> None:
    """Several of them, with the jobs that run."""
    _ended_jobs(cluster.database, 120)
    cluster.clock.now = TIME.timestamp() + timedelta(days=40).total_seconds()
    for number in cluster.nodes:
        cluster.report(number)
    for name in ("conductor-1", "conductor-2"):
        conductor = start(name)
        conductor.loop.also(Pruner(cluster.database, SETTINGS).look)
    backup = cluster.request()
    wait_for(
        lambda: cluster.job(backup).status.finished, deadline=30, what="a backup", interval=0.02
    )
    assert cluster.database.backups.get(backup.id).status is BackupStatus.CREATED
    wait_for(
        lambda: _steps(cluster.database) == len(cluster.steps(backup)),
        deadline=30,
        what="the end of old steps",
        interval=0.02,
    )
    assert len(cluster.steps(backup)) > 5

# SPDX-License-Identifier: Apache-2.0
"""The loop that begins other work than backups at its times, and the jobs that it begins."""

from __future__ import annotations

import threading

from magnetodb_backup.conductor.schedules import ScheduleLoop
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.records import RunStatus, Schedule, ScheduleRun
from tests.lab.processes import wait_for
from tests.lab.schedules import backups_of, runs_of, scheduled
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.collection.collecting import SETTINGS
from tests.unit.conductor.conductors import Conductor, Start
from tests.unit.worker.fake_cql import CLUSTER

HOUR = 3600.0


def of_action(database: Database, action: str, **fields: object) -> Schedule:
    values = {"name": action, "scope": {}, "action": action, "cron": "0 * * * *", **fields}
    return scheduled(database, CLUSTER, **values)


def looking(cluster: Cluster, conductor: Conductor) -> ScheduleLoop:
    return ScheduleLoop(
        cluster.database, conductor.loop.wake, interval=10, stopping=threading.Event()
    )


def next_hour(cluster: Cluster, loop: ScheduleLoop) -> None:
    """Let an hour pass, look, and wait for the end of all jobs."""
    cluster.clock.now += HOUR
    for node in cluster.nodes:
        cluster.report(node)
    loop.look()
    jobs = cluster.database.jobs
    wait_for(lambda: not jobs.unfinished(), deadline=60, what="the ends", interval=0.02)


def last(cluster: Cluster, schedule: Schedule) -> ScheduleRun:
    return runs_of(cluster.database, schedule)[0]


def test_an_expiry_and_a_collection(cluster: Cluster, start: Start) -> None:
    old, new = cluster.backup(), cluster.backup()
    database = cluster.database
    database.retention.put(CLUSTER, Policy(redundancy=1))
    expire, collect = of_action(database, "expire"), of_action(database, "collect")
    conductor = start(poll_interval=3600, runner=cluster.runner(collection=SETTINGS))
    next_hour(cluster, looking(cluster, conductor))
    for schedule, kind in ((expire, JobKind.RETENTION), (collect, JobKind.COLLECTION)):
        run = last(cluster, schedule)
        (job,) = (database.jobs.get(job_id) for job_id in run.jobs)
        assert (run.status, run.reason) == (RunStatus.DONE, "")
        assert (job.kind, run.finished_at) == (kind, job.updated_at)
        assert job.result is not None
    statuses = [database.backups.get(backup.id).status for backup in (old, new)]
    assert statuses == [BackupStatus.DELETED, BackupStatus.CREATED]


def test_a_backup_is_verified_and_expires_by_its_schedule(cluster: Cluster, start: Start) -> None:
    """The backups of the cluster that its schedule has not made have no policy, and stay."""
    database, by_hand = cluster.database, cluster.backup()
    nightly = scheduled(
        database, CLUSTER, cron="0 * * * *", scope={"type": "keyspaces", "keyspaces": ["ks"]},
        verify=["read-data"], retention={"redundancy": 1},
    )  # fmt: skip
    loop = looking(cluster, start(poll_interval=3600))
    for _ in range(2):
        next_hour(cluster, loop)
        run = last(cluster, nightly)
        (job,) = (database.jobs.get(job_id) for job_id in run.jobs)
        assert (run.status, job.backup_id) == (RunStatus.CREATED, run.backup_id)
        assert job.result is not None
        assert (job.result["problem_count"], job.result["read_data"]) == (0, True)
    old, new = (run.backup_id for run in reversed(runs_of(database, nightly)))
    expire = of_action(database, "expire")
    next_hour(cluster, loop)
    assert last(cluster, expire).status is RunStatus.DONE
    kept = {b.id for b in backups_of(database) if b.status is BackupStatus.CREATED}
    assert kept == {by_hand.id, new, last(cluster, nightly).backup_id} - {old}


def test_damage_is_reported_by_the_run_of_a_verification(cluster: Cluster, start: Start) -> None:
    backup = cluster.backup()
    (pack,) = cluster.packs(1).packs()
    cluster.lose_pack(1, pack)
    verify = of_action(cluster.database, "verify", verify=["read-data"])
    next_hour(cluster, looking(cluster, start(poll_interval=3600)))
    run = last(cluster, verify)
    assert run.status is RunStatus.FAILED
    assert f"the verification of backup {backup.id} found " in run.reason

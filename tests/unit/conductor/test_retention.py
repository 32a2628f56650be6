# SPDX-License-Identifier: Apache-2.0
"""The job that applies a retention policy."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import event

from magnetodb_backup.database.findings import FoundBy
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, Subject
from magnetodb_backup.domain.restore.records import RestoreRequest, RestoreStatus
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.errors import DatabaseUnavailable
from tests.lab.catalogue import adopt
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.conductors import Start
from tests.unit.domain.samples import BACKUP
from tests.unit.worker.fake_cql import CLUSTER

DAMAGE = Damage(DamagedObject.PACK, "host", "pack", "missing", "")
S = BackupStatus


def learned(cluster: Cluster, days: float, status: BackupStatus = S.CREATED) -> str:
    end = datetime.now(timezone.utc) - timedelta(days=days)
    backup = replace(
        BACKUP, id=str(uuid.uuid4()), name="", cluster=CLUSTER, status=status,
        created_at=end, updated_at=end, finished_at=end,
    )  # fmt: skip
    cluster.database.backups.learn(backup, [])
    return backup.id


def requested(cluster: Cluster, policy: Policy) -> Job:
    cluster.database.retention.put(CLUSTER, policy)
    return cluster.database.jobs.create(JobKind.RETENTION, Subject.cluster(CLUSTER), CLUSTER, {})


def statuses(cluster: Cluster, *backups: str) -> list[BackupStatus]:
    return [cluster.database.backups.get(backup).status for backup in backups]


def attempt(cluster: Cluster, job: Job, still_owner: Callable[[], bool] = lambda: True) -> Job:
    """Run the job as a conductor that adopts it does."""
    claimed, fence = adopt(cluster.database, job.id, str(uuid.uuid4()))
    cluster.runner().run(claimed, fence, still_owner)
    return cluster.database.jobs.get(job.id)


def test_what_expires_is_deleted_and_nothing_else(cluster: Cluster, start: Start) -> None:
    first, second, third = cluster.backup(), cluster.backup(), cluster.backup()
    failed = learned(cluster, 9, S.CREATE_FAILED)
    job = requested(cluster, Policy(redundancy=2))
    start()
    jobs = cluster.database.jobs
    wait_for(lambda: jobs.get(job.id).status.finished, deadline=30, what="the end", interval=0.02)
    ended = jobs.get(job.id)
    assert (ended.status, ended.result) == (
        JobStatus.DONE,
        {
            "expired": [
                {"backup_id": failed, "why": "failed or cancelled 7 or more days ago"},
                {"backup_id": first.id, "why": "no rule of the policy keeps it"},
            ],
            "kept": 2,
            "later": 0,
            "deleted": [failed, first.id],
            "left": [],
        },
    )
    wait_for(lambda: not jobs.unfinished(), deadline=30, what="the deletions", interval=0.02)
    assert statuses(cluster, first.id, failed) == [S.DELETED] * 2
    assert statuses(cluster, second.id, third.id) == [S.CREATED] * 2
    cluster.repository.read_backup(second.id)
    again = requested(cluster, Policy(redundancy=2))
    wait_for(lambda: jobs.get(again.id).status.finished, deadline=30, what="the end", interval=0.02)
    result = jobs.get(again.id).result
    assert result == {"expired": [], "kept": 2, "later": 0, "deleted": [], "left": []}


def test_what_has_changed_since_the_decision_stays(cluster: Cluster) -> None:
    """A conductor is killed between the decision and the deletions."""
    ids = [learned(cluster, days) for days in (4, 3, 2, 1)]
    job = requested(cluster, Policy(redundancy=1))
    database = cluster.database

    def decided() -> bool:
        return "decide" not in database.jobs.step_results(job.id, 1)

    assert attempt(cluster, job, decided).status is JobStatus.RUNNING
    assert statuses(cluster, *ids) == [S.CREATED] * 4
    database.retention.mark(ids[0], CLUSTER, "audit")
    database.damaged_packs.record(FoundBy("v", ids[3], CLUSTER), [DAMAGE], read_data=False)
    ended = attempt(cluster, job)
    assert ended.result is not None
    assert (ended.status, ended.result["deleted"]) == (JobStatus.DONE, [ids[1]])
    left = {one["backup_id"]: one["why"] for one in ended.result["left"]}
    assert left == {
        ids[0]: "kept: audit",
        ids[2]: "redundancy: one of the last 1",
    }
    assert statuses(cluster, *ids) == [S.CREATED, S.DELETING, S.CREATED, S.CREATED]


@pytest.mark.parametrize("statement", range(1, 40))
def test_killed_at_any_statement_nothing_is_deleted_that_is_kept(
    cluster: Cluster, statement: int
) -> None:
    ids = [learned(cluster, days) for days in (5, 4, 3, 2, 1)]
    job = requested(cluster, Policy(redundancy=2))
    seen = 0

    def die(*of_event: object) -> None:
        nonlocal seen
        seen += 1
        if seen == statement:
            raise DatabaseUnavailable("the process is killed")

    engine = cluster.database._engine
    event.listen(engine, "before_cursor_execute", die)
    try:
        attempt(cluster, job)
    except DatabaseUnavailable:
        pass
    finally:
        event.remove(engine, "before_cursor_execute", die)
    assert seen >= statement, "the job has fewer statements"
    assert set(statuses(cluster, *ids[:3])) <= {S.CREATED, S.DELETING}
    assert statuses(cluster, *ids[3:]) == [S.CREATED] * 2
    ended = attempt(cluster, job)
    assert ended.result is not None
    assert (ended.status, ended.result["deleted"]) == (JobStatus.DONE, ids[:3])
    assert statuses(cluster, *ids) == [S.DELETING] * 3 + [S.CREATED] * 2
    kinds = [job.kind for job in cluster.database.jobs.unfinished()]
    assert kinds == [JobKind.DELETION] * 3


def test_a_backup_that_is_restored_is_left(cluster: Cluster) -> None:
    ids = [learned(cluster, days) for days in (3, 2, 1)]
    restore_id = str(uuid.uuid4())
    cluster.database.restores.create(RestoreRequest(ids[0]), restore_id, CLUSTER, CLUSTER)
    ended = attempt(cluster, requested(cluster, Policy(redundancy=1)))
    assert ended.result is not None
    (left,) = ended.result["left"]
    assert left["backup_id"] == ids[0]
    assert f"is read by restore {restore_id}" in left["why"]
    assert statuses(cluster, *ids) == [S.CREATED, S.DELETING, S.CREATED]
    cluster.database.restores.set_status(restore_id, RestoreStatus.RESTORED)
    cluster.database.jobs.finish(restore_id, JobStatus.DONE)
    attempt(cluster, requested(cluster, Policy(redundancy=1)))
    assert statuses(cluster, *ids) == [S.DELETING, S.DELETING, S.CREATED]


def test_a_policy_that_is_removed_meanwhile(cluster: Cluster) -> None:
    old, _ = learned(cluster, 2), learned(cluster, 1)
    job = requested(cluster, Policy(redundancy=1))
    cluster.database.retention.remove(CLUSTER)
    ended = attempt(cluster, job)
    assert (ended.status, ended.error_code) == (JobStatus.FAILED, "NotFound")
    assert statuses(cluster, old) == [S.CREATED]


def test_a_failed_deletion_is_repeated(cluster: Cluster) -> None:
    """Trap 6: an interrupted purge never resumed."""
    failed = learned(cluster, 1, S.DELETE_FAILED)
    attempt(cluster, requested(cluster, Policy(redundancy=5)))
    assert statuses(cluster, failed) == [S.DELETING]


def test_it_is_cancelled_between_deletions(cluster: Cluster) -> None:
    ids = [learned(cluster, days) for days in (3, 2, 1)]
    job = requested(cluster, Policy(redundancy=1))
    cluster.database.jobs.request_cancel(job.id)
    assert attempt(cluster, job).status is JobStatus.CANCELLED
    assert statuses(cluster, *ids) == [S.CREATED] * 3


def test_many_expire_in_batches(cluster: Cluster) -> None:
    ids = [learned(cluster, 200 - number) for number in range(120)]
    ended = attempt(cluster, requested(cluster, Policy(redundancy=3)))
    assert ended.result is not None
    assert ended.result["deleted"] == ids[:-3]
    assert set(statuses(cluster, *ids[:-3])) == {S.DELETING}
    assert set(statuses(cluster, *ids[-3:])) == {S.CREATED}

# SPDX-License-Identifier: Apache-2.0
"""The verification of an earlier state of the store: it reads that, and proves nothing of today."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, Subject
from magnetodb_backup.errors import UnknownTask
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER

THEN = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
RUNGS = ("read-data", "parse", "schema")


@pytest.fixture
def backup(cluster: Cluster) -> Backup:
    return cluster.backup()


def verified(cluster: Cluster, backup: Backup, *rungs: str, **more: Any) -> Job:
    parameters = {
        "read_data": "read-data" in rungs, "rungs": list(rungs), "as_of": THEN.isoformat(), **more,
    }  # fmt: skip
    subject = Subject.backup(backup.id)
    cluster.database.jobs.create(JobKind.VERIFICATION, subject, CLUSTER, parameters)
    cluster.run(backup, JobKind.VERIFICATION)
    return cluster.job(backup, JobKind.VERIFICATION)


def report(cluster: Cluster, backup: Backup, *rungs: str, **more: Any) -> Mapping[str, Any]:
    job = verified(cluster, backup, *rungs, **more)
    assert job.status is JobStatus.DONE, job
    return job.result or {}


def destroy(cluster: Cluster) -> None:
    """Delete all data and overwrite all manifests, by the service's own credentials."""
    store = cluster.store
    for container in list(store.containers("")):
        for info in list(store.list(container)):
            if info.name.startswith("packs/"):
                store.delete(container, info.name)
            else:
                store.change(container, info.name, lambda body: b"gone")


def test_what_was_destroyed_since_is_whole(cluster: Cluster, backup: Backup) -> None:
    cluster.verify(backup, "read-data")
    cluster.store.remember(THEN)
    destroy(cluster)
    before = cluster.database.proofs.of(backup.id)
    found = report(cluster, backup, *RUNGS)
    assert (found["problems"], found["rungs"]) == ([], list(RUNGS))
    assert found["as_of"] == THEN.isoformat()
    assert found["packs_read"] == found["packs"] == 3
    assert set(found["read_by"].values()) == {n.me.address for n in cluster.nodes.values()}
    assert sum(len(s.verified) for s in cluster.scratch.values()) == found["sstables"] > 0
    assert cluster.database.proofs.of(backup.id) == before  # of the state before, and as they were
    assert cluster.verify(backup)["problems"] != []


def test_without_reading_data(cluster: Cluster, backup: Backup) -> None:
    cluster.store.remember(THEN)
    destroy(cluster)
    found = report(cluster, backup, "exists")
    assert (found["problems"], found["packs"]) == ([], 3)
    assert cluster.database.proofs.of(backup.id) == ()


@pytest.mark.parametrize("sample", [None, {"percent": 50.0, "seed": 1, "series": ""}])
def test_what_was_damaged_then_is_reported_and_not_recorded(
    cluster: Cluster, backup: Backup, sample: dict[str, Any] | None
) -> None:
    whole = {n: cluster.packs(n) for n in cluster.nodes}
    packs = {n: sorted(p.packs()) for n, p in whole.items()}
    for number, names in packs.items():
        cluster.damage_pack(number, names[0], lambda body: bytes(len(body)))
    cluster.store.remember(THEN)
    more = {} if sample is None else {"sample": sample}
    problems = report(cluster, backup, "read-data", **more)["problems"]
    assert sample is not None or {p["kind"] for p in problems} == {"corrupt"}
    assert cluster.database.damaged_packs.of(CLUSTER) == {}
    assert cluster.database.proofs.of(backup.id) == ()


def test_a_store_without_that_state_is_an_error(cluster: Cluster, backup: Backup) -> None:
    job = verified(cluster, backup, "exists")
    assert job.status is JobStatus.FAILED
    assert "keeps no earlier versions" in job.error
    assert cluster.database.proofs.of(backup.id) == ()


def test_workers_of_an_older_release_do_not_read_the_present_store(
    cluster: Cluster, backup: Backup
) -> None:
    new = {TaskKind.VERIFY_READ_AS_OF, TaskKind.VERIFY_PARSE_AS_OF, TaskKind.VERIFY_SCHEMA_AS_OF}

    def before_start(worker_id: str, kind: TaskKind) -> None:
        if kind in new:
            raise UnknownTask(f"worker {worker_id} does not know the task {kind.value}")

    cluster.workers.before_start = before_start
    cluster.store.remember(THEN)
    destroy(cluster)
    found = report(cluster, backup, "read-data")
    assert (found["problems"], set(found["read_by"].values())) == ([], {""})  # by the conductor
    job = verified(cluster, backup, "parse")
    assert (job.status, job.error_code) == (JobStatus.FAILED, "UnknownTask")

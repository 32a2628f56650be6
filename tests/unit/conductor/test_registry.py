# SPDX-License-Identifier: Apache-2.0
"""A kind of job is one module and one line: here a kind about a cluster that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.registry import DEFINITIONS
from magnetodb_backup.domain.backup.views import job_view
from magnetodb_backup.domain.jobs import Job, JobStatus, Resource, Subject, SubjectKind
from magnetodb_backup.errors import BackupError, Cancelled, Conflict, InvalidValue
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.conductors import Start
from tests.unit.worker.fake_cql import CLUSTER


class Greeting:
    """Greets a cluster; the whole of what a kind of job needs."""

    kind = "greeting"
    subject = SubjectKind.CLUSTER
    exclusive = True
    background = False

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Return the greeting."""
        context.raise_if_cancelled()
        if job.parameters.get("rude"):
            raise InvalidValue("no greeting for anyone")
        context.database.jobs.save_step(job.id, job.round, "greet", {"said": "hello"})
        return {"greeted": job.subject.id}

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Leave a note of the failure."""
        context.database.jobs.save_step(job.id, job.round, "failed", error.as_record())


KINDS = (*DEFINITIONS, Greeting())


def _ended(cluster: Cluster, job: Job) -> Job:
    jobs = cluster.database.jobs
    wait_for(lambda: jobs.get(job.id).status.finished, deadline=30, what="the end", interval=0.02)
    return jobs.get(job.id)


def _greet(cluster: Cluster, **parameters: Any) -> Job:
    return cluster.database.jobs.create("greeting", Subject.cluster(CLUSTER), CLUSTER, parameters)


def test_another_kind_runs_from_its_request_to_its_end(cluster: Cluster, start: Start) -> None:
    start(runner=cluster.runner(KINDS))
    job = _greet(cluster)
    assert (job.subject, job.backup_id) == (Subject(SubjectKind.CLUSTER, CLUSTER), "")
    ended = _ended(cluster, job)
    assert (ended.status, ended.result) == (JobStatus.DONE, {"greeted": CLUSTER})
    assert cluster.database.jobs.step_results(job.id, 1) == {"greet": {"said": "hello"}}
    assert cluster.database.jobs.latest(Subject.cluster(CLUSTER), "greeting") == ended
    assert job_view(ended)["kind"] == "greeting"


def test_another_kind_fails_by_its_own_rules(cluster: Cluster, start: Start) -> None:
    start(runner=cluster.runner(KINDS))
    ended = _ended(cluster, _greet(cluster, rude=True))
    assert (ended.status, ended.error_code) == (JobStatus.FAILED, "InvalidValue")
    assert cluster.database.jobs.step_results(ended.id, 1)["failed"]["code"] == "InvalidValue"


def test_another_kind_is_cancelled_and_exclusive(cluster: Cluster, start: Start) -> None:
    job = _greet(cluster)
    with pytest.raises(Conflict, match=f"a greeting of cluster {CLUSTER} is PENDING"):
        _greet(cluster)
    busy = cluster.database.ownership.claim([Resource.cluster(CLUSTER)], "other", timeout=30)
    assert busy is not None
    assert cluster.database.jobs.claim(job.id, "me", timeout=30, exclusive=True) is None
    cluster.database.jobs.request_cancel(job.id)
    start(runner=cluster.runner(KINDS))
    ended = _ended(cluster, job)
    assert (ended.status, ended.error_code) == (JobStatus.CANCELLED, Cancelled.__name__)


def test_a_kind_that_this_version_does_not_know_is_left_alone(
    cluster: Cluster,
    start: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = _greet(cluster)
    start()
    backup = cluster.request()
    wait_for(lambda: cluster.job(backup).status.finished, deadline=30, what="a backup")
    assert cluster.database.jobs.get(job.id) == job
    assert caplog.text.count("a kind that this version does not know, 'greeting'") == 1


def test_kinds_are_distinct() -> None:
    assert len({d.kind for d in DEFINITIONS}) == len(DEFINITIONS) == 7

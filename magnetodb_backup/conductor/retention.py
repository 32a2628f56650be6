# SPDX-License-Identifier: Apache-2.0
"""Applies the retention policy of a cluster: records the deletion of what expires."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.job import Results, StepRunner, typed_step
from magnetodb_backup.domain.jobs import Job, JobKind, SubjectKind
from magnetodb_backup.errors import BackupError
from magnetodb_backup.tasks.codec import encode
from magnetodb_backup.tasks.retention_steps import Decided, DeletionsRecorded, Expired, Left

LOG = logging.getLogger(__name__)
_MOST = 10_000  # deletions of one job, so that the results of its steps have room in a row
_AT_ONCE = 50  # deletions of one transaction


class Retention:
    """Lets backups expire. Their deletions are jobs of their own, as those of requests are."""

    kind = JobKind.RETENTION
    subject = SubjectKind.CLUSTER
    exclusive = False
    background = False

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Decide, then record the deletions; return both results."""
        runner = StepRunner(
            context.database,
            raise_if_cancelled=context.raise_if_cancelled,
            entered=lambda phase: context.database.jobs.show_progress(job.id, {"step": phase}),
            rounds=1,
        )
        steps = (
            typed_step(Decided, lambda _: _decide(job, context)),
            typed_step(DeletionsRecorded, lambda results: _delete(job, results, context)),
        )
        results = runner.run(job, lambda _: steps, lambda _: None)
        decided = results.of(Decided)
        return {
            "expired": [encode(expired) for expired in decided.expired],
            "kept": decided.kept,
            "later": decided.later,
            **encode(results.of(DeletionsRecorded)),
        }

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Do nothing: the job's record has the error, and recorded deletions are jobs."""


def _decide(job: Job, context: JobContext) -> Decided:
    decisions = context.database.retention.plan(job.cluster).decisions
    expired = sorted((d for d in decisions if not d.kept), key=lambda d: d.candidate.moment)
    return Decided(
        expired=tuple(Expired(d.candidate.id, d.expires) for d in expired[:_MOST]),
        kept=len(decisions) - len(expired),
        later=len(expired[_MOST:]),
    )


def _delete(job: Job, results: Results, context: JobContext) -> DeletionsRecorded:
    """Record the deletion of each backup that is expired at this very moment.

    Each transaction decides again: since the decision a backup may have been damaged, kept or
    deleted, or the policy changed. What an earlier attempt recorded is not recorded again.
    """
    expired = [one.backup_id for one in results.of(Decided).expired]
    refused: dict[str, str] = {}
    for begin in range(0, len(expired), _AT_ONCE):
        context.raise_if_cancelled()
        refused |= context.database.backups.expire(job.cluster, expired[begin : begin + _AT_ONCE])
    deleted = tuple(backup_id for backup_id in expired if backup_id not in refused)
    LOG.info("job %s: %d backups of %r expire", job.id, len(deleted), job.cluster)
    return DeletionsRecorded(deleted, tuple(Left(*pair) for pair in refused.items()))

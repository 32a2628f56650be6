# SPDX-License-Identifier: Apache-2.0
"""The restore as a kind of job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.restore.outcome import RestoreRunner
from magnetodb_backup.domain.jobs import Job, JobKind, SubjectKind
from magnetodb_backup.errors import BackupError


class RestoreDefinition:
    """Restores into a cluster; no backup or other restore works on the cluster meanwhile."""

    kind = JobKind.RESTORE
    subject = SubjectKind.RESTORE
    exclusive = True

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Take the restore's steps; return its status and the number of tables."""
        restore = context.database.restores.get(job.id)
        return _runner(context).run(job, restore.source_cluster, context.raise_if_cancelled)

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Persist the failure, clean up, then publish the restore's final status."""
        _runner(context).fail(job, error)


def _runner(context: JobContext) -> RestoreRunner:
    return RestoreRunner(
        context.database,
        context.workers,
        context.repository,
        context.wait,
        context.settings,
    )

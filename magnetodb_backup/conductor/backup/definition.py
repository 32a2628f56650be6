# SPDX-License-Identifier: Apache-2.0
"""The backup as a kind of job: begins, resumes and ends it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from magnetodb_backup.conductor.backup.job import BackupJob
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.job import Results, StepRunner, describe, tolerated
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobKind, SubjectKind
from magnetodb_backup.errors import BackupError, Cancelled, from_record
from magnetodb_backup.tasks.backup_steps import CommitDone, JobFailed, ReleaseDone
from magnetodb_backup.tasks.codec import encode

LOG = logging.getLogger(__name__)


class BackupDefinition:
    """Backs up a cluster; no other backup or restore works on the cluster meanwhile."""

    kind = JobKind.BACKUP
    subject = SubjectKind.BACKUP
    exclusive = True
    background = False

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Take the backup's steps; return the result of the commit."""
        database = context.database
        backup = database.backups.get(job.backup_id)
        if backup.status in (BackupStatus.CREATED, BackupStatus.PARTIAL):
            return None  # the process died between the commit and the end of the job
        stored = Results(database.jobs.step_results(job.id, job.round))
        if (decided := stored.find(JobFailed)) is not None:
            raise from_record(encode(decided))
        if backup.status is not BackupStatus.CREATING:
            return None  # committed, and deleted before the job was ended
        if backup.waiting_for:
            database.backups.update(backup.id, waiting_for="")
        steps = BackupJob(job, backup, context)

        def entered(phase: str) -> None:
            database.backups.update(backup.id, phase=phase)

        def undo(round_: int) -> None:
            steps.drop_snapshots(round_)

        results = StepRunner(
            database,
            raise_if_cancelled=context.raise_if_cancelled,
            entered=entered,
            rounds=context.settings.rounds,
            pause=steps.await_agreement,
        ).run(job, steps.steps, undo)
        return encode(results.of(CommitDone))

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Persist the failure, clean up, then publish the backup's final status."""
        database, cancelled = context.database, isinstance(error, Cancelled)
        database.jobs.save_step(job.id, job.round, JobFailed.step, error.as_record())
        backup = database.backups.get(job.backup_id)
        if backup.status in (BackupStatus.DELETING, BackupStatus.DELETED):
            return  # its deletion removes the manifests
        with tolerated(f"the removal of the snapshots of backup {backup.id}"):
            _drop_snapshots(job, backup, context)
        with tolerated(f"the removal of the manifest of backup {backup.id}"):
            _withdraw_manifest(job, backup, context)
        status = BackupStatus.CANCELLED if cancelled else BackupStatus.CREATE_FAILED
        database.backups.set_status(backup.id, status, error=describe(error))


def _drop_snapshots(job: Job, backup: Backup, context: JobContext) -> None:
    steps = BackupJob(job, backup, context)
    for outcome in steps.drop_snapshots(job.round, context.cleaning_fanout()):
        if outcome.error is not None:
            LOG.warning(
                "the snapshot on %s stays until its worker reports again: %s",
                outcome.call.host,
                outcome.error,
            )


def _withdraw_manifest(job: Job, backup: Backup, context: JobContext) -> None:
    """Remove the manifest that a commit may have written before it was known to."""
    if ReleaseDone.step not in context.database.jobs.step_results(job.id, job.round):
        return
    try:
        context.repository(backup.cluster).delete_backup(backup.id)
    except BackupError as error:
        LOG.warning(
            "backup %s failed, but a manifest of it may be in the store; repeat backup delete "
            "when the store is back: %s",
            backup.id,
            error,
        )

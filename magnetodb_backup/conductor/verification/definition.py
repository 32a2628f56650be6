# SPDX-License-Identifier: Apache-2.0
"""The kind of job that verifies a backup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.verification.job import VerificationJob
from magnetodb_backup.domain.jobs import Job, JobKind, SubjectKind
from magnetodb_backup.errors import BackupError


class Verification:
    """Verifies a backup; its report is the job's result. The backup stays as it was."""

    kind = JobKind.VERIFICATION
    subject = SubjectKind.BACKUP
    exclusive = False
    background = True

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Return the report."""
        backup = context.database.backups.get(job.backup_id)
        return VerificationJob(job, backup, context).run()

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Do nothing: the job's record has the error."""

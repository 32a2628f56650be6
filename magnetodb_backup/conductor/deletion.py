# SPDX-License-Identifier: Apache-2.0
"""The deletion of a backup: its manifests go, its packs stay until they are collected."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.job import describe
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobKind, SubjectKind
from magnetodb_backup.errors import BackupError, Conflict, Transient


class Deletion:
    """Deletes a backup once its other jobs, which its request cancelled, have ended."""

    kind = JobKind.DELETION
    subject = SubjectKind.BACKUP
    exclusive = False
    background = False

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Delete the backup's manifests, the backup manifest (the commit marker) first.

        :raises Transient: while the backup is still being cancelled.
        """
        backups = context.database.backups
        backup = backups.get(job.backup_id)
        if backup.status is BackupStatus.CREATING:
            raise Transient(f"backup {backup.id} is still being cancelled")
        if backup.status is BackupStatus.DELETED:
            return None
        backups.set_status(backup.id, BackupStatus.DELETING)
        hosts = [n.host_id for n in backups.node_backups(backup.id)]
        removed = context.repository(backup.cluster).delete_backup(
            backup.id, hosts, figures=backup.figures
        )
        backups.set_status(backup.id, BackupStatus.DELETED)
        return {"objects_removed": removed}

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Mark the backup DELETE_FAILED."""
        with contextlib.suppress(Conflict):  # a backup that never got to be DELETING
            context.database.backups.set_status(
                job.backup_id, BackupStatus.DELETE_FAILED, error=describe(error)
            )

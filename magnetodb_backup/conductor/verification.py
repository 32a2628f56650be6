# SPDX-License-Identifier: Apache-2.0
"""The verification of a backup: everything that its manifests name is read and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from magnetodb_backup.conductor.backup.damaged_packs import record_damage
from magnetodb_backup.conductor.backup.lost_packs import withdraw_proved
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.domain.jobs import Job, JobKind, SubjectKind
from magnetodb_backup.errors import BackupError
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.verify import verify_backup


class Verification:
    """Verifies a backup; its report is the job's result. The backup stays as it was."""

    kind = JobKind.VERIFICATION
    subject = SubjectKind.BACKUP
    exclusive = False
    background = True

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Return the report."""
        backup = context.database.backups.get(job.backup_id)
        report = verify_backup(
            context.repository(backup.cluster),
            lambda host_id: NodeRepository(
                context.storage(), context.settings.prefix, backup.cluster, host_id
            ),
            backup.id,
            manifest_sha256=backup.manifest_sha256,
            read_data=bool(job.parameters.get("read_data")),
            progress=lambda *_: None,
            raise_if_cancelled=context.raise_if_cancelled,
        )
        record_damage(context.database, job, backup, report)
        withdraw_proved(context.database, backup, report)
        return asdict(report)

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Do nothing: the job's record has the error."""

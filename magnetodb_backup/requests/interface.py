# SPDX-License-Identifier: Apache-2.0
"""What the API and the command line ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.domain.restore.records import Restore, RestoreRequest


class Requests(Protocol):
    """Takes requests; each method raises InvalidValue, NotFound or Conflict."""

    def create_backup(self, request: BackupRequest) -> Backup:
        """Record a backup that is to be made."""

    def cancel_backup(self, backup_id: str) -> Backup:
        """Ask for the end of a running backup, or of its verification."""

    def delete_backup(self, backup_id: str) -> Backup:
        """Ask for a backup's deletion; one that runs is cancelled first."""

    def verify_backup(
        self,
        backup_id: str,
        *,
        read_data: bool = False,
        rungs: Sequence[str] = (),
        sample: float | None = None,
        seed: int | None = None,
    ) -> Job:
        """Ask for a verification of the named rungs; return its job.

        With ``sample`` (a percentage) only so much of the data is read. Without a ``seed`` it is
        the sample after the last one of backups with the same scope.
        """

    def create_restore(self, request: RestoreRequest) -> Restore:
        """Record a restore that is to be made, or planned."""

    def cancel_restore(self, restore_id: str) -> Restore:
        """Ask for the end of a running restore."""

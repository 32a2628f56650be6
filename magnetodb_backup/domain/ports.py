# SPDX-License-Identifier: Apache-2.0
"""What the API and the command line ask for."""

from __future__ import annotations

from typing import Protocol

from magnetodb_backup.domain.records import Backup, BackupRequest, Job


class Requests(Protocol):
    """Takes requests; each method raises InvalidValue, NotFound or Conflict."""

    def create_backup(self, request: BackupRequest) -> Backup: ...

    def cancel_backup(self, backup_id: str) -> Backup: ...

    def delete_backup(self, backup_id: str) -> Backup: ...

    def verify_backup(self, backup_id: str, *, read_data: bool) -> Job: ...

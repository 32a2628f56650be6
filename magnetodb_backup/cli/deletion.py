# SPDX-License-Identifier: Apache-2.0
"""backup delete, backup undelete."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from typing_extensions import override

from magnetodb_backup.cli.app import FAILED
from magnetodb_backup.cli.backup import OnBackup, code_of
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject


class Delete(OnBackup):
    """Delete a backup; backup undelete brings it back until its undelete period is over.

    Its packs stay, because other backups may need them. A running backup is cancelled first. A
    backup that a restore or a verification reads cannot be deleted.
    """

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self.services.requests().delete_backup(self.find(parsed_args).id)
        database = self.services.database()
        deletion = database.jobs.latest(Subject.backup(backup.id), JobKind.DELETION)
        if parsed_args.wait and deletion is not None:
            # A running backup is cancelled first, so its status is not that of the deletion.
            deletion = self.waiter(parsed_args).job(deletion.id)
            backup = database.backups.get(backup.id)
            self.expect(backup, BackupStatus.DELETED, deletion.error)
        return self.backup_columns(parsed_args, backup, None)


class Undelete(OnBackup):
    """Undelete a deleted backup, which is CREATED or PARTIAL again.

    backup list --status DELETED shows the deleted backups, and until when each can be undeleted. A
    deleted backup is named by its ID or the ID's first digits. It keeps its name, also if a newer
    backup has the same one. Verify it again: the results of earlier verifications are not kept.
    """

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self.services.requests().undelete_backup(self.find(parsed_args).id)
        database = self.services.database()
        undeletion = database.jobs.latest(Subject.backup(backup.id), JobKind.UNDELETION)
        if parsed_args.wait and undeletion is not None:
            undeletion = self.waiter(parsed_args).job(undeletion.id)
            backup = database.backups.get(backup.id)
            if undeletion.status is JobStatus.DONE:
                self.ends(code_of(backup))
            else:
                text = f"the undeletion is {undeletion.status.value}: {undeletion.error}"
                self.ends(FAILED, ("error", text))
        return self.backup_columns(parsed_args, backup, None)

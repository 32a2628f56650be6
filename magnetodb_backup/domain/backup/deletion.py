# SPDX-License-Identifier: Apache-2.0
"""Which deleted backups can be undeleted, and which are to be purged."""

from __future__ import annotations

from datetime import datetime

from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.errors import Conflict


def check_undeletable(backup: Backup, now: datetime) -> None:
    """Check that a backup is deleted, and that its manifests are still kept.

    :raises Conflict: otherwise, naming the backup and the reason.
    """
    if backup.status is not BackupStatus.DELETED:
        raise Conflict(
            f"backup {backup.id} is {backup.status.value}; only a backup that is DELETED can be "
            "undeleted"
        )
    if backup.purged_at is not None:
        raise _refused(backup, f"its manifests were purged at {_text(backup.purged_at)}")
    if backup.deleted_at is None:
        raise _refused(
            backup,
            "an older release deleted it, which removed its manifests from the store at once",
        )
    if backup.undelete_until is None:
        raise _refused(backup, "its manifests are being purged")
    if backup.undelete_until <= now:
        raise _refused(backup, f"its undelete period ended at {_text(backup.undelete_until)}")


def is_due(backup: Backup, now: datetime) -> bool:
    """Return whether the manifests of a backup are to be purged: its undelete period is over.

    A purge that was interrupted is due again.
    """
    if backup.status is not BackupStatus.DELETED or backup.deleted_at is None:
        return False
    if backup.purged_at is not None:
        return False
    return backup.undelete_until is None or backup.undelete_until <= now


def _refused(backup: Backup, reason: str) -> Conflict:
    return Conflict(f"backup {backup.id} cannot be undeleted: {reason}; make a new backup")


def _text(time: datetime) -> str:
    return time.isoformat(sep=" ", timespec="seconds")

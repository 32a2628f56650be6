# SPDX-License-Identifier: Apache-2.0
"""States of backups and their transitions, as data (drawn into the documentation)."""

from __future__ import annotations

import enum

from magnetodb_backup.errors import Conflict


class BackupStatus(str, enum.Enum):
    """Status of a backup, as records and the API show it."""

    CREATING = "CREATING"
    CREATED = "CREATED"
    PARTIAL = "PARTIAL"
    CREATE_FAILED = "CREATE_FAILED"
    CANCELLED = "CANCELLED"
    DELETING = "DELETING"
    DELETED = "DELETED"
    DELETE_FAILED = "DELETE_FAILED"


class Phase(str, enum.Enum):
    """Steps of a backup job, in order; those of the fingerprints only on request."""

    RESOLVE = "resolve"
    CENSUS = "census"
    FIGURES_BEFORE = "figures_before"
    PREPARE = "prepare"
    SCHEMA_BEFORE = "schema_before"
    SNAPSHOT = "snapshot"
    SCHEMA_AFTER = "schema_after"
    FIGURES_AFTER = "figures_after"
    UPLOAD = "upload"
    RELEASE = "release"
    COMMIT = "commit"


TRANSITIONS: dict[BackupStatus, dict[str, BackupStatus]] = {
    BackupStatus.CREATING: {
        "committed with all ranges": BackupStatus.CREATED,
        "committed with a replica of each range": BackupStatus.PARTIAL,
        "failed": BackupStatus.CREATE_FAILED,
        "cancelled": BackupStatus.CANCELLED,
    },
    BackupStatus.CREATED: {"deletion asked for": BackupStatus.DELETING},
    BackupStatus.PARTIAL: {"deletion asked for": BackupStatus.DELETING},
    BackupStatus.CREATE_FAILED: {"deletion asked for": BackupStatus.DELETING},
    BackupStatus.CANCELLED: {"deletion asked for": BackupStatus.DELETING},
    BackupStatus.DELETING: {
        "manifests removed": BackupStatus.DELETED,
        "deletion failed": BackupStatus.DELETE_FAILED,
    },
    BackupStatus.DELETE_FAILED: {"deletion asked for": BackupStatus.DELETING},
    BackupStatus.DELETED: {
        "undeleted, committed with all ranges": BackupStatus.CREATED,
        "undeleted, committed with a replica of each range": BackupStatus.PARTIAL,
    },
}


def check_transition(backup_id: str, old: BackupStatus, new: BackupStatus) -> None:
    """Check that the transition is in the table, or that the status stays.

    :raises Conflict: otherwise, naming the backup, its status and the possible ones.
    """
    possible = TRANSITIONS[old].values()
    if new is not old and new not in possible:
        allowed = ", ".join(s.value for s in possible)
        raise Conflict(
            f"backup {backup_id} is {old.value} and cannot become {new.value}; possible: {allowed}"
        )


def check_restorable(backup_id: str, status: BackupStatus) -> None:
    """Check that a backup can be restored: CREATED or PARTIAL.

    :raises Conflict: otherwise, naming the backup and its status.
    """
    if status not in (BackupStatus.CREATED, BackupStatus.PARTIAL):
        raise Conflict(
            f"backup {backup_id} is {status.value}; only CREATED and PARTIAL ones can be restored"
        )

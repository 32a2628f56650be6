# SPDX-License-Identifier: Apache-2.0
"""Notes on packs that the store has lost, and that uploads could not make again.

Once a pack is stored again, by a backup or by other means, the notes on it are withdrawn.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.notes import HARMED
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.errors import NotFound
from magnetodb_backup.repository.findings import VerificationReport
from magnetodb_backup.tasks.backup import Uploaded
from magnetodb_backup.tasks.cluster import Member

LOG = logging.getLogger(__name__)
# A part of the texts by which notes are found again, also those of older releases.
_FOUND = "the store has lost"


def note_lost_packs(database: Database, backup: Backup, uploads: Mapping[str, Uploaded]) -> None:
    """Give each complete backup that needs lost packs a note; may be repeated.

    Notes on the same node that do not hold any more are withdrawn.
    """
    for uploaded in uploads.values():
        if uploaded.lost_count:
            LOG.warning("backup %s: %s", backup.id, _text(uploaded))
        if uploaded.recounted:
            _withdraw(database, backup.cluster, uploaded)
        for harmed, files in uploaded.harmed.items():
            _note(
                database,
                harmed,
                f"{files} files of node {_name(uploaded.member)} {HARMED}, as backup "
                f"{backup.id} found; see backup verify",
            )


def withdraw_proved(database: Database, backup: Backup, report: VerificationReport) -> None:
    """Withdraw the notes of a backup on lost packs if a verification has found all packs."""
    if any(problem.pack for problem in report.problems) or report.further_packs:
        return
    database.backups.change_notes(
        backup.id, lambda notes: tuple(note for note in notes if HARMED not in note)
    )


def lost_packs_notes(uploads: Mapping[str, Uploaded]) -> Iterator[str]:
    """Yield the notes of the backup whose uploads found lost packs."""
    for _, uploaded in sorted(uploads.items()):
        if uploaded.lost_count:
            yield _text(uploaded)


def _text(uploaded: Uploaded) -> str:
    harmed = ", ".join(uploaded.harmed)
    return (
        f"{_FOUND} {uploaded.lost_count} packs of node {_name(uploaded.member)} that this backup "
        f"does not need ({', '.join(uploaded.lost)}); backups that need them: {harmed or 'none'}"
    )


def _name(member: Member) -> str:
    return f"{member.address} (host ID {member.host_id})"


def _is_about(note: str, member: Member) -> bool:
    """Return whether a note is on lost packs of a node; older releases named its address only."""
    if _FOUND not in note:
        return False
    named = f"(host ID {member.host_id})" in note
    return named or ("(host ID" not in note and f" of node {member.address} " in note)


def _withdraw(database: Database, cluster: str, uploaded: Uploaded) -> None:
    """Remove the notes on lost packs of a node from all complete backups that it does not harm."""
    member = uploaded.member
    for backup_id, notes in database.backups.noted(cluster).items():
        if any(_is_about(note, member) for note in notes):
            database.backups.change_notes(
                backup_id, lambda now: tuple(note for note in now if not _is_about(note, member))
            )


def _note(database: Database, backup_id: str, text: str) -> None:
    try:
        backup = database.backups.get(backup_id)
    except NotFound:
        return  # the catalogue does not know it
    if backup.status in (BackupStatus.CREATED, BackupStatus.PARTIAL):
        database.backups.change_notes(
            backup_id, lambda notes: notes if text in notes else (*notes, text)
        )

# SPDX-License-Identifier: Apache-2.0
"""Notes on packs that uploads found lost and could not make again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.errors import NotFound
from magnetodb_backup.tasks.backup import Uploaded

LOG = logging.getLogger(__name__)


def note_lost_packs(database: Database, backup_id: str, uploads: Mapping[str, Uploaded]) -> None:
    """Give each complete backup that needs lost packs a note; may be repeated."""
    for uploaded in uploads.values():
        if uploaded.lost_count:
            LOG.warning("backup %s: %s", backup_id, _text(uploaded))
        for harmed, files in uploaded.harmed.items():
            _note(
                database,
                harmed,
                f"{files} files of node {uploaded.member.address} are in packs that the store has "
                f"lost, as backup {backup_id} found; see backup verify",
            )


def lost_packs_notes(uploads: Mapping[str, Uploaded]) -> Iterator[str]:
    """Yield the notes of the backup whose uploads found lost packs."""
    for _, uploaded in sorted(uploads.items()):
        if uploaded.lost_count:
            yield _text(uploaded)


def _text(uploaded: Uploaded) -> str:
    harmed = ", ".join(uploaded.harmed)
    return (
        f"the store has lost {uploaded.lost_count} packs of node {uploaded.member.address} that "
        f"this backup does not need ({', '.join(uploaded.lost)}); backups that need them: "
        f"{harmed or 'none'}"
    )


def _note(database: Database, backup_id: str, text: str) -> None:
    try:
        backup = database.backups.get(backup_id)
    except NotFound:
        return  # the catalogue does not know it
    complete = backup.status in (BackupStatus.CREATED, BackupStatus.PARTIAL)
    if complete and text not in backup.notes:
        database.backups.update(backup_id, notes=(*backup.notes, text))

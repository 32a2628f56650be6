# SPDX-License-Identifier: Apache-2.0
"""Texts by which notes of backups are found again."""

from __future__ import annotations

from collections.abc import Iterable

# Of a backup whose own files are in lost packs; older releases wrote it too.
HARMED = "are in packs that the store has lost"


def needs_lost_packs(notes: Iterable[str]) -> bool:
    """Return whether a note says that the store has lost packs that the backup needs."""
    return any(HARMED in note for note in notes)

# SPDX-License-Identifier: Apache-2.0
"""What is known of each table when a restore ends, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from magnetodb_backup.domain.restore.records import Existing, RestorePhase

UNTOUCHED, RESTORED = "untouched", "restored"
DIFFERS = "restored, but its rows are not those of the backup"
_ORDER = list(RestorePhase)


def table_states(
    tables: Collection[str],
    *,
    phase: str,
    done: Collection[str],
    existing: Existing,
    existed: Mapping[str, bool],
    refused: Mapping[str, Sequence[str]],
    late: Mapping[str, Sequence[str]] | None = None,
) -> Mapping[str, str]:
    """Return each target table's state.

    ``phase`` is the one that the restore was in, ``done`` those whose result is stored;
    ``existed`` has the tables that existed before the restore, ``refused`` names SSTables by table,
    ``late`` has the statements of indexes and views that come after the rows, by table.
    """
    reached = max((_position(p) for p in (phase, *done)), default=-1)
    # Dropped before the rows were delivered, and not created again yet.
    pending = (
        reached >= _ORDER.index(RestorePhase.TRUNCATE) and RestorePhase.VIEWS.value not in done
    )
    return {
        table: _state(
            reached,
            RestorePhase.IMPORT.value in done,
            existing,
            existed.get(table, True),
            refused.get(table, ()),
        )
        + (still_missing((late or {}).get(table, ())) if pending else "")
        for table in tables
    }


def mark_differing(
    states: Mapping[str, str], differing: Collection[str], refused: Mapping[str, Sequence[str]]
) -> Mapping[str, str]:
    """Return the states, DIFFERS for tables whose rows are not those of the backup.

    A table with refused SSTables keeps its state, which names the reason.
    """
    different = {table for table in differing if not refused.get(table)}
    return {**states, **dict.fromkeys(different, DIFFERS)}


def still_missing(statements: Sequence[str]) -> str:
    """Return the remedy for a table whose indexes and views may have to be created by hand."""
    if not statements:
        return ""
    return f"; make then, if they are missing: {' '.join(statements)}"


def still_held(statement: str) -> str:
    """Return the remedy for a table that Cassandra may not compact by itself."""
    return f"; it is not compacted until you run: {statement}" if statement else ""


def _position(phase: str) -> int:
    return _ORDER.index(RestorePhase(phase)) if phase else -1


def _state(
    reached: int, imported: bool, existing: Existing, existed: bool, refused: Sequence[str]
) -> str:
    again = Existing.MERGE if existing is Existing.MERGE else Existing.REPLACE
    if imported:
        return f"restored without the SSTables {', '.join(refused)}" if refused else RESTORED
    if reached >= _ORDER.index(RestorePhase.IMPORT):
        return f"partly restored: repeat with --existing {again.value}"
    if reached < _ORDER.index(RestorePhase.SCHEMA):
        return UNTOUCHED
    if not existed:
        return "may have been made, without rows: repeat the restore"
    if reached < _ORDER.index(RestorePhase.TRUNCATE):
        return UNTOUCHED
    if existing is Existing.REPLACE:
        return (
            "may be empty: repeat with --existing replace; Cassandra's own snapshot truncated-* "
            "has its rows where auto_snapshot is on"
        )
    return "keeps its rows, and has none of the backup: repeat the restore"

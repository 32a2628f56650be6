# SPDX-License-Identifier: Apache-2.0
"""Whether a backup is so old that rows deleted since may come back.

Cassandra drops a tombstone after ``gc_grace_seconds``. An older row that is put beside live rows
then has nothing that hides it, and a repair copies it to all replicas.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone

from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.domain.restore.records import Existing, RestoreRequest


def oldest_moment(manifest: BackupManifest) -> datetime:
    """Return when the first snapshot of the backup was begun."""
    moments = [n.snapshot_started_at for n in manifest.nodes if n.snapshot_started_at]
    return min(datetime.fromisoformat(m) for m in (*moments, manifest.committed_at))


def tables_past_grace(
    manifest: BackupManifest, gc_grace_seconds: Mapping[str, int], now: datetime | None = None
) -> list[str]:
    """Return the tables whose tombstones of the time of the backup may be dropped by now."""
    age = ((now or datetime.now(timezone.utc)) - oldest_moment(manifest)).total_seconds()
    return sorted(table for table, seconds in gc_grace_seconds.items() if age > seconds)


def resurrection(
    request: RestoreRequest, past: Sequence[str], existing: Collection[str]
) -> tuple[list[str], list[str]]:
    """Return the problems and the warnings of a restore of the tables ``past`` their grace.

    ``existing`` are the target tables that exist. Old rows meet live ones in a merge and on a
    single node; anything else begins with empty tables on all nodes.
    """
    if not past:
        return [], []
    names = ", ".join(past)
    if request.existing is not Existing.MERGE and not request.node:
        return [], [
            f"the backup is older than gc_grace_seconds of {names}: Cassandra may drop tombstones "
            "before every replica has them, and deleted rows may come back; run nodetool repair "
            "--full on these tables right after the restore"
        ]
    if not (names := ", ".join(t for t in past if t in existing)):
        return [], []
    if request.allow_resurrection:
        return [], [
            f"allow_resurrection: rows of {names} that were deleted since the backup may come "
            "back, on all replicas"
        ]
    remedy = (
        "Let the node get its rows from the other replicas (nodetool repair --full, or rebuild)"
        if request.node
        else "Use --existing replace, or restore under another name and copy the rows"
    )
    return [
        f"the backup is older than gc_grace_seconds of {names}: Cassandra may have dropped the "
        "tombstones of rows that were deleted since, so these rows would come back, on all "
        f"replicas. {remedy}; or accept it by --allow-resurrection (REST: allow_resurrection)"
    ], []

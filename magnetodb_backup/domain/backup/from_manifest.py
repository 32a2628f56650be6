# SPDX-License-Identifier: Apache-2.0
"""Rebuilds the records of a backup from its manifest."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from magnetodb_backup.domain.backup.data_centers import as_text
from magnetodb_backup.domain.backup.manifest import BackupManifest, NodeShare
from magnetodb_backup.domain.backup.records import Backup, NodeBackup, Progress
from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.coverage import EXCLUDED


def records_of(
    manifest: BackupManifest, manifest_sha256: str
) -> tuple[Backup, tuple[NodeBackup, ...]]:
    """Return the records of a committed backup from its validated manifest.

    A manifest contains neither the uploaded and re-used bytes nor the options of the request: the
    least options that allow such a backup are assumed.
    """
    nodes = tuple(_node_backup(manifest.backup_id, share) for share in manifest.nodes)
    committed_at = datetime.fromisoformat(manifest.committed_at)
    backup = Backup(
        id=manifest.backup_id,
        name=manifest.name,
        cluster=manifest.cluster,
        status=BackupStatus(manifest.status),
        scope=manifest.scope,
        type="full",
        allow_partial=bool(manifest.missing_nodes),
        on_corrupt="mark" if _corrupt_files(manifest) else "fail",
        created_at=datetime.fromisoformat(manifest.created_at),
        updated_at=committed_at,
        finished_at=committed_at,
        phase=Phase.COMMIT.value,
        selection=manifest.selection,
        coverage=manifest.coverage,
        skew_ms=manifest.skew_ms,
        files=sum(share.files for share in manifest.nodes),
        bytes=sum(share.bytes for share in manifest.nodes),
        manifest_sha256=manifest_sha256,
        figures=bool(manifest.figures),
        notes=notes_of(manifest),
        data_centers=manifest.data_centers,
    )
    return backup, nodes


def as_deleted(backup: Backup, deleted_at: datetime, undelete_until: datetime) -> Backup:
    """Return the record of a backup of which the store has the manifest of a deleted one."""
    return replace(
        backup,
        status=BackupStatus.DELETED,
        deleted_at=deleted_at,
        undelete_until=undelete_until,
    )


def notes_of(manifest: BackupManifest) -> tuple[str, ...]:
    """Return what a backup that is not whole lacks."""
    notes = []
    excluded = [k for k, found in manifest.coverage.items() if found.get("status") == EXCLUDED]
    if excluded:
        notes.append(
            f"without the keyspaces {', '.join(sorted(excluded))}, of which "
            f"{as_text(manifest.data_centers)} has no complete copy"
        )
    if manifest.missing_nodes:
        notes.append(f"without the nodes {', '.join(manifest.missing_nodes)}")
    if corrupt := _corrupt_files(manifest):
        notes.append(f"{corrupt} corrupt files, marked in the node manifests")
    return tuple(notes)


def _corrupt_files(manifest: BackupManifest) -> int:
    return sum(share.corrupt_files for share in manifest.nodes)


def _node_backup(backup_id: str, share: NodeShare) -> NodeBackup:
    return NodeBackup(
        backup_id=backup_id,
        host_id=share.host_id,
        address=share.address,
        dc=share.dc,
        rack=share.rack,
        phase="done",
        progress=Progress(
            files_total=share.files,
            files_done=share.files,
            bytes_total=share.bytes,
            bytes_done=share.bytes,
        ),
        manifest_sha256=share.manifest.sha256,
        manifest_size=share.manifest.size,
        snapshot_started_at=share.snapshot_started_at,
        snapshot_finished_at=share.snapshot_finished_at,
    )

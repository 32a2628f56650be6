# SPDX-License-Identifier: Apache-2.0
"""Commits what disks uploaded as a backup."""

from __future__ import annotations

from collections.abc import Mapping

from magnetodb_backup.domain.backup.manifest import BackupManifest, NodeShare, StoredObject
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.upload.upload import NodeUpload
from tests.unit.repository.disk import CLUSTER, backup_id, header


def share(host_id: str, number: int, uploaded: NodeUpload) -> NodeShare:
    """Return a node's part of the backup manifest."""
    head = header(number, host_id)
    return NodeShare(
        host_id=host_id,
        address=head.address,
        dc=head.dc,
        rack=head.rack,
        version=head.version,
        tokens=head.tokens,
        manifest=uploaded.manifest,
        files=uploaded.files,
        bytes=uploaded.bytes,
        corrupt_files=0,
        snapshot_started_at=head.snapshot_started_at,
        snapshot_finished_at=head.snapshot_finished_at,
    )


def manifest(
    number: int, schema: StoredObject, uploads: Mapping[str, NodeUpload]
) -> BackupManifest:
    """Return the backup manifest that names these node manifests by host ID."""
    return BackupManifest(
        backup_id=backup_id(number),
        name=f"backup {number}",
        cluster=CLUSTER,
        status="CREATED",
        created_at="2026-01-01T00:00:00+00:00",
        committed_at="2026-01-01T00:01:00+00:00",
        scope={"type": "all"},
        selection={"keyspaces": [], "tables": []},
        schema=schema,
        schema_version="v",
        skew_ms=5,
        coverage={},
        nodes=tuple(share(host, number, done) for host, done in uploads.items()),
    )


def commit(
    cluster: ClusterRepository, number: int, uploads: Mapping[str, NodeUpload]
) -> BackupManifest:
    """Write schema and backup manifest, in this order."""
    schema = cluster.put_schema(backup_id(number), "CREATE TABLE ks.t;\n")
    committed = manifest(number, schema, uploads)
    cluster.commit(committed)
    return committed

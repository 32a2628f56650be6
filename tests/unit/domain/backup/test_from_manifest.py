# SPDX-License-Identifier: Apache-2.0
"""Records that are made again from a manifest."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from magnetodb_backup.domain.backup.from_manifest import records_of
from magnetodb_backup.domain.backup.records import Backup, NodeBackup, Progress
from magnetodb_backup.domain.backup.status import BackupStatus
from tests.unit.domain.backup.test_manifest import BACKUP_MANIFEST, DIGEST, SHARE
from tests.unit.domain.samples import BACKUP_ID, HOST_ID

OTHER = replace(SHARE, host_id=HOST_ID[:-1] + "2", files=3, bytes=12, corrupt_files=2)


def test_a_backup_is_what_its_manifest_says() -> None:
    backup, _ = records_of(replace(BACKUP_MANIFEST, nodes=(SHARE, OTHER)), DIGEST)
    end = datetime(2024, 5, 6, 5, 31, tzinfo=timezone.utc)
    assert backup == Backup(
        id=BACKUP_ID,
        name="nightly",
        cluster="Test Cluster",
        status=BackupStatus.PARTIAL,
        scope={"type": "all"},
        type="full",
        allow_partial=True,
        on_corrupt="mark",
        created_at=datetime(2024, 5, 6, 5, 29, tzinfo=timezone.utc),
        updated_at=end,
        finished_at=end,
        phase="commit",
        selection={"keyspaces": [], "tables": []},
        coverage={"ks": {"status": "partial"}},
        skew_ms=3,
        files=5,
        bytes=42,
        manifest_sha256=DIGEST,
        figures=True,
        notes=("without the nodes another", "2 corrupt files, marked in the node manifests"),
    )


def test_a_whole_backup_has_no_note() -> None:
    whole = replace(BACKUP_MANIFEST, status="CREATED", missing_nodes=())
    backup, _ = records_of(whole, DIGEST)
    assert (backup.status, backup.error, backup.notes) == (BackupStatus.CREATED, "", ())
    assert (backup.allow_partial, backup.on_corrupt) == (False, "fail")


def test_backup_of_a_data_centre() -> None:
    coverage = {"ks": {"status": "complete"}, "far": {"status": "excluded"}}
    whole = replace(BACKUP_MANIFEST, status="CREATED", missing_nodes=(), coverage=coverage)
    backup, _ = records_of(replace(whole, data_centers=("dc1",)), DIGEST)
    assert backup.data_centers == ("dc1",)
    note = "without the keyspaces far, of which data centre dc1 has no complete copy"
    assert backup.notes == (note,)
    assert not backup.allow_partial


def test_each_node_backup_is_done() -> None:
    _, nodes = records_of(replace(BACKUP_MANIFEST, nodes=(SHARE, OTHER)), DIGEST)
    assert [n.host_id for n in nodes] == [SHARE.host_id, OTHER.host_id]
    assert nodes[0] == NodeBackup(
        backup_id=BACKUP_ID,
        host_id=HOST_ID,
        address="10.0.0.1",
        dc="dc1",
        rack="r1",
        phase="done",
        progress=Progress(files_total=2, files_done=2, bytes_total=30, bytes_done=30),
        manifest_sha256=DIGEST,
        manifest_size=100,
        snapshot_started_at="2024-05-06T05:30:00+00:00",
        snapshot_finished_at="2024-05-06T05:30:01+00:00",
    )

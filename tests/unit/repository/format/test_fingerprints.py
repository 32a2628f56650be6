# SPDX-License-Identifier: Apache-2.0
"""Stored fingerprints: proven before they are read, verified, and deleted with their backup."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.domain.fingerprints import (
    Fingerprint,
    RangeFingerprint,
    RangeState,
    TokenRange,
)
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CorruptObject, InvalidValue, NotFound
from magnetodb_backup.repository.findings import VerificationReport
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.format.fingerprints import FingerprintsWriter
from magnetodb_backup.repository.verify import verify_backup
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import CLUSTER, PREFIX, Disk, backup_id, noise

CONTAINER = layout.cluster_container(PREFIX, CLUSTER)
FINGERPRINT = RangeFingerprint(
    TableName("ks", "t"), TokenRange(-5, 5), RangeState.STEADY, Fingerprint(3, "ab" * 32)
)


def _body(disk: Disk, of_backup: str) -> bytes:
    file = io.BytesIO()
    writer = FingerprintsWriter(file, of_backup, disk.host_id)
    writer.add(FINGERPRINT)
    writer.finish()
    return file.getvalue()


@pytest.fixture
def manifest(disk: Disk) -> BackupManifest:
    """A committed backup with fingerprints."""
    disk.write("f", noise(1, 100))
    committed = commit(disk.cluster, 1, {disk.host_id: disk.upload(1)})
    body = _body(disk, backup_id(1))
    stored = disk.cluster.put_fingerprints(backup_id(1), disk.host_id, body)
    whole = replace(committed, figures=(stored,))
    disk.cluster.commit(whole)
    return whole


def _names(disk: Disk) -> list[str]:
    return [info.name for info in disk.store.list(CONTAINER, layout.backup_prefix(backup_id(1)))]


def test_stored_fingerprints_are_read_again(disk: Disk, manifest: BackupManifest) -> None:
    assert disk.cluster.read_backup(backup_id(1)) == manifest
    (stored,) = manifest.figures
    assert stored.name == f"backups/{backup_id(1)}/figures/{disk.host_id}.jsonl.zst"
    reader = disk.cluster.fingerprints(backup_id(1), stored)
    assert reader.host_id == disk.host_id
    assert list(reader) == [FINGERPRINT]


def test_fingerprints_that_somebody_changed_are_not_read(
    disk: Disk, manifest: BackupManifest
) -> None:
    (stored,) = manifest.figures
    disk.store.change(CONTAINER, stored.name, lambda body: body + b"x")
    with pytest.raises(CorruptObject, match="they were changed after the backup"):
        list(disk.cluster.fingerprints(backup_id(1), stored))
    disk.store.delete(CONTAINER, stored.name)
    with pytest.raises(NotFound):
        disk.cluster.fingerprints(backup_id(1), stored)


@pytest.mark.parametrize("name", ["schema.cql", "../x", "", f"backups/{backup_id(2)}/schema.cql"])
def test_names_that_fingerprints_cannot_have(
    disk: Disk, manifest: BackupManifest, name: str
) -> None:
    with pytest.raises(InvalidValue, match="is not the name of fingerprints of backup"):
        disk.cluster.fingerprints(backup_id(1), replace(manifest.figures[0], name=name))


def _verify(disk: Disk) -> VerificationReport:
    return verify_backup(
        disk.cluster,
        lambda host_id: disk.repository,
        backup_id(1),
        manifest_sha256="",
        read_data=False,
        progress=lambda *_: None,
        raise_if_cancelled=lambda: None,
    )


def test_whole_fingerprints_are_no_problem(disk: Disk, manifest: BackupManifest) -> None:
    assert _verify(disk).problems == ()


@pytest.mark.parametrize("damage", ["missing", "changed", "another backup's"])
def test_verification_finds_damaged_fingerprints(
    disk: Disk, manifest: BackupManifest, damage: str
) -> None:
    (stored,) = manifest.figures
    if damage == "missing":
        disk.store.delete(CONTAINER, stored.name)
    elif damage == "changed":
        disk.store.change(CONTAINER, stored.name, lambda body: body[:-1])
    else:
        body = _body(disk, backup_id(2))
        wrong = disk.cluster.put_fingerprints(backup_id(1), disk.host_id, body)
        disk.cluster.commit(replace(manifest, figures=(wrong,)))
    (problem,) = _verify(disk).problems
    assert (problem.host_id, problem.kind, problem.pack) == ("", "figures", "")
    assert stored.name in problem.detail


def test_fingerprints_are_deleted_with_their_backup(disk: Disk, manifest: BackupManifest) -> None:
    """Though the listing may lag."""
    disk.store.unlisted = lambda name: "/figures/" in name
    assert disk.cluster.delete_backup(backup_id(1), [disk.host_id], figures=True) == 5
    disk.store.unlisted = lambda name: False
    assert _names(disk) == []

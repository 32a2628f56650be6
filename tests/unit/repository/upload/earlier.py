# SPDX-License-Identifier: Apache-2.0
"""Backups of a disk that were uploaded before."""

from __future__ import annotations

from typing import Any

from magnetodb_backup.domain.backup.manifest import BackupManifest
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import (
    Disk,
)


def backup_of(disk: Disk, number: int, **settings: Any) -> BackupManifest:
    """Upload the disk and commit it as a backup."""
    return commit(disk.cluster, number, {disk.host_id: disk.upload(number, **settings)})


def pack_of(disk: Disk, name: str, number: int = 1) -> str:
    """Return the first pack of a file in a backup."""
    return disk.entries(number)[name].extents[0].pack

# SPDX-License-Identifier: Apache-2.0
"""Records of the database: backups, node backups and nodes. Times are aware, in UTC."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.errors import InvalidValue


def check_backup_name(name: str) -> None:
    """Raise InvalidValue for names that are too long or contain invisible characters."""
    if len(name) > 255:
        raise InvalidValue(f"the name has {len(name)} characters; 255 are possible")
    if name != name.strip() or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise InvalidValue(
            f"the name {name!a} has blanks around it or control characters; leave them out"
        )


@dataclass(frozen=True)
class BackupRequest:
    """A user's request. ``scope`` is ``{"type": …, …}``; ``cluster`` is None if there is only one.

    ``on_corrupt`` is ``fail`` or ``mark``: the effect of a Digest mismatch on the backup. With
    ``figures`` fingerprints are taken, so that a restore can be checked. ``data_centers`` are the
    only ones whose nodes are backed up; empty for all.
    """

    scope: Mapping[str, Any]
    name: str = ""
    cluster: str | None = None
    type: str = "full"
    allow_partial: bool = False
    on_corrupt: str = "fail"
    figures: bool = False
    data_centers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Backup:
    """A backup's record. Counts are of files, sizes in bytes.

    ``bytes_uploaded`` counts stored pack bytes, ``bytes_reused`` file bytes found in the store.
    ``figures``: while CREATING, that fingerprints are requested; afterwards, that it has them.
    ``error`` is why it failed, ``notes`` say what a complete backup lacks. ``data_centers`` are
    those whose nodes it consists of; empty for all. ``kept_reason`` is why it is to be kept for
    ever, since ``kept_at``; empty if it is not. ``waiting_for`` says what it waits for before its
    first step.

    ``deleted_at`` is when a deleted backup was deleted, None if an older release did it.
    ``undelete_until`` is until when it can be undeleted, None if it cannot any more; ``purged_at``
    is when the last of its manifests was removed.
    """

    id: str
    name: str
    cluster: str
    status: BackupStatus
    scope: Mapping[str, Any]
    type: str
    allow_partial: bool
    on_corrupt: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    phase: str = ""
    error: str = ""
    selection: Mapping[str, Any] | None = None
    coverage: Mapping[str, Any] | None = None
    skew_ms: int | None = None
    files: int = 0
    bytes: int = 0
    bytes_uploaded: int = 0
    bytes_reused: int = 0
    manifest_sha256: str = ""
    figures: bool = False
    notes: tuple[str, ...] = ()
    data_centers: tuple[str, ...] = ()
    waiting_for: str = ""
    deleted_at: datetime | None = None
    undelete_until: datetime | None = None
    purged_at: datetime | None = None
    kept_reason: str = ""
    kept_at: datetime | None = None


@dataclass(frozen=True)
class BackupOutline:
    """What identifies a backup: the small part of its record, of which 10,000 fit into memory."""

    id: str
    name: str
    cluster: str
    status: BackupStatus
    created_at: datetime
    manifest_sha256: str


@dataclass(frozen=True)
class CommittedBackup:
    """A complete backup, and the SHA-256 of its manifest, empty if that is not known."""

    backup_id: str
    manifest_sha256: str = ""


@dataclass(frozen=True)
class Progress:
    """The progress of a node backup: numbers of files and packs, sizes in bytes."""

    files_total: int = 0
    files_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_uploaded: int = 0
    bytes_reused: int = 0
    packs_uploaded: int = 0
    packs_replaced: int = 0


@dataclass(frozen=True)
class NodeBackup:
    """One node's share of a backup; ``phase`` as of the backup, ``done`` or ``failed``."""

    backup_id: str
    host_id: str
    address: str
    dc: str
    rack: str
    phase: str = ""
    error: str = ""
    progress: Progress = field(default_factory=Progress)
    manifest_sha256: str = ""
    manifest_size: int = 0
    snapshot_started_at: str = ""
    snapshot_finished_at: str = ""
    corrupt_files: tuple[str, ...] = ()


LIVE_WITHIN = 30.0  # seconds since the last report, for those who only look


@dataclass(frozen=True)
class Node:
    """A worker's last report.

    ``live`` and ``silent_for``, the seconds since then, as determined when the record was read.
    """

    report: NodeReport
    first_seen: datetime
    last_seen: datetime
    live: bool
    silent_for: float = 0.0

# SPDX-License-Identifier: Apache-2.0
"""Damage of the store that verifications found, and when it was healed."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

MOST_FINDINGS = 100  # that the record of a backup shows
CONTENT = "content"  # the problem of a file that does not match its node manifest


class DamagedObject(str, enum.Enum):
    """What is damaged: a pack of a node, or an object of one backup.

    A MANIFEST without a node is the backup manifest. FIGURES are fingerprints.
    """

    PACK = "pack"
    MANIFEST = "manifest"
    SCHEMA = "schema"
    FIGURES = "figures"


@dataclass(frozen=True)
class Damage:
    """Damage that one verification found.

    ``name`` is the SHA-256 that names a pack, or the ID of the backup that the object belongs to;
    ``host_id`` is empty for what belongs to no node. ``problem`` is the kind of the problem in the
    report, ``detail`` its text.
    """

    object: DamagedObject
    host_id: str
    name: str
    problem: str
    detail: str


@dataclass(frozen=True)
class Finding:
    """Damage, since when it is known, and what has healed it.

    ``job_id`` is the verification that found it last, ``backup_id`` the backup that this one read;
    ``found_in`` has all backups whose verifications found it, ``affected`` all complete backups
    that need a pack, oldest first. ``healed_by`` is the backup that uploaded the pack again, the
    verification that found it whole, or the collection that removed a pack that no backup needs.
    """

    object: DamagedObject
    cluster: str
    host_id: str
    name: str
    problem: str
    detail: str
    first_seen: datetime
    last_seen: datetime
    job_id: str
    backup_id: str
    found_in: tuple[str, ...] = ()
    healed_at: datetime | None = None
    healed_by: str = ""
    affected: tuple[str, ...] = ()

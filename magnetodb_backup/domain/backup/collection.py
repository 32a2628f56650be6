# SPDX-License-Identifier: Apache-2.0
"""What a collection must know of a node's backups, and what it finds in a container of packs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from magnetodb_backup.domain.jobs import Job


@dataclass(frozen=True)
class KnownManifest:
    """A node manifest that the catalogue knows; ``size`` in bytes.

    Without a ``required`` one nothing is removed: the backup is complete, or can be undeleted.
    """

    backup_id: str
    size: int
    sha256: str
    required: bool


@dataclass(frozen=True)
class NodeManifests:
    """The backups of the catalogue, for one node.

    ``known`` are its manifests; ``absent`` has the IDs of the complete backups in which it has no
    share.
    """

    known: tuple[KnownManifest, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Repacking:
    """Which packs are written again: those of which at most ``percent`` of the bytes are live.

    Nothing is written unless that frees ``least`` bytes in the container.
    """

    percent: int
    least: int


def repacking_of(job: Job) -> Repacking | None:
    """Return the repacking that a job's parameters ask for."""
    percent = job.parameters.get("repack")
    return None if percent is None else Repacking(percent, job.parameters["repack_minimum"])


@dataclass(frozen=True)
class ContainerUse:
    """The packs of one container and what became of them; sizes in bytes.

    ``live``: a node manifest names them; ``shared``: those of several backups do. The others are
    dead: ``waiting`` ones were not seen dead for long enough, ``due`` ones were. ``freed`` is what
    was removed. ``manifests`` counts the node manifests. ``backups`` has, by ID, the bytes of the
    packs that only this backup needs, if they were asked for. ``in_use``: a backup is being
    uploaded, and what it has stored so far counts as dead. ``gone`` are the damaged packs that no
    backup needs and that are not stored any more.

    ``repack_``: packs of which little is live, what it costs to write their live bytes to other
    packs, and what that frees after the grace period. A report has what would be done.
    ``left_bytes`` would be free too, but are less than the least amount that was asked for;
    ``unreadable`` packs were left because they are missing or damaged.
    """

    packs: int = 0
    bytes: int = 0
    live_packs: int = 0
    live_bytes: int = 0
    shared_bytes: int = 0
    waiting_packs: int = 0
    waiting_bytes: int = 0
    due_packs: int = 0
    due_bytes: int = 0
    freed_packs: int = 0
    freed_bytes: int = 0
    manifests: int = 0
    backups: Mapping[str, int] = field(default_factory=dict)
    in_use: bool = False
    container_removed: bool = False
    repack_packs: int = 0
    repack_read_bytes: int = 0
    repack_written_packs: int = 0
    repack_written_bytes: int = 0
    repack_requests: int = 0
    repack_frees_bytes: int = 0
    repack_left_bytes: int = 0
    repack_unreadable: int = 0
    gone: tuple[str, ...] = ()


def total(uses: Iterable[ContainerUse]) -> ContainerUse:
    """Return the sums over containers; ``in_use`` is true if one of them is."""
    names = [f.name for f in fields(ContainerUse) if f.type == "int"]
    sums: dict[str, Any] = dict.fromkeys(names, 0)
    backups, in_use = dict[str, int](), False
    for use in uses:
        for name in names:
            sums[name] += getattr(use, name)
        for backup_id, size in use.backups.items():
            backups[backup_id] = backups.get(backup_id, 0) + size
        in_use = in_use or use.in_use
    return ContainerUse(**sums, backups=backups, in_use=in_use)

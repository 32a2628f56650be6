# SPDX-License-Identifier: Apache-2.0
"""What a collection of one container is asked for, and what it found and removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


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
class Terms:
    """How a container is collected; times in seconds.

    ``known`` and ``absent`` are the backups of the catalogue, by ID: those with a manifest of the
    node, and those in which it has no share. ``now`` is the time by the database's clock at the
    begin. A pack is removed once a stored look, at least ``grace`` old, found that no backup needs
    it. With ``report_only`` nothing is stored and nothing is removed. With ``remove_container`` a
    container without any pack is removed.
    """

    known: Mapping[str, KnownManifest]
    now: float
    grace: float
    absent: frozenset[str] = frozenset()
    report_only: bool = False
    remove_container: bool = False


@dataclass(frozen=True)
class Caller:
    """Who waits for a collection.

    ``raise_if_cancelled`` raises to end it, ``may_delete`` to end it before the next deletion;
    ``get_on`` is called for each manifest, and with each request of a listing or a deletion.
    """

    raise_if_cancelled: Callable[[], None] = lambda: None
    may_delete: Callable[[], None] = lambda: None
    get_on: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class ContainerUse:
    """The packs of one container and what became of them; sizes in bytes.

    ``live``: a node manifest names them; ``shared``: those of several backups do. The others are
    dead: ``waiting`` ones were not seen dead for long enough, ``due`` ones were. ``freed`` is what
    was removed. ``manifests`` counts the node manifests. ``backups`` has, by ID, the bytes of the
    packs that only this backup needs, if they were asked for. ``in_use``: a backup is being
    uploaded, and what it has stored so far counts as dead.
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

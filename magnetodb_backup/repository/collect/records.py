# SPDX-License-Identifier: Apache-2.0
"""What a collection of one container is asked for, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from magnetodb_backup.domain.backup.collection import KnownManifest, Repacking


@dataclass(frozen=True)
class Terms:
    """How a container is collected; times in seconds.

    ``known`` and ``absent`` are the backups of the catalogue, by ID: those with a manifest of the
    node, and those in which it has no share. ``now`` is the time by the database's clock at the
    begin. A pack is removed once a stored look, at least ``grace`` old, found that no backup needs
    it. With ``report_only`` nothing is stored and nothing is removed. With ``remove_container`` a
    container without any pack is removed. ``repacking`` asks for it, with packs of ``pack_size``
    bytes; the container has to be that of the worker's own node. So many ``deletes`` are requested
    at the same time. ``damaged`` are packs that verifications found damaged.
    What backups ``together`` need counts as need of the first of them, by ID.
    """

    known: Mapping[str, KnownManifest]
    now: float
    grace: float
    absent: frozenset[str] = frozenset()
    report_only: bool = False
    remove_container: bool = False
    repacking: Repacking | None = None
    pack_size: int = 32 * 1024 * 1024
    deletes: int = 16
    damaged: tuple[str, ...] = ()
    together: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Caller:
    """Who waits for a collection.

    ``raise_if_cancelled`` raises to end it. ``may_delete`` is called before each request that
    changes the container, repeated ones included, and raises if it must not be sent any more.
    ``get_on`` is called for each manifest, and with each request of a listing or a deletion.
    """

    raise_if_cancelled: Callable[[], None] = lambda: None
    may_delete: Callable[[], None] = lambda: None
    get_on: Callable[[], None] = lambda: None

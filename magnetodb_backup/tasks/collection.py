# SPDX-License-Identifier: Apache-2.0
"""The task that collects one container of packs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from magnetodb_backup.domain.backup.collection import ContainerUse, KnownManifest, Repacking
from magnetodb_backup.tasks.kinds import Task, TaskKind


@dataclass(frozen=True, kw_only=True)
class Collect(Task[ContainerUse]):
    """Collect the container of the node ``source``; times in seconds.

    ``host_id`` is the node whose worker does it. If it is not ``source``, that one has left the
    ring. ``now`` is the time by the database's clock; ``known`` and ``absent`` are as in ``Terms``.
    No pack is deleted once the conductor has not asked for the task for ``lease`` seconds. With
    ``report_only`` nothing is removed; with ``beside_uploads`` an upload is not waited for then.
    ``by_backup`` asks for the bytes that only one backup needs, those of the backups ``together``
    as if they were the first of them. ``repacking`` is done only by the
    worker of ``source`` itself. ``damaged`` are packs that verifications found damaged.
    """

    kind: ClassVar[TaskKind] = TaskKind.COLLECT
    result: ClassVar[type[Any]] = ContainerUse

    host_id: str
    cluster: str
    source: str
    known: tuple[KnownManifest, ...]
    now: float
    grace: float
    lease: float
    absent: tuple[str, ...] = ()
    report_only: bool = False
    beside_uploads: bool = False
    by_backup: bool = False
    repacking: Repacking | None = None
    together: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

# SPDX-License-Identifier: Apache-2.0
"""Packs reported damaged by a verification and not uploaded again since."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from magnetodb_backup.database import Database
from magnetodb_backup.database.findings import FoundBy
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.repository.findings import VerificationReport
from magnetodb_backup.tasks.backup import Uploaded

_MOST_PACKS = 50_000
_OBJECTS = {"schema": DamagedObject.SCHEMA, "figures": DamagedObject.FIGURES}
# By host ID and pack: the IDs of the verification jobs that found it damaged.
DamagedPacks = dict[str, dict[str, list[str]]]


def record_damage(database: Database, job: Job, backup: Backup, report: VerificationReport) -> None:
    """Record the damage that a verification found; may be repeated.

    A finding on a pack is void when a later verification of the same backup read the pack, or when
    a backup that received the finding uploaded the pack again. Deleting the backup does not make
    it void: its packs stay where they are.
    """
    database.damaged_packs.record(
        FoundBy(job.id, backup.id, backup.cluster),
        _damage(backup, report),
        read_data=report.read_data or report.sample is not None,
        sample=report.sample,
        unread=report.unread,
    )


def forget_replaced(database: Database, backup: Backup, uploads: Mapping[str, Uploaded]) -> None:
    """Remove the findings of packs that a backup uploaded again, by the host IDs of their nodes."""
    for host_id, uploaded in uploads.items():
        database.damaged_packs.forget(host_id, uploaded.replaced, backup.id)


def _damage(backup: Backup, report: VerificationReport) -> Iterator[Damage]:
    """Yield the damage of packs, and of objects that belong to the backup."""
    for p in report.problems:
        if p.pack:
            yield Damage(DamagedObject.PACK, p.host_id, p.pack, p.kind, p.detail)
        else:
            object_ = _OBJECTS.get(p.kind, DamagedObject.MANIFEST)
            yield Damage(object_, p.host_id, backup.id, p.kind, p.detail)
    for host_id, packs in report.further_packs.items():
        yield from (Damage(DamagedObject.PACK, host_id, pack, "damaged", "") for pack in packs)


def bounded(packs: DamagedPacks) -> tuple[DamagedPacks, frozenset[str]]:
    """Return the packs that one backup names, and the host IDs of the nodes that have more.

    So the arguments of a task, and the results of all nodes in one row, stay small enough. The
    nodes that have more use no pack again: each pack that is not named may be a damaged one. What
    is not named stays damaged for the next backup.
    """
    left, chosen = _MOST_PACKS, DamagedPacks()
    for host_id, found in sorted(packs.items()):
        taken = dict(itertools.islice(sorted(found.items()), left))
        left -= len(taken)
        if taken:
            chosen[host_id] = taken
    more = frozenset(h for h, found in packs.items() if len(found) > len(chosen.get(h, ())))
    return chosen, more

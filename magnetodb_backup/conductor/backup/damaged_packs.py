# SPDX-License-Identifier: Apache-2.0
"""Packs reported damaged by a verification and not uploaded again since."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.repository.findings import VerificationReport
from magnetodb_backup.tasks.backup import Uploaded

_MOST_PACKS = 50_000
# By host ID and pack: the IDs of the verification jobs that found it damaged.
DamagedPacks = dict[str, dict[str, list[str]]]


def record_damage(database: Database, job: Job, backup: Backup, report: VerificationReport) -> None:
    """Record the packs that a verification found damaged; may be repeated.

    A finding is void when a later verification of the same backup read every byte, or when a
    backup that received the finding uploaded the pack again. Deleting the backup does not make it
    void: its packs stay where they are.
    """
    database.damaged_packs.record(
        job.id, backup.id, backup.cluster, _packs(report), read_data=report.read_data
    )


def forget_replaced(database: Database, uploads: Mapping[str, Uploaded]) -> None:
    """Remove the findings of packs that were uploaded again, by the host IDs of their nodes."""
    for host_id, uploaded in uploads.items():
        database.damaged_packs.forget(host_id, uploaded.replaced)


def _packs(report: VerificationReport) -> Iterator[tuple[str, str]]:
    """Yield host ID and pack of each problem that has one."""
    yield from ((p.host_id, p.pack) for p in report.problems if p.pack)
    for host_id, packs in report.further_packs.items():
        yield from ((host_id, pack) for pack in packs)


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

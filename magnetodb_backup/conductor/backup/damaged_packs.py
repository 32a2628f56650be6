# SPDX-License-Identifier: Apache-2.0
"""Packs reported damaged by a verification and not uploaded again since."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from magnetodb_backup.conductor.job import Results
from magnetodb_backup.database import Database
from magnetodb_backup.domain.jobs import JobKind
from magnetodb_backup.tasks.backup_steps import UploadDone
from magnetodb_backup.tasks.codec import decode

_MOST_PACKS = 50_000
_LOOKED_AT = 200  # newest jobs of each kind
# By host ID and pack: the IDs of the verification jobs that found it damaged.
DamagedPacks = dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class _Problem:
    host_id: str
    pack: str


@dataclass(frozen=True)
class _Verification:
    """What a finished verification's result says about packs."""

    problems: tuple[_Problem, ...]
    read_data: bool
    further_packs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def packs(self) -> Iterator[tuple[str, str]]:
        """Yield host ID and pack of each problem that has one."""
        yield from ((p.host_id, p.pack) for p in self.problems if p.pack)
        for host_id, packs in self.further_packs.items():
            yield from ((host_id, pack) for pack in packs)


@dataclass(frozen=True)
class _Replaced:
    replaced: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Uploads:
    """What the step *upload* says about packs; the rest of it is not read."""

    step: ClassVar[str] = UploadDone.step

    results: Mapping[str, _Replaced] = field(default_factory=dict)


def damaged_packs(database: Database, cluster: str) -> DamagedPacks:
    """Return the damaged packs of each node, with the verifications that found them.

    A finding is void when a later verification of the same backup read every byte, or when a
    backup that received the finding uploaded the pack again. Deleting the backup does not make it
    void: its packs stay where they are.
    """
    findings: DamagedPacks = {}
    read_later = set()
    for job in database.jobs.newest(JobKind.VERIFICATION, cluster, _LOOKED_AT):
        if job.result is None or job.backup_id in read_later:
            continue
        verification = decode(_Verification, job.result)
        for host_id, pack in verification.packs():
            findings.setdefault(host_id, {}).setdefault(pack, []).append(job.id)
        if verification.read_data:
            read_later.add(job.backup_id)
    return _not_replaced(database, cluster, findings)


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


def _not_replaced(database: Database, cluster: str, findings: DamagedPacks) -> DamagedPacks:
    """Leave out what uploads have replaced; they name the findings, so that no clock matters."""
    backups = database.jobs.newest(JobKind.BACKUP, cluster, _LOOKED_AT) if findings else ()
    for job in backups:
        uploads = Results(database.jobs.step_results(job.id, job.round)).find(_Uploads)
        for host_id, node in uploads.results.items() if uploads else ():
            findings[host_id] = _without(findings.get(host_id, {}), node.replaced)
    return {host_id: packs for host_id, packs in findings.items() if packs}


def _without(
    packs: Mapping[str, list[str]], replaced: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    left = {
        pack: [verification for verification in found if verification not in replaced.get(pack, ())]
        for pack, found in packs.items()
    }
    return {pack: found for pack, found in left.items() if found}

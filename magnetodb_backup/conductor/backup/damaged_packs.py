# SPDX-License-Identifier: Apache-2.0
"""Which packs a verification found damaged that no backup has stored again since."""

from __future__ import annotations

from collections.abc import Mapping

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.status import JobKind

_LOOKED_AT = 200  # newest jobs of each kind
# By host ID and pack: the IDs of the verification jobs that found it damaged.
Findings = dict[str, dict[str, list[str]]]


def distrusted_packs(database: Database, cluster: str) -> Findings:
    """Return the damaged packs of each node, with the verifications that found them.

    A finding is void when a later verification of the same backup read every byte, or when a
    backup that was told of it stored the pack again. Deleting the backup does not make it void:
    its packs stay where they are.
    """
    findings: Findings = {}
    read_later = set()
    for job in database.jobs.newest(JobKind.VERIFICATION, cluster, _LOOKED_AT):
        if job.result is None or job.backup_id in read_later:
            continue
        for problem in job.result["problems"]:
            if problem["pack"]:
                packs = findings.setdefault(problem["host_id"], {})
                packs.setdefault(problem["pack"], []).append(job.id)
        if job.result["read_data"]:
            read_later.add(job.backup_id)
    return _not_replaced(database, cluster, findings)


def _not_replaced(database: Database, cluster: str, findings: Findings) -> Findings:
    """Leave out what uploads have replaced; they name the findings, so that no clock matters."""
    backups = database.jobs.newest(JobKind.BACKUP, cluster, _LOOKED_AT) if findings else ()
    for job in backups:
        upload = database.jobs.step_results(job.id, job.round).get("upload", {})
        for host_id, result in upload.get("results", {}).items():
            findings[host_id] = _without(findings.get(host_id, {}), result.get("replaced", {}))
    return {host_id: packs for host_id, packs in findings.items() if packs}


def _without(
    packs: Mapping[str, list[str]], replaced: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    left = {
        pack: [verification for verification in found if verification not in replaced.get(pack, ())]
        for pack, found in packs.items()
    }
    return {pack: found for pack, found in left.items() if found}

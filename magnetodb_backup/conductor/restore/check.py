# SPDX-License-Identifier: Apache-2.0
"""The check of a restore: which figures there are, who reads what again, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from magnetodb_backup.conductor.job import Results
from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.domain.fingerprints import (
    TableCheck,
    TableFingerprints,
    TokenRange,
    assign_ranges,
    difference_texts,
)
from magnetodb_backup.domain.restore.records import Existing, RestorePhase, RestoreRequest
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    CorruptObject,
    FormatProblem,
    NotFound,
    RestoreDiffers,
    SSTableRefused,
)
from magnetodb_backup.repository.cluster import ClusterRepository

_MOST_RANGES = 100_000


@dataclass(frozen=True)
class _CheckPlan:
    """What a check would have to go by; ``tables`` by target name."""

    tables: Mapping[str, TableFingerprints]
    ranges: tuple[TokenRange, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def add_check(
    plan: dict[str, Any],
    repository: ClusterRepository,
    request: RestoreRequest,
    selected: Mapping[str, Any],
    compared: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Add to a plan what the check can go by; return what the check's tasks need."""
    manifest = repository.read_backup(request.backup_id)
    found = _plan_check(repository, request, manifest, selected, compared["has_rows"])
    plan["problems"] += found.problems
    plan["warnings"] += found.warnings
    plan["figures"] = {name: asdict(figures) for name, figures in found.tables.items()}
    return {
        "stored": [asdict(stored) for stored in manifest.figures],
        "ranges": [r.as_json() for r in found.ranges],
    }


def _plan_check(
    repository: ClusterRepository,
    request: RestoreRequest,
    manifest: BackupManifest,
    selected: Mapping[str, Any],
    has_rows: Mapping[str, bool],
) -> _CheckPlan:
    if not manifest.figures:
        problem = (
            f"backup {manifest.backup_id} has no figures to check a restore against; leave --check "
            "out, and make the next backup with --fingerprints"
        )
        return _CheckPlan({}, (), (problem,), ())
    targets = {TableName(*source): _text(target) for source, target in selected["tables"]}
    try:
        tables, ranges = _read(repository, manifest, targets)
    except (CorruptObject, FormatProblem, NotFound) as error:
        return _CheckPlan({}, (), (str(error),), ())
    problems = []
    if request.existing is Existing.MERGE:
        problems += [
            f"table {name} has rows, so after a merge it cannot be what the figures say; use "
            "--existing replace, or leave --check out"
            for name, found in has_rows.items()
            if found
        ]
    if not any(found.steady for found in tables.values()):
        problems.append(
            "the backup's figures have no token range of the selected tables that did not change "
            "while the backup was made: nothing could be checked; leave --check out"
        )
    warnings = [
        f"the check can compare {found.steady} of {sum(asdict(found).values())} token ranges of "
        f"{name}; the others changed while the backup was made, or could not be read"
        for name, found in tables.items()
        if found.changing or found.unread
    ]
    lacking = sorted(set(targets.values()) - set(tables))
    if lacking:
        warnings.append(f"the backup has no figures of {', '.join(lacking)}: not checked")
    return _CheckPlan(tables, tuple(sorted(ranges)), tuple(problems), tuple(warnings))


def _read(
    repository: ClusterRepository, manifest: BackupManifest, targets: Mapping[TableName, str]
) -> tuple[dict[str, TableFingerprints], set[TokenRange]]:
    tables: dict[str, TableFingerprints] = {}
    ranges: set[TokenRange] = set()
    for stored in manifest.figures:
        for figure in repository.fingerprints(manifest.backup_id, stored):
            target = targets.get(figure.table)
            if target is None:
                continue
            tables[target] = tables.get(target, TableFingerprints()).plus(figure.state)
            ranges.add(figure.range)
            if len(ranges) > _MOST_RANGES:
                raise FormatProblem(f"{stored.name}: has more than {_MOST_RANGES} token ranges")
    return dict(sorted(tables.items())), ranges


def check_tasks(
    figures: Mapping[str, Any], members: Sequence[RingMember], tables: Sequence[Any]
) -> dict[str, dict[str, Any]]:
    """Return by host ID what each node is to read again.

    ``figures`` has what preflight found: the stored objects and their ranges.
    """
    ranges = [TokenRange.from_json(r) for r in figures["ranges"]]
    assigned = assign_ranges(ranges, members, {m.host_id for m in members})
    return {
        host_id: {
            "tables": tables,
            "figures": figures["stored"],
            "ranges": [r.as_json() for r in found],
        }
        for host_id, found in assigned.items()
    }


def differing(checks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the tables that are not what the figures say."""
    return [table for table, data in checks.items() if data["different"]]


def judge(results: Results) -> None:
    """Raise if a restore that came to its end has not brought back what the backup has.

    :raises SSTableRefused: if Cassandra refused SSTables; the tables' states name them.
    :raises RestoreDiffers: if the check found other rows, naming where.
    """
    differences = _differences(results[RestorePhase.CHECK.value]["checks"])
    if results.get(RestorePhase.IMPORT.value, {}).get("refused"):
        raise SSTableRefused(
            "Cassandra refused SSTables; everything else is restored. Where other replicas have "
            "their rows, nodetool repair brings them back"
            + (f". Hence {differences}" if differences else "")
        )
    if differences:
        raise RestoreDiffers(differences)


def _differences(checks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what is to be said of tables that differ, and what may be the cause; or nothing."""
    found = [TableCheck.from_json(checks[table]) for table in differing(checks)]
    if not found:
        return ""
    told = f"the restored rows are not those of the backup: {'; '.join(difference_texts(checks))}"
    if any(c.rows_found < c.rows_expected for c in found):
        told += (
            ". Where rows are missing, they may have expired since (TTL), or newer deletions that "
            "were in the table hide them: --existing replace removes those"
        )
    if any(c.rows_found >= c.rows_expected for c in found):
        told += (
            ". Where rows are other or more ones, they may have been written during the restore, "
            "or be newer ones that were there before"
        )
    return told


def _text(pair: Sequence[str]) -> str:
    return f"{pair[0]}.{pair[1]}"

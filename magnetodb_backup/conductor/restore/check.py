# SPDX-License-Identifier: Apache-2.0
"""The check of a restore: what it compares with, which node reads which ranges, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from magnetodb_backup.conductor.job import Results
from magnetodb_backup.conductor.restore.findings import Findings
from magnetodb_backup.conductor.restore.preflight import SourceBackup
from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.fingerprints import (
    TableCheck,
    TableFingerprints,
    TokenRange,
    assign_ranges,
    covers,
    difference_texts,
)
from magnetodb_backup.domain.partitioners import find_partitioner
from magnetodb_backup.domain.restore.parts import TableRef
from magnetodb_backup.domain.restore.plan import Plan
from magnetodb_backup.domain.restore.records import Existing, RestoreRequest
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.errors import (
    CorruptObject,
    FormatProblem,
    NotFound,
    RestoreDiffers,
    SSTableRefused,
)
from magnetodb_backup.tasks.restore_delivery import CheckRows
from magnetodb_backup.tasks.restore_steps import CheckBasis, RowsCompared, RowsDelivered

_MOST_RANGES = 100_000


@dataclass(frozen=True)
class _CheckPlan:
    """What a check would compare with; ``tables`` by target (``keyspace.table``)."""

    tables: Mapping[str, TableFingerprints]
    basis: CheckBasis
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def with_check(
    plan: Plan, source: SourceBackup, request: RestoreRequest, findings: Findings
) -> tuple[Plan, CheckBasis]:
    """Return the plan with what a check of users' tables adds, and what its tasks need."""
    compared = findings.compared
    found = _plan_check(source, request, findings.selected.users(), compared.has_rows)
    grown = (
        f"table {name} has columns or fields that were added since the backup, so its rows cannot "
        "have the backup's fingerprints; leave --check out, or restore it under another name"
        for name in compared.grown
    )
    masked = (
        f"the service's role reads masks instead of the values of {', '.join(columns)} in {name}, "
        f"so a check would prove nothing of them; GRANT UNMASK ON TABLE {name} to the role of "
        "[cassandra] username, or leave --check out"
        for name, columns in compared.masked.items()
    )
    gaps = _gaps(source, found.basis, findings.partitioner)
    extended = replace(
        plan,
        problems=(*plan.problems, *found.problems, *gaps, *grown, *masked),
        warnings=(*plan.warnings, *found.warnings),
        figures=found.tables,
    )
    return extended, found.basis


def _gaps(source: SourceBackup, basis: CheckBasis, partitioner: str) -> list[str]:
    """Return a problem if rows of the target may have tokens outside of the ranges.

    Older releases took the fingerprints of any cluster as if it had the default partitioner.
    """
    ranges = [TokenRange.from_json(pair) for pair in basis.ranges]
    if not ranges or covers(ranges, find_partitioner(partitioner)):
        return []
    return [
        f"the fingerprints of backup {source.manifest.backup_id} leave out tokens of "
        f"{partitioner or 'the target'}, as an older release took them: a check would not read all "
        "rows. Leave --check out, and make the next backup with --fingerprints"
    ]


def _plan_check(
    source: SourceBackup,
    request: RestoreRequest,
    refs: Sequence[TableRef],
    has_rows: Mapping[str, bool],
) -> _CheckPlan:
    stored = CheckBasis(source.manifest.figures)
    if not source.manifest.figures:
        problem = (
            f"backup {source.manifest.backup_id} has no fingerprints to check a restore against; "
            "leave --check out, and make the next backup with --fingerprints"
        )
        return _CheckPlan({}, stored, (problem,))
    try:
        tables, basis = _read(source, refs)
    except (CorruptObject, FormatProblem, NotFound) as error:
        return _CheckPlan({}, stored, (str(error),))
    problems = []
    if request.existing is Existing.MERGE:
        problems += [
            f"table {name} has rows, so after a merge it cannot have the backup's fingerprints; "
            "use --existing replace, or leave --check out"
            for name, found in has_rows.items()
            if found
        ]
    if not any(found.steady for found in tables.values()):
        problems.append(
            "the backup's fingerprints have no token range of the selected tables that did not "
            "change while the backup was made: nothing could be checked; leave --check out"
        )
    warnings = [
        f"the check can compare {found.steady} of {sum(asdict(found).values())} token ranges of "
        f"{name}; the others changed while the backup was made, or could not be read"
        for name, found in tables.items()
        if found.changing or found.unread
    ]
    lacking = sorted({ref.key for ref in refs} - set(tables))
    if lacking:
        warnings.append(f"the backup has no fingerprints of {', '.join(lacking)}: not checked")
    return _CheckPlan(tables, basis, tuple(problems), tuple(warnings))


def _read(
    source: SourceBackup, refs: Sequence[TableRef]
) -> tuple[dict[str, TableFingerprints], CheckBasis]:
    """Read each file of fingerprints once; return the ranges by table and which file has which."""
    keys = {ref.source: ref.key for ref in refs}
    manifest = source.manifest
    tables: dict[str, TableFingerprints] = {}
    found_in: list[set[TokenRange]] = []
    ranges: set[TokenRange] = set()
    for stored in manifest.figures:
        in_file: set[TokenRange] = set()
        for fingerprint in source.repository.fingerprints(manifest.backup_id, stored):
            key = keys.get(fingerprint.table)
            if key is None:
                continue
            tables[key] = tables.get(key, TableFingerprints()).plus(fingerprint.state)
            in_file.add(fingerprint.range)
            ranges.add(fingerprint.range)
            if len(ranges) > _MOST_RANGES:
                raise FormatProblem(f"{stored.name}: has more than {_MOST_RANGES} token ranges")
        found_in.append(in_file)
    order = sorted(ranges)
    position = {each: number for number, each in enumerate(order)}
    return dict(sorted(tables.items())), CheckBasis(
        stored=manifest.figures,
        ranges=tuple(_pair(each) for each in order),
        found_in=tuple(tuple(sorted(position[r] for r in in_file)) for in_file in found_in),
    )


def check_tasks(
    basis: CheckBasis, members: Sequence[RingMember], tables: tuple[TableRef, ...]
) -> dict[str, CheckRows]:
    """Return by host ID what each node is to read again.

    A node reads the ranges whose end it owns, in a ring like the backup's those of one file. So
    that files are not read by every node, a file has at most as many readers as there are nodes
    for each file.
    """
    ranges = [TokenRange.from_json(pair) for pair in basis.ranges]
    owned = assign_ranges(ranges, members, {m.host_id for m in members})
    if not basis.found_in:  # of an older release: each node reads all files
        files = {host_id: [*basis.stored] for host_id in owned}
    else:
        owned, files = _limit_readers(basis, ranges, owned, len(members))
    return {
        host_id: CheckRows(
            tables=tables,
            figures=tuple(files[host_id]),
            ranges=tuple(_pair(each) for each in found),
        )
        for host_id, found in owned.items()
    }


def _limit_readers(
    basis: CheckBasis,
    ranges: Sequence[TokenRange],
    owned: Mapping[str, tuple[TokenRange, ...]],
    nodes: int,
) -> tuple[dict[str, tuple[TokenRange, ...]], dict[str, list[StoredObject]]]:
    """Return by host ID the ranges and the files that each node reads."""
    owner_of = {each: host_id for host_id, found in owned.items() for each in found}
    reader_of: dict[TokenRange, str] = {}
    load: dict[str, int] = dict.fromkeys(owned, 0)
    files: dict[str, list[StoredObject]] = {host_id: [] for host_id in owned}
    most = -(-nodes // len(basis.stored))
    for stored, positions in zip(basis.stored, basis.found_in, strict=True):
        by_owner: dict[str, list[TokenRange]] = {}
        for each in (ranges[number] for number in positions):
            by_owner.setdefault(owner_of[each], []).append(each)
        kept = sorted(by_owner, key=lambda h: (-len(by_owner[h]), load[h], h))[:most]
        readers = set()
        for owner, found in by_owner.items():
            substitute = owner if owner in kept else min(kept, key=lambda h: load[h])
            for each in found:
                reader = reader_of.setdefault(each, substitute)
                readers.add(reader)
                load[reader] += 1
        for reader in sorted(readers):
            files[reader].append(stored)
    read: dict[str, list[TokenRange]] = {}
    for each, reader in reader_of.items():
        read.setdefault(reader, []).append(each)
    return {host_id: tuple(found) for host_id, found in read.items()}, files


def _pair(each: TokenRange) -> tuple[str, str]:
    start, end = each.as_json()
    return start, end


def differing(checks: Mapping[str, TableCheck]) -> list[str]:
    """Return the tables whose rows are not those of the backup."""
    return [table for table, check in checks.items() if check.different]


def judge(results: Results) -> None:
    """Raise if a restore that came to its end has not brought back what the backup has.

    :raises SSTableRefused: if Cassandra refused SSTables; the tables' states name them.
    :raises RestoreDiffers: if the check found other rows, naming the ranges.
    """
    differences = _differences(results.of(RowsCompared).checks)
    delivered = results.find(RowsDelivered)
    if delivered is not None and delivered.refused:
        raise SSTableRefused(
            "Cassandra refused SSTables; everything else is restored. Where other replicas have "
            "their rows, nodetool repair --full brings them back"
            + (f". Hence {differences}" if differences else "")
        )
    if differences:
        raise RestoreDiffers(differences)


def _differences(checks: Mapping[str, TableCheck]) -> str:
    """Return the tables that differ and possible causes, as text; empty if none differs."""
    found = [checks[table] for table in differing(checks)]
    if not found:
        return ""
    texts = difference_texts(checks)
    text = f"the restored rows are not those of the backup: {'; '.join(texts)}"
    if any(c.rows_found < c.rows_expected for c in found):
        text += (
            ". Where rows are missing, they may have expired since (TTL), or newer deletions that "
            "were in the table hide them: --existing replace removes those"
        )
    if any(c.rows_found >= c.rows_expected for c in found):
        text += (
            ". Where rows are other or more ones, they may have been written during the restore, "
            "or be newer ones that were there before"
        )
    return text

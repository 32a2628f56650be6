# SPDX-License-Identifier: Apache-2.0
"""Puts together the plan of a restore from what preflight found."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timezone

from magnetodb_backup.conductor.restore.findings import Findings
from magnetodb_backup.conductor.restore.plan_data_centers import (
    data_center_problems,
    data_center_warnings,
)
from magnetodb_backup.conductor.restore.plan_schema import schema_problems, schema_warnings
from magnetodb_backup.conductor.restore.preflight import SourceBackup, newest_version, release
from magnetodb_backup.domain.coverage import replica_shares
from magnetodb_backup.domain.restore.gc_grace import oldest_moment, resurrection, tables_past_grace
from magnetodb_backup.domain.restore.parts import table_key
from magnetodb_backup.domain.restore.plan import Plan, PlannedNode, PlannedSchema, PlannedTable
from magnetodb_backup.domain.restore.records import Existing, Restore
from magnetodb_backup.domain.restore.routing import Method, copies
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.steps import SchemaSteps, names_of
from magnetodb_backup.domain.tables import TableName, quote
from magnetodb_backup.tasks.restore import FileTotals
from magnetodb_backup.tasks.restore_schema import Compared
from magnetodb_backup.tasks.restore_steps import Selected

_SHOWN = 120  # characters of a statement in a plan


def make_plan(restore: Restore, source: SourceBackup, found: Findings) -> Plan:
    """Return the plan without what the delivery's rehearsal and the check add."""
    tables = _tables(found)
    total = sum(n.bytes for n in found.nodes.values())
    staged = sum(n.bytes_staged for n in found.nodes.values())
    sent = _bytes_sent(source, found, tables)
    rates = [
        (n.bytes - n.bytes_staged) / n.bytes_per_second
        for n in found.nodes.values()
        if n.bytes_per_second
    ]
    compared, steps = found.compared, found.steps
    resurrected, aged = _resurrection(restore, source, compared)
    return Plan(
        method_by_keyspace=dict(found.routing.methods),
        tables=tables,
        nodes=_nodes(found),
        requests=sum(n.packs for n in found.nodes.values()),
        bytes=total,
        bytes_staged=staged,
        bytes_sent=sent,
        amplification=round((total - staged + sent) / total, 2) if total else 1.0,
        expected_seconds=round(max(rates, default=0.0), 1),
        schema=PlannedSchema(
            create=tuple(_cut(text) for text in (*steps.before, *steps.after)),
            differences=compared.differences,
            notes=(
                *compared.notes,
                *(() if restore.request.is_exact else compared.lost),
                *_dropped_meanwhile(compared, steps),
            ),
        ),
        problems=(*_problems(restore, source, found), *resurrected),
        warnings=(
            *found.routing.notes,
            *aged,
            *_warnings(source, found),
            *schema_warnings(found),
            *data_center_warnings(source, found),
        ),
    )


def _tables(found: Findings) -> tuple[PlannedTable, ...]:
    planned = []
    for ref in found.selected.tables:
        name = str(ref.target)
        totals = [n.tables.get(name, FileTotals()) for n in found.nodes.values()]
        planned.append(
            PlannedTable(
                source=table_key(ref.source),
                target=ref.key,
                files=sum(t.files for t in totals),
                bytes=sum(t.bytes for t in totals),
                exists=found.compared.exists[name],
                has_rows=found.compared.has_rows[name],
            )
        )
    return tuple(planned)


def _nodes(found: Findings) -> tuple[PlannedNode, ...]:
    members = {m.host_id: m for m in found.ring}
    sources: dict[str, set[str]] = {}
    for assignment in found.routing.assignments:
        if assignment.target in found.nodes:
            sources.setdefault(assignment.target, set()).add(assignment.source)
    return tuple(
        PlannedNode(
            host_id=target,
            address=members[target].address,
            sources=tuple(sorted(of_target)),
            files=found.nodes[target].files,
            bytes=found.nodes[target].bytes,
            free=found.nodes[target].free,
            bytes_staged=found.nodes[target].bytes_staged,
        )
        for target, of_target in sources.items()
    )


def _older_workers(restore: Restore, found: Findings) -> Iterator[str]:
    """Yield the nodes whose workers read the present store instead of an earlier state."""
    members = {m.host_id: m for m in found.ring}
    for host_id, node in found.nodes.items():
        if node.as_of != restore.request.moment:
            yield (
                f"{members[host_id].address}: its worker is of an older release, which cannot read "
                "an earlier state of the store; install the same release everywhere"
            )


def _problems(restore: Restore, source: SourceBackup, found: Findings) -> list[str]:
    members, compared = {m.host_id: m for m in found.ring}, found.compared
    differences = (*compared.differences, *(compared.lost if restore.request.is_exact else ()))
    return [
        *(f"{members[h].address}: {p}" for h, n in found.nodes.items() for p in n.problems),
        *_older_workers(restore, found),
        *(f"the schema differs:\n{d}" for d in differences),
        *_existing_problems(restore, compared),
        *_view_problems(found.selected, compared),
        *_room_problems(source, found),
        *_version_problems(source, found.ring),
        *_partitioner_problems(source, found.partitioner),
        *schema_problems(restore.request, found),
        *data_center_problems(source, found),
    ]


def _cut(statement: str) -> str:
    return statement if len(statement) <= _SHOWN else f"{statement[:_SHOWN]}..."


def _dropped_meanwhile(compared: Compared, steps: SchemaSteps) -> list[str]:
    indexes = [f"index {quote(k)}.{quote(i)}" for k, i in steps.drop]
    present = names_of(compared.present_views, "view")
    views = [
        f"view {TableName(k, v)}" for k, v in names_of(steps.after, "view") if (k, v) in present
    ]
    return [f"{what} is dropped, and made again from the restored rows" for what in indexes + views]


def _view_problems(selected: Selected, compared: Compared) -> list[str]:
    present = names_of(compared.present_views, "view")
    return [
        f"the view {ref.target} does not exist, and a single node's share does not make it; "
        f"make it by CREATE MATERIALIZED VIEW first, or leave it out by --skip view={ref.key}"
        for ref in selected.views
        if ref.target not in present
    ]


def _existing_problems(restore: Restore, compared: Compared) -> list[str]:
    request = restore.request
    existing = [t for t, found in compared.exists.items() if found]
    if (request.to_table or request.to_keyspace) and request.existing is Existing.REFUSE:
        return [
            f"the target {t} exists; choose another name, or say --existing replace or merge"
            for t in existing
        ]
    if request.existing is not Existing.REFUSE or request.node:
        return []  # a single node's rows are put back beside those that the others have
    filled = sorted(t for t, found in compared.has_rows.items() if found)
    if not filled:
        return []
    merged = (
        ", or --existing merge to let the newest write of each cell win, or restore beside under "
        "another name"
    )
    return [
        f"{', '.join(filled)} {'has' if len(filled) == 1 else 'have'} data; say --existing replace "
        f"to get exactly the backup's state{'' if request.offline else merged}"
    ]


def _version_problems(source: SourceBackup, ring: Sequence[RingMember]) -> list[str]:
    newest = newest_version(source.manifest)
    return [
        f"node {m.address} runs Cassandra {m.version}, the backup is of {newest}: SSTables and "
        "schema of a newer version cannot be restored into an older one; upgrade the target"
        for m in ring
        if release(m.version) < release(newest)
    ]


def _partitioner_problems(source: SourceBackup, present: str) -> list[str]:
    wanted = source.manifest.found_partitioner()
    if not wanted or not present or wanted == present:
        return []
    return [
        f"the backup is of a cluster with {wanted}, the target has {present}, which gives other "
        "tokens to the same keys: no row would be found. Restore into a cluster whose "
        f"cassandra.yaml has partitioner: {wanted}"
    ]


def _bytes_sent(source: SourceBackup, found: Findings, tables: Sequence[PlannedTable]) -> int:
    """Return the bytes that the bulk loader sends."""
    return sum(sent for _, sent in _streamed(source, found, tables, _by_stream(found)).values())


def _by_stream(found: Findings) -> list[str]:
    return [k for k, method in found.routing.methods.items() if method is Method.STREAM]


def _streamed(
    source: SourceBackup,
    found: Findings,
    tables: Sequence[PlannedTable],
    keyspaces: Collection[str],
) -> Mapping[str, tuple[Mapping[str, str], int]]:
    """Return replication and bytes that are sent of the keyspaces: each row to all replicas."""
    replication = source.replication()
    target_of = dict(found.selected.keyspaces)
    streamed: dict[str, tuple[Mapping[str, str], int]] = {}
    for ref, table in zip(found.selected.tables, tables, strict=True):
        keyspace = ref.source.keyspace
        if keyspace in keyspaces:
            now = found.compared.replication.get(target_of[keyspace], replication[keyspace])
            sent = streamed.get(keyspace, (now, 0))[1] + table.bytes * max(copies(now), 1)
            streamed[keyspace] = now, sent
    return streamed


def _room_problems(source: SourceBackup, found: Findings) -> list[str]:
    """Name the nodes whose disks what is streamed would fill, before it is compacted.

    A repair may stream what each node of the backup has of a range to nodes that have nothing.
    """
    arrives: dict[str, float] = {}
    inside = source.manifest.data_centers
    outside = {m.host_id for m in found.ring if m.dc not in inside}
    by_repair = found.routing.by_repair
    streamed = _streamed(source, found, _tables(found), (*_by_stream(found), *by_repair))
    for keyspace, (replication, sent) in streamed.items():
        for host_id, share in replica_shares(found.ring, replication).items():
            if keyspace not in by_repair or host_id in outside:
                arrives[host_id] = arrives.get(host_id, 0.0) + sent * share
    return [
        f"{m.address}: about {int(arrives[m.host_id]) >> 20} MiB arrive by streaming, before they "
        f"are compacted; {node.spare >> 20} MiB are left beside the staged files and [worker] "
        "head_room_percent. Free some room, send one copy of each row by --source-replicas one, "
        "or restore some tables at a time"
        for m in found.ring
        if (node := found.nodes.get(m.host_id)) is not None
        and 0 <= node.spare < arrives.get(m.host_id, 0.0)
    ]


def _resurrection(
    restore: Restore, source: SourceBackup, compared: Compared
) -> tuple[list[str], list[str]]:
    past = tables_past_grace(source.manifest, compared.gc_grace_seconds)
    existing = [table for table, exists in compared.exists.items() if exists]
    return resurrection(restore.request, past, existing)


def _warnings(source: SourceBackup, found: Findings) -> list[str]:
    manifest = source.manifest
    members = {m.host_id: m for m in found.ring}
    warnings = [f"{members[h].address}: {w}" for h, n in found.nodes.items() for w in n.warnings]
    age = datetime.now(timezone.utc) - oldest_moment(manifest)
    lifetimes = found.compared.default_time_to_live
    expired = sorted(t for t, seconds in lifetimes.items() if 0 < seconds < age.total_seconds())
    if expired:
        warnings.append(
            f"the backup is older than default_time_to_live of {', '.join(expired)}: rows that "
            "were written with it have expired, and are not readable after the restore"
        )
    if found.routing.incomplete:
        warnings.append(
            f"the backup lacks the nodes {', '.join(manifest.missing_nodes)}: what only they had "
            "is not in it; the restored tables are repaired"
        )
    corrupt = sum(n.corrupt_files for n in manifest.nodes)
    if corrupt:
        warnings.append(f"{corrupt} files were corrupt when the backup was made; see backup show")
    return warnings

# SPDX-License-Identifier: Apache-2.0
"""The fingerprints of a backup: each node reads its token ranges before and after the snapshots.

They are an extra: an error that prevents them is reported and does not fail the backup. Stored
names and wire keys call them ``figures``.
"""

from __future__ import annotations

from collections.abc import Mapping

from magnetodb_backup.conductor.backup.nodes import BackupNodes, hosts_in, selected
from magnetodb_backup.conductor.calls import result_of
from magnetodb_backup.conductor.fanout import Outcome
from magnetodb_backup.conductor.job import Results
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.fingerprints import (
    MOST_RANGES,
    TokenRange,
    assign_ranges,
    split_ring,
)
from magnetodb_backup.domain.partitioners import find_partitioner, partitioner_of
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.errors import Cancelled
from magnetodb_backup.tasks.backup import FingerprintsAfter, FingerprintsBefore, FingerprintsStored
from magnetodb_backup.tasks.backup_steps import (
    CensusTaken,
    FingerprintsAfterDone,
    FingerprintsBeforeDone,
)
from magnetodb_backup.tasks.cluster import SelectedTables

_NAMED = 3  # tables that could not be read, in a note


def first_read(nodes: BackupNodes, results: Results) -> FingerprintsBeforeDone:
    """Let each node read the ranges that it owns.

    :raises Cancelled: only that; other errors are the result's problem.
    """
    tables = _tables(selected(results))
    if not tables:
        return FingerprintsBeforeDone(
            problem="the backup has no tables but Cassandra's own and views"
        )
    own = _own_ranges(results.of(CensusTaken))

    def task(host_id: str) -> FingerprintsBefore:
        return FingerprintsBefore(
            **nodes.fields(host_id),
            tables=tables,
            ranges=tuple((str(r.start), str(r.end)) for r in own[host_id]),
            local=nodes.local,
        )

    outcomes = nodes.outcomes(results, Phase.FIGURES_BEFORE.value, task, own)
    if problem := _errors(outcomes):
        return FingerprintsBeforeDone(problem=problem)
    unread = {
        table: reason
        for outcome in outcomes
        for table, reason in result_of(FingerprintsBefore, outcome).unread.items()
    }
    return FingerprintsBeforeDone(hosts=tuple(sorted(own)), unread=unread)


def second_read(nodes: BackupNodes, results: Results) -> FingerprintsAfterDone:
    """Let the same nodes read again; return what they have stored.

    :raises Cancelled: only that; other errors are the result's problem.
    """
    before = results.of(FingerprintsBeforeDone)
    if before.problem:
        return FingerprintsAfterDone(problem=before.problem)
    hosts = frozenset(before.hosts)
    if left := hosts - hosts_in(results):
        return FingerprintsAfterDone(problem=f"the nodes {', '.join(sorted(left))} left the backup")

    def task(host_id: str) -> FingerprintsAfter:
        return FingerprintsAfter(**nodes.fields(host_id), local=nodes.local)

    outcomes = nodes.outcomes(results, Phase.FIGURES_AFTER.value, task, hosts)
    found = [
        (o, result_of(FingerprintsAfter, o) if o.error is None else FingerprintsStored())
        for o in outcomes
    ]
    problems = [f"node {o.call.host}: {node.problem}" for o, node in found if node.problem]
    if problem := "; ".join([p for p in (_errors(outcomes), *problems) if p]):
        return FingerprintsAfterDone(problem=problem)
    unread = dict(before.unread)
    for _, node in found:
        unread.update(node.unread)
    stored = tuple(node.figures for _, node in found if node.figures is not None)
    return FingerprintsAfterDone(figures=stored, unread=unread)


def fingerprint_notes(results: Results) -> list[str]:
    """Return the notes of a backup whose fingerprints were requested and lack something."""
    after = results.find(FingerprintsAfterDone)
    if after is None:
        return []
    if after.problem:
        return [f"without fingerprints, which restore --check needs: {after.problem}"]
    unread = sorted(after.unread.items())
    named = "; ".join(f"{table} ({reason})" for table, reason in unread[:_NAMED])
    more = f" and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
    return [f"the fingerprints lack ranges that could not be read: {named}{more}"] if unread else []


def _tables(selection: SelectedTables) -> tuple[tuple[str, str], ...]:
    """Return the tables whose rows are users': no views, nothing of Cassandra's own."""
    selected = selection.selection()
    own = {k.name for k in selected.keyspaces if not k.is_system}
    return tuple(
        (t.name.keyspace, t.name.table)
        for t in selected.tables
        if not t.is_view and t.name.keyspace in own
    )


def _own_ranges(census: CensusTaken) -> Mapping[str, tuple[TokenRange, ...]]:
    """Return by host ID the ranges that each present node reads."""
    ring: list[RingMember] = [m.ring_member() for m in census.ring]
    present = {p.member.host_id for p in census.present}
    tokens = [token for member in ring for token in member.tokens]
    most = max(MOST_RANGES, len(present))
    partitioner = find_partitioner(census.partitioner or partitioner_of(tokens))
    ranges = split_ring(tokens, most, partitioner)
    return assign_ranges(ranges, ring, present)


def _errors(outcomes: list[Outcome]) -> str:
    """Return the errors of nodes as one text.

    :raises Cancelled: if the job was cancelled.
    """
    for outcome in outcomes:
        if isinstance(outcome.error, Cancelled):
            raise outcome.error
    return "; ".join(str(o.error) for o in outcomes if o.error is not None)

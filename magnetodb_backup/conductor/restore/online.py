# SPDX-License-Identifier: Apache-2.0
"""Deliveries into a running cluster: import into nodes of the same ring, stream to any ring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from magnetodb_backup.conductor.fanout import Fanout
from magnetodb_backup.conductor.job import Results, Step, typed_step
from magnetodb_backup.conductor.restore.check import differing, judge
from magnetodb_backup.conductor.restore.compaction import CompactionHold
from magnetodb_backup.conductor.restore.delivery import Rehearsal
from magnetodb_backup.conductor.restore.late_schema import LateSchema
from magnetodb_backup.conductor.restore.nodes import TargetNodes
from magnetodb_backup.conductor.restore.preflight import SourceBackup
from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.records import Existing, Restore, RestorePhase, has_reached
from magnetodb_backup.domain.restore.routing import Method, Routing, choose_routing, find_member
from magnetodb_backup.domain.restore.source_ring import SourceRing
from magnetodb_backup.domain.restore.table_states import mark_differing, still_held, table_states
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.steps import SchemaSteps
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.tasks.restore import CleanUp, ExpectedPart
from magnetodb_backup.tasks.restore_delivery import ImportParts, StreamParts
from magnetodb_backup.tasks.restore_schema import Compared, MakeSchema, Truncate
from magnetodb_backup.tasks.restore_steps import (
    FilesStaged,
    Prepared,
    RowsCompared,
    RowsDelivered,
    Selected,
    TablesEmptied,
    ViewsReady,
)

# By method, the task that brings the parts staged on a node into the tables: Cassandra takes over
# the node's own files, or its bulk loader sends the rows to the nodes that own them.
_TASKS: Mapping[Method, type[ImportParts] | type[StreamParts]] = {
    Method.IMPORT: ImportParts,
    Method.STREAM: StreamParts,
}


class OnlineDelivery:
    """Truncates unless rows are merged, then imports and streams by each keyspace's routing."""

    down_allowed = False

    def __init__(self, nodes: TargetNodes, restore: Restore) -> None:
        self._nodes, self._request = nodes, restore.request
        self._late = LateSchema(restore.id)
        self._compaction = CompactionHold(nodes, restore.id)

    def route(
        self,
        source: SourceBackup,
        ring: Sequence[RingMember],
        compared: Compared,
        selected: Selected,
    ) -> tuple[Routing, tuple[str, ...]]:
        """Return which node works on which node backup; online, no routing is a problem."""
        request = self._request
        present = {
            name: compared.replication[target]
            for name, target in dict(selected.keyspaces).items()
            if target in compared.replication
        }
        routing = choose_routing(
            SourceRing.of(source.manifest),
            ring,
            source.selection().keyspaces,
            present,
            only=find_member(ring, request.node) if request.node else None,
            one_replica=request.source_replicas == "one",
        )
        return routing, ()

    def contacts(self, ring: Sequence[RingMember]) -> tuple[str, ...]:
        """Return the addresses that the bulk loader is given."""
        return tuple(member.address for member in ring)

    def receivers(self, results: Results, parts: Mapping[str, Sequence[Part]]) -> list[str]:
        """Return the nodes that download something."""
        return list(parts)

    def rehearse(self, results: Results, routing: Routing, schema: SchemaSteps) -> Rehearsal:
        """Return the warning of a merge; the nodes rehearse with preflight."""
        if self._request.existing is not Existing.MERGE:
            return Rehearsal()
        return Rehearsal(
            warnings=(
                "merge: for each cell the newest write timestamp wins; rows written after the "
                "backup stay, rows deleted after it stay deleted if the backup is younger than "
                "gc_grace_seconds of their table",
            )
        )

    def compacted(self, results: Results) -> tuple[TableName, ...]:
        """Return all tables and views whose files are delivered."""
        return tuple(ref.target for ref in results.of(Selected).all_tables())

    def deliver(self) -> Sequence[Step]:
        """Return the steps TRUNCATE and IMPORT; the latter streams, too."""
        return [typed_step(TablesEmptied, self._truncate), typed_step(RowsDelivered, self._deliver)]

    def _truncate(self, results: Results) -> TablesEmptied:
        """Drop views and the indexes that block streaming; truncate unless rows are merged."""
        if self._request.node:
            return TablesEmptied()
        existing, prepared = self._request.existing, results.of(Prepared)
        task = Truncate(
            tables=tuple(ref.target for ref in results.of(Selected).tables),
            truncate=existing is Existing.REPLACE,
            indexes=prepared.schema.drop,
            refuse_rows=existing is Existing.REFUSE,
            truncate_empty=existing is Existing.REFUSE,
            planned=(*prepared.schema.after, *prepared.schema.skipped),
            streamed=_streamed(prepared),
        )
        return TablesEmptied(self._nodes.run_on_first(results, "truncate", task).truncated)

    def _deliver(self, results: Results) -> RowsDelivered:
        """Import and stream all parts, while no table of them is compacted."""
        self._compaction.hold(results)
        members = self._nodes.members(results)
        addresses = {m.host_id: m.address for m in members}
        contacts = self.contacts(members)
        work, expected = results.of(Prepared).work, results.of(FilesStaged).expected
        refused: dict[str, list[str]] = {}
        for method, task in _TASKS.items():
            tasks = {
                host_id: task(
                    parts=tuple(part for part, _ in own),
                    contacts=contacts,
                    expected=tuple(e for _, e in own if e is not None),
                )
                for host_id, parts in work.items()
                if (own := _of_method(method, parts, expected.get(host_id, ())))
            }
            found = self._nodes.run(results, method.value, tasks)
            for host_id, answer in found.items():
                for table, reasons in answer.refused.items():
                    named = (f"{reason} on {addresses[host_id]}" for reason in reasons)
                    refused.setdefault(table, []).extend(named)
        self._compaction.release(results)
        return RowsDelivered({table: tuple(reasons) for table, reasons in refused.items()})

    def finish(self, results: Results) -> None:
        """Remove what is staged, then judge: the staged files are of no more use."""
        members = self._nodes.members(results)
        self._nodes.run(results, "cleanup", {m.host_id: CleanUp() for m in members})
        judge(results)

    def undo(self, results: Results, phase: str, fanout: Fanout) -> None:
        """Create again what was dropped, unless an import may still run in Cassandra.

        Such an import would bypass a view that is built at the same time. Delivered and truncated
        rows cannot be undone; the states name them.
        """
        delivering = has_reached(phase, RestorePhase.IMPORT) and not results.find(RowsDelivered)
        if delivering:
            self._compaction.undo(results, fanout)
        reached = has_reached(phase, RestorePhase.TRUNCATE)
        if not reached or self._request.node or results.find(ViewsReady) is not None:
            return

        def create(task: MakeSchema) -> None:
            self._nodes.run_on_one(results, "views_again", task, fanout)

        self._late.create_again(results, None if delivering else create)

    def table_states(self, results: Results, phase: str) -> Mapping[str, str]:
        """Return what is known of each target table, by the steps that are done."""
        selected, prepared = results.find(Selected), results.find(Prepared)
        # Workers name tables as CQL does, which quotes some names.
        names = {ref.key: str(ref.target) for ref in selected.tables} if selected else {}
        exists = prepared.exists if prepared else {}
        delivered, compared = results.find(RowsDelivered), results.find(RowsCompared)
        refused = delivered.refused if delivered else {}
        by_table = {key: refused.get(name, ()) for key, name in names.items()}
        states = table_states(
            names,
            phase=phase,
            done=[p.value for p in RestorePhase if p.value in results],
            existing=self._request.existing,
            existed={key: exists.get(name, True) for key, name in names.items()},
            refused=by_table,
            late=self._late.missing(results),
        )
        held = self._compaction.left()
        states = {
            key: state + still_held(held.get(names[key], "")) for key, state in states.items()
        }
        return mark_differing(states, differing(compared.checks if compared else {}), by_table)


def _of_method(
    method: Method, parts: Sequence[Part], expected: Sequence[ExpectedPart]
) -> list[tuple[Part, ExpectedPart | None]]:
    """Return the parts of a method, each with what is expected of it, as far as that is known."""
    return [(p, e) for p, e in zip_longest(parts, expected) if p and p.method is method]


def _streamed(prepared: Prepared) -> tuple[TableName, ...]:
    parts = (part for parts in prepared.work.values() for part in parts)
    streamed = {ref.target for part in parts if part.method is Method.STREAM for ref in part.tables}
    return tuple(sorted(streamed))

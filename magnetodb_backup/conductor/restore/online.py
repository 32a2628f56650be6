# SPDX-License-Identifier: Apache-2.0
"""Deliveries into a running cluster: import into nodes of the same ring, stream to any ring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from magnetodb_backup.conductor.job import Results, Step, typed_step
from magnetodb_backup.conductor.restore.check import differing, judge
from magnetodb_backup.conductor.restore.delivery import Rehearsal
from magnetodb_backup.conductor.restore.nodes import TargetNodes
from magnetodb_backup.conductor.restore.preflight import SourceBackup
from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.records import Existing, RestorePhase, RestoreRequest
from magnetodb_backup.domain.restore.routing import Method, Routing, choose_routing, find_member
from magnetodb_backup.domain.restore.table_states import mark_differing, table_states
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.steps import SchemaSteps, statements_by_table
from magnetodb_backup.tasks.restore import CleanUp, Compared, ImportParts, StreamParts, Truncate
from magnetodb_backup.tasks.restore_steps import (
    Prepared,
    RowsCompared,
    RowsDelivered,
    Selected,
    TablesEmptied,
)

# By method, the task that brings the parts staged on a node into the tables: Cassandra takes over
# the node's own files, or its bulk loader sends the rows to the nodes that own them.
_TASKS: Mapping[Method, type[ImportParts] | type[StreamParts]] = {
    Method.IMPORT: ImportParts,
    Method.STREAM: StreamParts,
}


class OnlineDelivery:
    """Truncates where asked, then imports and streams, as the routing of each keyspace says."""

    down_allowed = False

    def __init__(self, nodes: TargetNodes, request: RestoreRequest) -> None:
        self._nodes, self._request = nodes, request

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
            source.manifest.nodes,
            source.manifest.missing(),
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
                "merge: for each cell the newest write timestamp wins; rows deleted after the "
                "backup stay deleted, rows written after it stay",
            )
        )

    def deliver(self) -> Sequence[Step]:
        """Return the steps TRUNCATE and IMPORT; the latter streams, too."""
        return [typed_step(TablesEmptied, self._truncate), typed_step(RowsDelivered, self._deliver)]

    def _truncate(self, results: Results) -> TablesEmptied:
        """Truncate if requested; drop views and the indexes that block streaming."""
        if self._request.node:
            return TablesEmptied()
        task = Truncate(
            tables=tuple(ref.target for ref in results.of(Selected).tables),
            truncate=self._request.existing is Existing.REPLACE,
            indexes=results.of(Prepared).schema.drop,
        )
        return TablesEmptied(self._nodes.run_on_first(results, "truncate", task).truncated)

    def _deliver(self, results: Results) -> RowsDelivered:
        members = self._nodes.members(results)
        addresses = {m.host_id: m.address for m in members}
        contacts = self.contacts(members)
        work = results.of(Prepared).work
        refused: dict[str, list[str]] = {}
        for method, task in _TASKS.items():
            tasks = {
                host_id: task(parts=own, contacts=contacts)
                for host_id, of_host in work.items()
                if (own := tuple(p for p in of_host if p.method is method))
            }
            found = self._nodes.run(results, method.value, tasks)
            for host_id, answer in found.items():
                for table, reasons in answer.refused.items():
                    named = (f"{reason} on {addresses[host_id]}" for reason in reasons)
                    refused.setdefault(table, []).extend(named)
        return RowsDelivered({table: tuple(reasons) for table, reasons in refused.items()})

    def finish(self, results: Results) -> None:
        """Remove what is staged, then judge: the staged files are of no more use."""
        members = self._nodes.members(results)
        self._nodes.run(results, "cleanup", {m.host_id: CleanUp() for m in members})
        judge(results)

    def undo(self, results: Results, phase: str) -> None:
        """Change nothing: imported and truncated rows cannot be undone, the states name them."""

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
            late=statements_by_table(prepared.schema.after if prepared else ()),
        )
        return mark_differing(states, differing(compared.checks if compared else {}), by_table)

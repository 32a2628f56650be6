# SPDX-License-Identifier: Apache-2.0
"""The delivery into stopped nodes: all are stopped, their files are exchanged, they are started.

Nothing is exchanged before all nodes have stopped: a node that runs on newer rows would repair the
others with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from magnetodb_backup.conductor.fanout import Fanout
from magnetodb_backup.conductor.job import Results, Step, typed_step
from magnetodb_backup.conductor.restore.check import differing, judge
from magnetodb_backup.conductor.restore.delivery import Rehearsal
from magnetodb_backup.conductor.restore.late_schema import LateSchema
from magnetodb_backup.conductor.restore.nodes import TargetNodes
from magnetodb_backup.conductor.restore.preflight import SourceBackup
from magnetodb_backup.domain.restore.offline import (
    choose_places,
    down_problems,
    exchange_state,
    is_everything,
    offline_warnings,
)
from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.records import (
    Existing,
    Restore,
    RestorePhase,
    RestoreRequest,
    has_reached,
)
from magnetodb_backup.domain.restore.routing import Routing, find_member
from magnetodb_backup.domain.restore.source_ring import SourceRing
from magnetodb_backup.domain.restore.table_states import (
    DIFFERS,
    RESTORED,
    still_missing,
    table_states,
)
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.steps import SchemaSteps
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import RestoreRefused
from magnetodb_backup.tasks.cluster import SelectedTable
from magnetodb_backup.tasks.restore import CleanUp
from magnetodb_backup.tasks.restore_offline import (
    BuildIndexes,
    Discard,
    Place,
    PutBack,
    Quiesce,
    Readiness,
    Rehearse,
    Start,
    Stop,
)
from magnetodb_backup.tasks.restore_schema import Compared, MakeSchema, Truncate
from magnetodb_backup.tasks.restore_steps import (
    CleanedUp,
    FilesPlaced,
    FilesStaged,
    IndexesReady,
    NodesStarted,
    NodesStopped,
    Prepared,
    RingTaken,
    RowsCompared,
    Selected,
    TablesEmptied,
)


class PlaceDelivery:
    """Exchanges the files of stopped nodes."""

    down_allowed = True

    def __init__(self, nodes: TargetNodes, restore: Restore) -> None:
        self._nodes, self._restore = nodes, restore
        self._request: RestoreRequest = restore.request
        self._put_back_errors: dict[str, str] = {}  # of an undo, by address
        self._late = LateSchema(restore.id)

    def route(
        self,
        source: SourceBackup,
        ring: Sequence[RingMember],
        compared: Compared,
        selected: Selected,
    ) -> tuple[Routing, tuple[str, ...]]:
        """Return which node gets which node backup; rings must be equal."""
        routing, problems = choose_places(
            SourceRing.of(source.manifest),
            ring,
            source.selection().keyspaces,
            compared.replication,
            find_member(ring, self._request.node) if self._request.node else None,
        )
        return routing, tuple(problems)

    def contacts(self, ring: Sequence[RingMember]) -> tuple[str, ...]:
        """Return nothing: Cassandra takes no part in this delivery, and may be down."""
        return ()

    def receivers(self, results: Results, parts: Mapping[str, Sequence[Part]]) -> list[str]:
        """Return all nodes that are stopped, also those that download nothing."""
        return [m.host_id for m in self._nodes.targets(results)]

    def rehearse(self, results: Results, routing: Routing, schema: SchemaSteps) -> Rehearsal:
        """Ask each node for the commands, the directories and the state that an exchange needs."""
        selected = results.of(Selected)
        targets = self._nodes.targets(results)
        existing, wanted = self._nodes.tables(), _wanted(selected)
        task = Rehearse(
            tables=tuple(SelectedTable.of(existing[n]) for n in wanted if n in existing)
        )
        ready = self._nodes.run(results, "ready", {m.host_id: task for m in targets})
        everything = is_everything(wanted, [t.name for t in existing.values() if not t.is_view])
        taken = results.of(RingTaken)
        problems = [f"{m.address}: {p}" for m in targets for p in ready[m.host_id].problems]
        problems += down_problems(
            {
                m.address: taken.reasons.get(m.host_id, "")
                for m in targets
                if m.host_id in taken.down
            },
            changes_schema=bool(schema.before or (schema.after and not self._request.node)),
            everything=everything,
            single=bool(self._request.node),
        )
        warnings = offline_warnings(
            {m.address: ready[m.host_id].left for m in targets},
            everything=everything,
            system_auth=bool(selected.own()),
        )
        return Rehearsal(tuple(problems), tuple(warnings), _room(ready), everything)

    def compacted(self, results: Results) -> tuple[TableName, ...]:
        """Return no table: a stopped node compacts nothing."""
        return ()

    def deliver(self) -> Sequence[Step]:
        """Return the steps TRUNCATE (which drops views), STOP, PLACE, START and INDEXES."""
        return [
            typed_step(TablesEmptied, self._drop_views),
            typed_step(NodesStopped, self._stop),
            typed_step(FilesPlaced, self._place),
            typed_step(NodesStarted, self._start),
            typed_step(IndexesReady, self._build_indexes),
        ]

    def _drop_views(self, results: Results) -> TablesEmptied:
        """Drop the views of the tables; a later step builds them from the restored rows."""
        if self._request.node:
            return TablesEmptied()
        tables = tuple(ref.target for ref in results.of(Selected).tables)
        schema = results.of(Prepared).schema
        task = Truncate(
            tables=tables,
            truncate=False,
            indexes=(),
            refuse_rows=self._request.existing is Existing.REFUSE,
            planned=(*schema.after, *schema.skipped),
        )
        return TablesEmptied(self._nodes.run_on_first(results, "truncate", task).truncated)

    def _stop(self, results: Results) -> NodesStopped:
        existing = self._nodes.tables()
        wanted = _wanted(results.of(Selected))
        if gone := [str(name) for name in wanted if name not in existing]:
            raise RestoreRefused(
                f"tables were dropped during the restore: {', '.join(gone)}; repeat it"
            )
        targets = self._nodes.targets(results)
        self._nodes.run(results, "quiesce", {m.host_id: Quiesce() for m in targets})
        stop = Stop(everything=results.of(Prepared).everything, single=bool(self._request.node))
        self._nodes.run(results, "stop", {m.host_id: stop for m in targets})
        return NodesStopped(tuple(SelectedTable.of(existing[name]) for name in wanted))

    def _place(self, results: Results) -> FilesPlaced:
        prepared, stopped = results.of(Prepared), results.of(NodesStopped)
        expected = results.of(FilesStaged).expected
        tasks = {
            m.host_id: Place(
                tables=stopped.tables,
                sources=tuple(part.source for part in prepared.work.get(m.host_id, ())),
                everything=prepared.everything,
                single=bool(self._request.node),
                parts=prepared.work.get(m.host_id, ()),
                expected=expected.get(m.host_id, ()),
            )
            for m in self._nodes.targets(results)
        }
        self._nodes.run(results, "place", tasks)
        return FilesPlaced()

    def _start(self, results: Results) -> NodesStarted:
        tasks = {
            m.host_id: Start(tokens=tuple(str(t) for t in m.tokens))
            for m in self._nodes.targets(results)
        }
        self._nodes.run(results, "start", tasks)
        return NodesStarted()

    def _build_indexes(self, results: Results) -> IndexesReady:
        bounds = self._nodes.builds
        task = BuildIndexes(
            tables=results.of(NodesStopped).tables, seconds=bounds.stall, longest=bounds.longest
        )
        tasks = {m.host_id: task for m in self._nodes.targets(results)}
        self._nodes.run(results, "indexes", tasks)
        return IndexesReady()

    def finish(self, results: Results) -> None:
        """Judge first: the original files are kept unless the restore is a success."""
        judge(results)
        targets, members = self._nodes.targets(results), self._nodes.members(results)
        self._nodes.run(results, "discard", {m.host_id: Discard() for m in targets})
        self._nodes.run(results, "cleanup", {m.host_id: CleanUp() for m in members})

    def undo(self, results: Results, phase: str, fanout: Fanout) -> None:
        """Put the original files back if no node was started; start Cassandra on all nodes."""
        if has_reached(phase, RestorePhase.STOP):
            self._leave_running(results, files=not has_reached(phase, RestorePhase.START))
        if has_reached(phase, RestorePhase.TRUNCATE) and not self._request.node:
            # A node that does not run would miss the change of the schema.
            may = not self._put_back_errors
            self._late.create_again(results, self._create if may else None)

    def _create(self, task: MakeSchema) -> None:
        self._nodes.run_on_any("views_again", task)

    def _leave_running(self, results: Results, *, files: bool) -> None:
        down = results.of(RingTaken).down
        tasks = {
            m.host_id: PutBack(files=files, down=m.host_id in down)
            for m in self._nodes.targets(results)
        }
        outcomes = self._nodes.run_to_the_end(results, "put_back", tasks)
        self._put_back_errors = {o.call.host: str(o.error) for o in outcomes if o.error is not None}

    def table_states(self, results: Results, phase: str) -> Mapping[str, str]:
        """Return what is known of each target table, by the steps that are done."""
        selected, prepared = results.find(Selected), results.find(Prepared)
        names = {ref.key: str(ref.target) for ref in selected.tables} if selected else {}
        if results.find(CleanedUp) is not None:
            return dict.fromkeys(names, RESTORED)
        late = self._late.missing(results)
        if not has_reached(phase, RestorePhase.STOP):
            exists = prepared.exists if prepared else {}
            return table_states(
                names,
                phase=phase,
                done=[p.value for p in RestorePhase if p.value in results],
                existing=Existing.REFUSE,  # nothing is truncated
                existed={key: exists.get(name, True) for key, name in names.items()},
                refused={},
                late=late,
            )
        state = exchange_state(
            self._restore.id,
            started=has_reached(phase, RestorePhase.START),
            errors=self._put_back_errors,
        )
        compared = results.find(RowsCompared)
        different = differing(compared.checks if compared else {})
        return {
            key: (f"{DIFFERS}. It " if key in different else "")
            + state
            + still_missing(late.get(key, ()))
            for key in names
        }


def _wanted(selected: Selected) -> list[TableName]:
    return [ref.target for ref in selected.all_tables()]


def _room(ready: Mapping[str, Readiness]) -> dict[str, tuple[int, ...]]:
    return {host_id: found.free for host_id, found in ready.items()}

# SPDX-License-Identifier: Apache-2.0
"""The restore job, from the selection to the clean-up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from msgspec import UNSET

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.fanout import Fanout, Outcome
from magnetodb_backup.conductor.job import Results, Step, typed_step
from magnetodb_backup.conductor.restore.check import check_tasks, with_check
from magnetodb_backup.conductor.restore.delivery import Delivery, Rehearsal
from magnetodb_backup.conductor.restore.findings import Findings, LeftOut
from magnetodb_backup.conductor.restore.nodes import TargetNodes
from magnetodb_backup.conductor.restore.offline import PlaceDelivery
from magnetodb_backup.conductor.restore.online import OnlineDelivery
from magnetodb_backup.conductor.restore.plan import make_plan
from magnetodb_backup.conductor.restore.preflight import SourceBackup, unsaved_views
from magnetodb_backup.conductor.restore.ring_guard import RingGuard
from magnetodb_backup.conductor.restore.view_updates import await_view_updates
from magnetodb_backup.domain.fingerprints import merged_checks
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.domain.partitioners import partitioner_of
from magnetodb_backup.domain.restore.parts import shared_proofs
from magnetodb_backup.domain.restore.plan import Plan
from magnetodb_backup.domain.restore.records import Restore
from magnetodb_backup.domain.restore.routing import Method
from magnetodb_backup.domain.schema.skips import Skips, leave_out
from magnetodb_backup.domain.schema.steps import names_of
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import RestoreRefused
from magnetodb_backup.tasks.restore import CleanUp, Confirm, Download, NodePreflight, RunPreflight
from magnetodb_backup.tasks.restore_delivery import AwaitViews, Repair
from magnetodb_backup.tasks.restore_schema import Compare, Compared, MakeSchema
from magnetodb_backup.tasks.restore_steps import (
    CheckBasis,
    CleanedUp,
    FilesStaged,
    NodeSize,
    Prepared,
    RingTaken,
    RowsCompared,
    SchemaReady,
    Selected,
    StagingConfirmed,
    TablesRepaired,
    ViewsReady,
)

LOG = logging.getLogger(__name__)


def delivery_for(nodes: TargetNodes, restore: Restore) -> Delivery:
    """Return the delivery that the request asks for."""
    if restore.request.offline:
        return PlaceDelivery(nodes, restore)
    return OnlineDelivery(nodes, restore)


class RestoreJob:
    """The steps of one restore; its delivery brings the rows into the tables."""

    def __init__(self, job: Job, restore: Restore, context: JobContext) -> None:
        self._job, self._restore, self._context = job, restore, context
        self._request = restore.request
        self._nodes = TargetNodes(job, restore, context)
        self._delivery = delivery_for(self._nodes, restore)
        # From the truncation on an outage is waited for: what was delivered would be lost.
        self._enduring = TargetNodes(job, restore, context.enduring())
        self._guard = RingGuard(job, restore, context.enduring())

    def steps(self, round_: int) -> Sequence[Step]:
        """Return the steps, in order; a dry run ends after preflight. There is one round only."""
        finding_out = [
            typed_step(Selected, self._select),
            typed_step(RingTaken, self._take_census),
            typed_step(Prepared, self._preflight),
        ]
        if self._request.dry_run:
            return finding_out
        return [
            *finding_out,
            typed_step(FilesStaged, self._download),
            typed_step(SchemaReady, self._make_schema),
            typed_step(StagingConfirmed, self._confirm),
            *(self._guard.before(step) for step in self._enduring_delivery().deliver()),
            typed_step(ViewsReady, self._make_views),
            typed_step(TablesRepaired, self._repair),
            typed_step(RowsCompared, self._check),
            self._guard.before(typed_step(CleanedUp, self._clean_up)),
        ]

    def _enduring_delivery(self) -> Delivery:
        return delivery_for(self._enduring, self._restore)

    def undo(self, fanout: Fanout, *, keep: bool) -> Sequence[Outcome]:
        """After a failure: let the delivery undo what it can; end the use of staged files.

        With ``keep`` those that were fetched stay for a later restore. ``fanout`` bounds how long
        the clean-up waits for nodes; its outcomes are returned.
        """
        results = self._stored()
        if results.find(RingTaken) is None:
            return []
        self._delivery.undo(results, self._phase(), fanout)
        tasks = {m.host_id: CleanUp(wait=False, keep=keep) for m in self._nodes.members(results)}
        return self._nodes.run_to_the_end(results, "undo", tasks, fanout)

    def table_states(self) -> Mapping[str, str]:
        """Return what is known of each target table now, by the steps that are done."""
        return self._delivery.table_states(self._stored(), self._phase())

    def _stored(self) -> Results:
        return Results(self._context.database.jobs.step_results(self._job.id, self._job.round))

    def _phase(self) -> str:
        return self._context.database.restores.get(self._restore.id).phase

    # The steps, in their order.

    def _select(self, results: Results) -> Selected:
        return self._source().select()

    def _take_census(self, results: Results) -> RingTaken:
        # Nodes that get neither files nor rows from the bulk loader do nothing but be repaired.
        backup = self._context.database.backups.get(self._restore.backup_id)
        return self._nodes.take_census(
            down_allowed=self._delivery.down_allowed,
            data_centers=() if self._request.offline else backup.data_centers,
        )

    def _preflight(self, results: Results) -> Prepared:
        """Find out everything that can be known beforehand; refuse what cannot succeed.

        :raises RestoreRefused: naming all problems; a dry run has them in its plan.
        """
        selected, taken = results.of(Selected), results.of(RingTaken)
        ring = [m.ring_member() for m in taken.ring]
        partitioner = taken.partitioner or partitioner_of(t for m in ring for t in m.tokens)
        source = self._source()
        compared = self._compare(selected)
        routing, misrouted = self._delivery.route(source, ring, compared, selected)
        work = source.parts(routing, selected)
        skips = Skips.parse(self._request.skip)
        steps, left_out = leave_out(source.schema(routing, compared, selected), skips)
        contacts = self._delivery.contacts(ring)
        # Nodes that download nothing have settings, too.
        asked = {
            m.host_id: RunPreflight(parts=(), spread=True) for m in self._nodes.members(results)
        }
        proofs = shared_proofs(work)
        for host_id in self._delivery.receivers(results, work):
            asked[host_id] = RunPreflight(
                parts=work.get(host_id, ()),
                contacts=contacts,
                spread=True,
                proves=proofs.get(host_id, ()),
            )
        nodes = self._nodes.run(results, "preflight", asked)
        rehearsal = self._delivery.rehearse(results, routing, steps)
        found = Findings(
            ring=ring,
            selected=selected,
            compared=compared,
            routing=routing,
            steps=steps,
            nodes=nodes,
            left_out=LeftOut(left_out, skips.unused()),
            partitioner=partitioner,
            absent=taken.absent_members(),
        )
        plan = _with_rehearsal(make_plan(self._restore, source, found), misrouted, rehearsal)
        basis = CheckBasis()
        if self._request.check:
            plan, basis = with_check(plan, source, self._request, found)
        self._context.database.restores.update(self._restore.id, plan=plan.as_json())
        if plan.problems and not self._request.dry_run:
            raise RestoreRefused("; ".join(plan.problems))
        return Prepared(
            exists=compared.exists,
            schema=steps,
            work=work,
            sizes={h: _size(h, n, rehearsal) for h, n in nodes.items()},
            incomplete=tuple(dict.fromkeys((*routing.incomplete, *routing.by_repair))),
            streams=Method.STREAM in routing.methods.values(),
            figures=basis,
            everything=rehearsal.everything,
            by_repair=() if routing.incomplete else routing.by_repair,
            unsaved_views=unsaved_views(self._request, selected, compared),
        )

    def _compare(self, selected: Selected) -> Compared:
        task = Compare(
            tables=selected.users(),
            whole_keyspaces=selected.user_keyspaces(),
            own_tables=tuple(ref.target for ref in selected.own()),
            skip=self._request.skip,
        )
        return self._nodes.run_on_any("compare", task)

    def _download(self, results: Results) -> FilesStaged:
        """Stage and verify everything on all nodes, before anything is changed."""
        prepared = results.of(Prepared)
        tasks = {}
        for host_id, parts in prepared.work.items():
            size = prepared.sizes[host_id]
            tasks[host_id] = Download(
                parts=parts, files=size.files, bytes=size.bytes, room=size.room
            )
        downloaded = self._nodes.run(results, "download", tasks)
        return FilesStaged(
            {h: d.expected for h, d in downloaded.items() if d.expected is not UNSET}
        )

    def _make_schema(self, results: Results) -> SchemaReady:
        selected = results.of(Selected)
        task = MakeSchema(
            statements=results.of(Prepared).schema.before,
            tables=selected.users(),
            whole_keyspaces=selected.user_keyspaces(),
            skip=self._request.skip,
            exact=self._request.is_exact,
        )
        return SchemaReady(self._nodes.run_on_first(results, "schema", task).made)

    def _confirm(self, results: Results) -> StagingConfirmed:
        """Confirm, before anything is emptied or stopped, that everything is staged on all nodes.

        Workers of an older release have not counted what they staged: then nothing is compared.
        """
        work, expected = results.of(Prepared).work, results.of(FilesStaged).expected
        if set(work) - set(expected):
            LOG.warning("restore %s: workers of an older release staged files", self._restore.id)
            return StagingConfirmed()
        compacted = self._delivery.compacted(results)
        tasks = {
            m.host_id: Confirm(
                parts=work.get(m.host_id, ()),
                expected=expected.get(m.host_id, ()),
                tables=compacted,
            )
            for m in self._nodes.members(results)
            if compacted or m.host_id in work
        }
        found = self._nodes.run(results, "confirm", tasks)
        options = {t: o for confirmed in found.values() for t, o in confirmed.compaction.items()}
        return StagingConfirmed(options, {h: c.off for h, c in found.items() if c.off})

    def _make_views(self, results: Results) -> ViewsReady:
        """Create the indexes and views that had to wait for the rows; wait until they are built."""
        after = results.of(Prepared).schema.after
        if self._request.node or not after:
            return ViewsReady()
        made = self._enduring.run_on_first(results, "make_views", MakeSchema(statements=after))
        views = tuple(TableName(*name) for name in names_of(after, "view"))
        self._await_views(results, views, tuple(names_of(after, "index")))
        return ViewsReady(made.made)

    def _await_views(
        self,
        results: Results,
        views: tuple[TableName, ...],
        indexes: tuple[tuple[str, str], ...],
    ) -> None:
        """Wait until all nodes have built these, and have sent their view updates."""
        bounds = self._enduring.builds
        task = AwaitViews(
            views=views, indexes=indexes, seconds=bounds.stall, longest=bounds.longest
        )
        members = self._enduring.members(results)
        self._enduring.run(results, "views", {m.host_id: task for m in members})

    def _repair(self, results: Results) -> TablesRepaired:
        """Repair if a node or a copy was left out, or rows were sent to new owners."""
        prepared, taken = results.of(Prepared), results.of(RingTaken)
        if not (self._request.node or prepared.incomplete or prepared.streams):
            return TablesRepaired()
        by_keyspace: dict[str, list[str]] = {}
        delivered = [ref.target for ref in results.of(Selected).all_tables()]
        for name in (*delivered, *prepared.unsaved_views):
            by_keyspace.setdefault(name.keyspace, []).append(name.table)
        tables = {keyspace: tuple(names) for keyspace, names in by_keyspace.items()}
        if len(taken.ring) > 1:
            # On all nodes of the ring that repairs each range once. Whoever has the only replica
            # of a range in the backup has to repair all of its ranges.
            is_partial = set(prepared.incomplete) > set(prepared.by_repair)
            primary = not (self._request.node or is_partial or taken.absent)
            task = Repair(tables=tables, primary_ranges=primary)
            # One after another: repairs of one range exclude each other.
            for member in self._enduring.targets(results):
                self._enduring.run(results, "repair", {member.host_id: task})
            # What a repair changes in a table with views makes view updates.
            self._warn(await_view_updates(self._enduring, results, tables))
        return TablesRepaired(tables)

    def _warn(self, warnings: Sequence[str]) -> None:
        """Add warnings to those of the plan in the record."""
        restores = self._context.database.restores
        plan = restores.get(self._restore.id).plan or {}
        known = plan.get("warnings", [])
        new = [text for text in warnings if text not in known]
        if new:
            restores.update(self._restore.id, plan={**plan, "warnings": [*known, *new]})

    def _check(self, results: Results) -> RowsCompared:
        """Compare the restored rows with the backup's fingerprints; the clean-up judges."""
        if not self._request.check:
            return RowsCompared()
        members = self._enduring.members(results)
        tasks = check_tasks(results.of(Prepared).figures, members, results.of(Selected).users())
        found = self._enduring.run(results, "check", tasks)
        checks = merged_checks(of_node.checks for of_node in found.values())
        self._context.database.restores.update(
            self._restore.id, checks={table: check.as_json() for table, check in checks.items()}
        )
        return RowsCompared(checks)

    def _clean_up(self, results: Results) -> CleanedUp:
        self._enduring_delivery().finish(results)
        return CleanedUp()

    def _source(self) -> SourceBackup:
        backup = self._context.database.backups.get(self._restore.backup_id)
        context = self._context.as_of(self._restore.request.moment)
        repository = context.repository(self._restore.source_cluster)
        return SourceBackup(repository, self._restore, backup.manifest_sha256)


def _with_rehearsal(plan: Plan, problems: tuple[str, ...], rehearsal: Rehearsal) -> Plan:
    return plan.extended((*problems, *rehearsal.problems), rehearsal.warnings)


def _size(host_id: str, found: NodePreflight, rehearsal: Rehearsal) -> NodeSize:
    """Return what a node downloads, and the room by which preflight has placed it."""
    if found.spread:
        return NodeSize(found.files, found.bytes, tuple(d.free for d in found.free))
    if host_id in rehearsal.room:
        return NodeSize(found.files, found.bytes, rehearsal.room[host_id])
    return NodeSize(found.files, found.bytes)

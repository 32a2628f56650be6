# SPDX-License-Identifier: Apache-2.0
"""Runs the tasks of one restore on the nodes of the target cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from magnetodb_backup.conductor.any_worker import Choice
from magnetodb_backup.conductor.calls import call_of
from magnetodb_backup.conductor.census import Census, require_all, require_in_ring, take_census
from magnetodb_backup.conductor.definition import BuildBounds, JobContext
from magnetodb_backup.conductor.fanout import Call, Fanout, Outcome, first_error
from magnetodb_backup.conductor.job import Results
from magnetodb_backup.conductor.restore.node_restores import NodeRestores
from magnetodb_backup.conductor.restore.ring_guard import require_settled
from magnetodb_backup.conductor.restore.waits import Waits
from magnetodb_backup.domain.backup.records import Node
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.domain.restore.records import Restore, RestorePhase
from magnetodb_backup.domain.restore.routing import find_member
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import TableDescription, TableName
from magnetodb_backup.errors import BackupError, RingDiffers
from magnetodb_backup.tasks.backup import Describe, NodeDescription, Resolve
from magnetodb_backup.tasks.cluster import Member, PresentMember
from magnetodb_backup.tasks.codec import decode
from magnetodb_backup.tasks.restore import RestoreTask
from magnetodb_backup.tasks.restore_steps import RingTaken

R = TypeVar("R")
_TRIED = 3  # nodes that one task is tried on


class TargetNodes:
    """The nodes of the target cluster, with their workers and their records."""

    def __init__(self, job: Job, restore: Restore, context: JobContext) -> None:
        self._job, self._restore, self._context = job, restore, context
        self._records = NodeRestores(context.database, restore.id)
        self._waits = Waits(context.database, restore.id)
        choice = Choice(restore.cluster, try_others=False)
        self._any_worker = context.any_worker(choice, self._waits.show)

    def take_census(self, *, down_allowed: bool, data_centers: Sequence[str] = ()) -> RingTaken:
        """Return the ring and its workers, waiting for missing ones until the worker timeout.

        With ``down_allowed`` Cassandra need not run on the nodes that are to be restored. With
        ``data_centers`` nodes of other ones need no worker, but are waited for.

        :raises MissingWorker: naming the nodes without a usable worker.
        :raises NotFound: if the only node to be restored is not in the ring.
        :raises RingDiffers: while a node joins, leaves or moves, or the ring lacks a node.
        """
        deadline = self._any_worker.deadline()
        while True:
            late = time.monotonic() > deadline
            try:
                seen = self._describe()
                ring = [member.ring_member() for member in seen.ring]
                nodes = self._any_worker.nodes()
                census = take_census(ring, nodes)
                missing_hosts = {member.host_id for member, _ in census.missing}
                if not (missing_hosts or census.outside) or (
                    late and self._any_worker.is_late(deadline, nodes, missing_hosts)
                ):
                    break
            except RingDiffers:  # a node that joins is known in part for a moment
                if late:
                    raise
            self._any_worker.wait_a_moment(deadline)
        require_in_ring(census, seen.member.address)
        node = self._restore.request.node
        only = find_member(ring, node) if node else None
        down = _down(census, nodes, only) if down_allowed else ()
        workers_only = {member.host_id for member, _ in down}
        missing = [(m, reason) for m, reason in census.missing if m.host_id not in workers_only]
        absent = {m.host_id: r for m, r in missing if data_centers and m.dc not in data_centers}
        missing = [(m, reason) for m, reason in missing if m.host_id not in absent]
        # Nodes that are down come last: the first one makes changes for all.
        present = (*census.present, *down)
        require_all(Census(present, tuple(missing)))
        for member, _ in present:
            self._records.enter(member, RestorePhase.CENSUS.value)
        return RingTaken(
            ring=tuple(Member.of(m) for m in ring),
            present=tuple(PresentMember(Member.of(m), worker) for m, worker in present),
            down=tuple(m.host_id for m, _ in down),
            reasons={
                m.host_id: reason for m, reason in census.missing if m.host_id in workers_only
            },
            partitioner=seen.partitioner,
            absent=absent,
        )

    def _describe(self) -> NodeDescription:
        restore = self._restore

        def describe(host_id: str) -> Describe:
            return Describe(
                host_id=host_id,
                backup_id=restore.backup_id,
                restore_id=restore.id,
                source_cluster=restore.source_cluster,
            )

        described = self._any_worker.run(f"{self._job.id}:census", describe)
        require_settled(described)
        return described

    def tables(self) -> dict[TableName, TableDescription]:
        """Return the tables that exist now, with their IDs."""
        restore = self._restore

        def resolve(host_id: str) -> Resolve:
            return Resolve(
                host_id=host_id,
                scope={"type": "all"},
                backup_id=restore.backup_id,
                restore_id=restore.id,
                source_cluster=restore.source_cluster,
            )

        answer = self._any_worker.run(f"{self._job.id}:tables", resolve)
        return {t.name: t for t in answer.selection.selection().tables}

    def run_on_any(self, step: str, task: RestoreTask[R]) -> R:
        """Run a task on any one live worker and return its result."""
        return self._any_worker.run(
            f"{self._job.id}:{step}", lambda host_id: self._addressed(task, host_id)
        )

    def run_on_first(self, results: Results, step: str, task: RestoreTask[R]) -> R:
        """Run what changes the whole cluster on one node, always the same.

        A conductor that takes over then finds the running task, and does not start it a second
        time elsewhere: a late TRUNCATE would empty what is imported by then.
        """
        host_id = results.of(RingTaken).present[0].member.host_id
        return self.run(results, step, {host_id: task})[host_id]

    def run(self, results: Results, step: str, tasks: Mapping[str, RestoreTask[R]]) -> dict[str, R]:
        """Run a task on each node that ``tasks`` names by host ID; return the results likewise.

        :raises BackupError: the first error that is not merely a consequence of another.
        """
        taken = results.of(RingTaken)
        present = [p for p in taken.present if p.member.host_id in tasks]
        calls = [self._call(p, step, tasks[p.member.host_id]) for p in present]
        for each in present:
            self._records.enter(each.member.ring_member(), step)
        outcomes = self._context.fanout().run(
            calls,
            progress=self._records.write_progress,
            ended=lambda outcome: self._records.leave(outcome, step),
            troubled=self._waits.of_step(step),
        )
        error = first_error(outcomes)
        if error is not None:
            raise error
        return {o.call.host_id: decode(tasks[o.call.host_id].result, o.result) for o in outcomes}

    def run_to_the_end(
        self,
        results: Results,
        step: str,
        tasks: Mapping[str, RestoreTask[R]],
        fanout: Fanout | None = None,
    ) -> Sequence[Outcome]:
        """Run tasks without records; errors of some nodes do not stop the others."""
        present = [p for p in results.of(RingTaken).present if p.member.host_id in tasks]
        calls = [self._call(p, step, tasks[p.member.host_id]) for p in present]
        if fanout is not None:  # the restore has ended: its record shows the reason
            return fanout.run(calls, stop_at_first_error=False)
        troubled = self._waits.of_step(step)
        return self._context.fanout().run(calls, troubled=troubled, stop_at_first_error=False)

    @property
    def builds(self) -> BuildBounds:
        """Return the bounds of waits for views and indexes."""
        return self._context.settings.builds

    def run_on_one(self, results: Results, step: str, task: RestoreTask[R], fanout: Fanout) -> None:
        """Run a task without records on the first node on which it succeeds.

        :raises BackupError: if it fails on all of the nodes that are tried.
        """
        error: BackupError | None = None
        for present in results.of(RingTaken).present[:_TRIED]:
            call = self._call(present, step, task)
            (outcome,) = fanout.run([call], stop_at_first_error=False)
            error = outcome.error
            if error is None:
                return
        if error is not None:
            raise error

    def members(self, results: Results) -> list[RingMember]:
        """Return the nodes of the census, the first one being that which changes the schema."""
        return [p.member.ring_member() for p in results.of(RingTaken).present]

    def targets(self, results: Results) -> list[RingMember]:
        """Return the nodes that are restored: the only one asked for, or all."""
        members, node = self.members(results), self._restore.request.node
        return [find_member(members, node)] if node else members

    def _call(self, present: PresentMember, step: str, task: RestoreTask[R]) -> Call:
        member = present.member.ring_member()
        task_id = f"{self._job.id}:{step}:{member.host_id}"
        addressed = self._addressed(task, member.host_id)
        return call_of(addressed, member, present.worker_id, task_id)

    def _addressed(self, task: RestoreTask[R], host_id: str) -> RestoreTask[R]:
        return replace(
            task,
            host_id=host_id,
            restore_id=self._restore.id,
            backup_id=self._restore.backup_id,
            source_cluster=self._restore.source_cluster,
            as_of=self._restore.request.moment,
        )


def _down(
    census: Census, nodes: Sequence[Node], only: RingMember | None
) -> tuple[tuple[RingMember, str], ...]:
    """Return the nodes whose worker is live, but whose Cassandra does not answer."""
    workers = {
        n.report.member.host_id: n.report.worker_id
        for n in nodes
        if n.live and n.report.down and n.report.member is not None
    }
    return tuple(
        (m, workers[m.host_id])
        for m, _ in census.missing
        if m.host_id in workers and only in (None, m)
    )

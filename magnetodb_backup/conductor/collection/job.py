# SPDX-License-Identifier: Apache-2.0
"""The steps of a collection; the result of each container is stored as soon as it is known.

Trap 1 is impossible, because three things keep an upload to a container and its collection apart.
The job owns its cluster, as a backup does. A worker gives a container to one task at a time, so a
task that outlives its job does no harm either. And the container of another node is collected only
if that node is no member of the ring, so it takes part in no backup; if it ever comes back, its
backup asks for each pack by HEAD, after the claim of the collection has ended in the database and
``lease`` has passed.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from magnetodb_backup.conductor.calls import call_of, result_of
from magnetodb_backup.conductor.collection.containers import find_containers
from magnetodb_backup.conductor.collection.retired import remove_retired
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.deletion import purge_due
from magnetodb_backup.conductor.fanout import Call, Outcome
from magnetodb_backup.conductor.job import Results, Step, StepRunner, typed_step
from magnetodb_backup.domain.backup.collection import repacking_of, total
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.errors import BackupError, Cancelled, StillUnavailable, from_record
from magnetodb_backup.tasks.codec import decode, encode
from magnetodb_backup.tasks.collection import Collect
from magnetodb_backup.tasks.collection_steps import (
    Collected,
    Container,
    ContainersFound,
    DeletionsPurged,
    NodeCollected,
    RetiredRemoved,
)

LOG = logging.getLogger(__name__)
_AT_ONCE = 32  # nodes: what the catalogue knows of their manifests is in memory
_MOST_DAMAGED = 50_000  # packs that the arguments of a task name
_LONGEST_ERROR = 2000  # characters
# By host ID and pack: the IDs of the verifications that found it damaged.
DamagedPacks = Mapping[str, Mapping[str, Sequence[str]]]


class CollectionJob:
    """One collection of a cluster, or with ``survey`` a look that removes nothing."""

    def __init__(self, job: Job, context: JobContext, *, survey: bool = False) -> None:
        self._job, self._context, self._survey = job, context, survey
        self._dry_run = survey or bool(job.parameters.get("dry_run"))
        grace = job.parameters.get("grace")
        settings = context.settings.collection
        self._grace = settings.grace if grace is None else float(grace)
        self._lease = settings.lease
        self._repacking = None if survey else repacking_of(job)
        self._done: dict[str, NodeCollected] = {}

    def run(self) -> Mapping[str, Any]:
        """Take the steps that have no result yet; return that of the last one."""
        runner = StepRunner(
            self._context.database,
            raise_if_cancelled=self._context.raise_if_cancelled,
            entered=lambda step: self._show(step),
            rounds=1,
        )
        results = runner.run(self._job, lambda _: self._steps(), lambda _: None)
        return encode(results.of(Collected))

    def _steps(self) -> list[Step]:
        return [
            typed_step(DeletionsPurged, self._purge),
            typed_step(RetiredRemoved, self._remove_retired),
            typed_step(ContainersFound, self._find),
            typed_step(Collected, self._collect),
        ]

    def _purge(self, results: Results) -> DeletionsPurged:
        """Remove the manifests that an undeletion would need no more: their packs can be freed."""
        if self._dry_run:
            return DeletionsPurged()
        return DeletionsPurged(purge_due(self._context, self._job.cluster))

    def _remove_retired(self, results: Results) -> RetiredRemoved:
        return RetiredRemoved(() if self._dry_run else remove_retired(self._context))

    def _find(self, results: Results) -> ContainersFound:
        return find_containers(self._context, self._job.cluster, self._job.id)

    def _collect(self, results: Results) -> Collected:
        containers = results.of(ContainersFound).containers
        self._load(containers)
        for container in containers:
            if container.reason and container.source not in self._done:
                self._keep(container, NodeCollected(error=container.reason))
        left = iter([c for c in containers if c.source not in self._done])
        while batch := list(itertools.islice(left, _AT_ONCE)):
            self._collect_some(batch, len(containers))
        removed = results.find(RetiredRemoved)
        return self._result(removed.containers if removed else ())

    def _collect_some(self, containers: Sequence[Container], of_all: int) -> None:
        by_task = {self._task_id(c): c for c in containers}
        damaged = self._damaged(containers)

        def ended(outcome: Outcome) -> None:
            if not isinstance(outcome.error, Cancelled):
                container = by_task[outcome.call.task_id]
                node = _collected(container, outcome)
                self._keep(container, self._closed(node, container.source, damaged))
                self._show(Collected.step, of_all)

        calls = [self._call(c, tuple(damaged.get(c.source, ()))) for c in containers]
        outcomes = self._context.fanout().run(calls, ended=ended, stop_at_first_error=False)
        self._let_expire(o for o in outcomes if by_task[o.call.task_id].adopted)
        for outcome in outcomes:
            if isinstance(outcome.error, Cancelled):
                raise outcome.error

    def _damaged(self, containers: Sequence[Container]) -> DamagedPacks:
        """Return some damaged packs of each node, with the verifications that found them."""
        if self._dry_run:
            return {}
        sources = {container.source for container in containers}
        found = self._context.database.damaged_packs.of(self._job.cluster).items()
        return {
            source: dict(itertools.islice(sorted(packs.items()), _MOST_DAMAGED))
            for source, packs in found
            if source in sources
        }

    def _closed(self, node: NodeCollected, source: str, damaged: DamagedPacks) -> NodeCollected:
        """Close the findings on packs that are gone, before the result is stored without them."""
        gone = {p: damaged[source][p] for p in node.use.gone if p in damaged.get(source, {})}
        self._context.database.damaged_packs.forget(source, gone, self._job.id)
        return replace(node, use=replace(node.use, gone=()))

    def _call(self, container: Container, damaged: tuple[str, ...]) -> Call:
        database, cluster = self._context.database, self._job.cluster
        manifests = database.backups.manifests_of(cluster, container.source)
        task = Collect(
            host_id=container.host_id,
            cluster=cluster,
            source=container.source,
            known=manifests.known,
            absent=manifests.absent,
            now=database.nodes.now(),
            grace=self._grace,
            lease=self._lease,
            report_only=self._dry_run,
            beside_uploads=self._survey,
            by_backup=self._dry_run,
            repacking=self._repacking,
            damaged=damaged,
            together=tuple(self._job.parameters.get("together", ())),
        )
        return call_of(task, container, container.worker_id, self._task_id(container))

    def _task_id(self, container: Container) -> str:
        return f"{self._job.id}:collect:{container.source}"

    def _let_expire(self, adopted: Iterable[Outcome]) -> None:
        """Wait until a task that may still run on an unreachable worker deletes nothing more.

        The cluster stays claimed meanwhile, so that the node of the container cannot upload to it.
        """
        lost = any(isinstance(o.error, Cancelled | StillUnavailable) for o in adopted)
        end = time.monotonic() + self._lease
        while lost and not self._dry_run and (left := end - time.monotonic()) > 0:
            self._context.undoing().raise_if_cancelled()
            self._context.wait(min(left, 1.0))

    def _load(self, containers: Sequence[Container]) -> None:
        """Take what an earlier run of this step has stored."""
        stored = self._context.database.jobs.step_results(self._job.id, self._job.round)
        for container in containers:
            if (found := stored.get(_step_name(container))) is not None:
                self._done[container.source] = decode(NodeCollected, found)

    def _keep(self, container: Container, node: NodeCollected) -> None:
        job = self._job
        self._context.database.jobs.save_step(
            job.id, job.round, _step_name(container), encode(node)
        )
        self._done[container.source] = node

    def _result(self, retired: tuple[str, ...]) -> Collected:
        """Return the sums.

        :raises BackupError: the first error, if no container was collected.
        """
        nodes = dict(sorted(self._done.items()))
        if nodes and all(node.error for node in nodes.values()):
            first = next((n for n in nodes.values() if n.error_code), next(iter(nodes.values())))
            raise from_record({"code": first.error_code or "MissingWorker", "message": first.error})
        sums = total(node.use for node in nodes.values())
        return Collected(
            cluster=self._job.cluster,
            dry_run=self._dry_run,
            grace=self._grace,
            total=replace(sums, backups={}),
            nodes={h: replace(n, use=replace(n.use, backups={})) for h, n in nodes.items()},
            backups=sums.backups,
            quota=self._quota(),
            retired=retired,
        )

    def _quota(self) -> int | None:
        """Return the quota of the account; a store that does not show it fails no collection."""
        try:
            return self._context.storage().quota()
        except BackupError as error:
            LOG.info("the quota of the account is not known: %s", error)
            return None

    def _show(self, step: str, of_all: int = 0) -> None:
        progress = {"step": step, "nodes_total": of_all, "nodes_done": len(self._done)}
        self._context.database.jobs.show_progress(self._job.id, progress)


def _collected(container: Container, outcome: Outcome) -> NodeCollected:
    """Return what a task found, or its error."""
    by, adopted = container.address, container.adopted
    try:
        return NodeCollected(by, adopted, result_of(Collect, outcome))
    except BackupError as error:
        record = error.as_record()
        return NodeCollected(
            by, adopted, error=str(error)[:_LONGEST_ERROR], error_code=record["code"]
        )


def _step_name(container: Container) -> str:
    """Return the name under which the result of a container is stored: 32 characters."""
    return container.source.replace("-", "")

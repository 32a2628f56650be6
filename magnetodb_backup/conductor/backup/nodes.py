# SPDX-License-Identifier: Apache-2.0
"""How the steps of a backup reach the workers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypedDict, TypeVar

from magnetodb_backup.conductor.any_worker import Choice
from magnetodb_backup.conductor.backup.node_backups import NodeBackups
from magnetodb_backup.conductor.calls import call_of, result_of
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.fanout import Call, Fanout, Outcome, first_error
from magnetodb_backup.conductor.job import Results
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.tasks.backup_steps import (
    CensusTaken,
    NodeResults,
    PrepareDone,
    ResolveDone,
    SnapshotDone,
    UploadDone,
)
from magnetodb_backup.tasks.cluster import SelectedTables
from magnetodb_backup.tasks.kinds import Task, snapshot_tag

R = TypeVar("R")


class TaskFields(TypedDict):
    """The fields that all tasks of a backup have."""

    host_id: str
    cluster: str
    backup_id: str
    tag: str


class BackupNodes:
    """Runs the tasks of one round of a backup and records how each node fares."""

    def __init__(
        self, job: Job, backup: Backup, context: JobContext, records: NodeBackups, round_: int
    ) -> None:
        self._backup, self._fanout, self._records = backup, context.fanout(), records
        self._prefix = f"{job.id}:{round_}"
        self._tag = snapshot_tag(backup.id, round_)
        self.any_worker = context.any_worker(
            Choice(backup.cluster, backup.allow_partial, backup.data_centers)
        )

    @property
    def local(self) -> bool:
        """Whether nodes of other data centres have no part in the backup."""
        return bool(self._backup.data_centers)

    def fields(self, host_id: str) -> TaskFields:
        """Return what each task for a node names."""
        return {
            "host_id": host_id,
            "cluster": self._backup.cluster,
            "backup_id": self._backup.id,
            "tag": self._tag,
        }

    def on_any(self, step: str, task_of: Callable[[str], Task[R]]) -> R:
        """Run a task on one live worker; ``task_of`` gets the host ID of its node.

        :raises BackupError: what the task raised.
        """
        return self.any_worker.run(f"{self._prefix}:{step}", task_of)

    def on_all(
        self,
        results: Results,
        phase: Phase,
        task_of: Callable[[str], Task[R]],
        *,
        hosts: Collection[str] | None = None,
        step: str = "",
    ) -> NodeResults[R]:
        """Run a task on each node that is still in the backup; return results and failures.

        A node that fails leaves the backup where partial backups are allowed. With ``hosts`` only
        these nodes of the phase run it, as its ``step``.

        :raises BackupError: the error of a node where they are not allowed, or if all nodes fail.
        """
        all_hosts = hosts_in(results)
        chosen = all_hosts if hosts is None else hosts
        tasks, calls = self._tasks(results, step or phase.value, task_of, chosen)
        outcomes = self._fanout.run(
            calls,
            progress=self._records.write_progress if phase is Phase.UPLOAD else None,
            ended=lambda outcome: self._records.mark(outcome, phase),
            stop_at_first_error=not self._backup.allow_partial,
        )
        failed = {o.call.host_id: str(o.error) for o in outcomes if o.error is not None}
        error = first_error(outcomes)
        if error is not None and (not self._backup.allow_partial or len(failed) == len(all_hosts)):
            raise error
        done = {
            o.call.host_id: result_of(type(task), o)
            for task, o in zip(tasks, outcomes, strict=True)
            if o.error is None
        }
        return NodeResults(done, failed)

    def outcomes(
        self,
        results: Results,
        step: str,
        task_of: Callable[[str], Task[R]],
        hosts: Collection[str],
        *,
        fanout: Fanout | None = None,
    ) -> list[Outcome]:
        """Run a task on nodes by host ID; return how each ended, errors included."""
        _, calls = self._tasks(results, step, task_of, hosts)
        return (fanout or self._fanout).run(calls, stop_at_first_error=False)

    def _tasks(
        self,
        results: Results,
        step: str,
        task_of: Callable[[str], Task[R]],
        hosts: Collection[str],
    ) -> tuple[list[Task[R]], list[Call]]:
        tasks, calls = [], []
        for present in results.of(CensusTaken).present:
            member = present.member
            if member.host_id not in hosts:
                continue
            task = task_of(member.host_id)
            tasks.append(task)
            task_id = f"{self._prefix}:{step}"
            calls.append(call_of(task, member, present.worker_id, task_id))
        return tasks, calls


def selected(results: Results) -> SelectedTables:
    """Return what is backed up: what the scope has selected, without excluded keyspaces."""
    return results.of(ResolveDone).selection.without(results.of(CensusTaken).excluded)


def hosts_in(results: Results) -> frozenset[str]:
    """Return the host IDs of the nodes that no step so far has lost."""
    hosts = {present.member.host_id for present in results.of(CensusTaken).present}
    for done in (results.find(PrepareDone), results.find(SnapshotDone), results.find(UploadDone)):
        hosts -= set(done.failed if done else ())
    return frozenset(hosts)

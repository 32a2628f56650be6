# SPDX-License-Identifier: Apache-2.0
"""Shows in the records of backups and restores what their jobs wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from magnetodb_backup.conductor.definition import JobDefinition
from magnetodb_backup.database import Database
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, SubjectKind

_OWN_NAMES = (JobKind.BACKUP, JobKind.RESTORE)  # others are about a backup
NO_SLOT = "waits until another job ends: as many run as [conductor] concurrent_jobs allows"


def waits_for(other: Job) -> str:
    """Return the text for a job that waits for another one of its cluster."""
    return f"waits for {_named(other)} of this cluster"


def _named(job: Job) -> str:
    """Return the job as a text that names its subject, unless that is the cluster."""
    if job.subject.kind is SubjectKind.CLUSTER:
        return f"the {job.kind}"
    what = job.kind if job.kind in _OWN_NAMES else f"{job.kind} of {job.subject.kind.value}"
    return f"{what} {job.subject.id}"


class Waiting:
    """Writes each text once; the claim of a job ends that it is shown."""

    def __init__(
        self, database: Database, definition: Callable[[str], JobDefinition | None]
    ) -> None:
        self._database, self._definition = database, definition
        self._shown: dict[str, str] = {}

    def show(self, queued: Sequence[Job], crowded: Sequence[Job]) -> None:
        """Show what jobs wait for that could not be claimed.

        The cluster of the ``queued`` ones has another owner; for the ``crowded`` ones this
        conductor had no slot.
        """
        before, self._shown = self._shown, {}
        pending = [job for job in (*queued, *crowded) if job.status is JobStatus.PENDING]
        if not pending:
            return
        now = {job.id: job for job in self._database.jobs.unfinished()}
        without_slot = {job.id for job in crowded}
        for job in pending:
            if job.id not in now or now[job.id].status is not JobStatus.PENDING:
                continue  # it has ended, or another conductor has claimed it
            holder = self._holder(job, now.values())
            text = waits_for(holder) if holder else NO_SLOT if job.id in without_slot else ""
            if text and before.get(job.id) != text:
                self._database.jobs.show_waiting(job.id, text)
            self._shown[job.id] = text

    def _holder(self, job: Job, jobs: Iterable[Job]) -> Job | None:
        """Return the running job that has the cluster, if this one needs it."""
        if not self._exclusive(job):
            return None
        holders = [
            other
            for other in jobs
            if other.status is JobStatus.RUNNING
            and other.cluster == job.cluster
            and self._exclusive(other)
        ]
        # One that was cancelled before its first step runs without the cluster.
        return min(holders, key=lambda other: other.cancel_requested, default=None)

    def _exclusive(self, job: Job) -> bool:
        definition = self._definition(job.kind)
        return definition is not None and definition.exclusive

# SPDX-License-Identifier: Apache-2.0
"""Runs one job to its end, whichever kind it is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from magnetodb_backup.conductor.definition import JobContext, JobDefinition, RunnerSettings
from magnetodb_backup.conductor.fanout import Workers, still_unavailable
from magnetodb_backup.conductor.job import GivenUp, describe, tolerated
from magnetodb_backup.conductor.registry import DEFINITIONS
from magnetodb_backup.database import Database
from magnetodb_backup.domain.jobs import Fence, Job, JobStatus
from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    DatabaseUnavailable,
    OwnershipLost,
    Transient,
    from_record,
)
from magnetodb_backup.storage.driver import StorageDriver

LOG = logging.getLogger(__name__)


class JobRunner:
    """Runs jobs of the given kinds; one object serves all threads of a conductor."""

    def __init__(
        self,
        database: Database,
        workers: Workers,
        storage: Callable[[], StorageDriver],
        settings: RunnerSettings,
        stopping: threading.Event,
        definitions: Iterable[JobDefinition] = DEFINITIONS,
    ) -> None:
        self._database, self._workers, self._storage = database, workers, storage
        self._settings, self._stopping = settings, stopping
        self._definitions = {d.kind: d for d in definitions}

    def definition(self, kind: str) -> JobDefinition | None:
        """Return the definition of a kind, None if this version does not know it."""
        return self._definitions.get(kind)

    def run(self, job: Job, fence: Fence, still_owner: Callable[[], bool]) -> None:
        """Run a claimed job until it is finished in the database, or this process gives it up.

        Every write carries the fence. A permanent error is recorded. Outages are waited for until
        the deadline; an outage of the database itself leaves the job to the conductor that finds
        it when the database is back. ``still_owner`` is asked before each step and between polls.

        :raises DatabaseUnavailable: if the database does not answer.
        """
        one = _Run(job, self._context(job, fence, still_owner), self._definitions[job.kind])
        trouble_since, steps_then = 0.0, -1
        while True:
            try:
                one.attempt()
                return
            except (GivenUp, OwnershipLost) as reason:
                LOG.info("job %s is left to another conductor: %s", job.id, reason)
                return
            except DatabaseUnavailable:
                raise
            except Transient as error:
                now, steps = time.monotonic(), self._steps_done(job)
                if steps > steps_then:  # there was progress: this is a new trouble
                    trouble_since, steps_then = now, steps
                LOG.warning("job %s: %s; trying again", job.id, error)
                deadline = self._settings.outage_deadline
                if now - trouble_since > deadline:
                    one.give_in(still_unavailable(error, deadline))
                    return
            if self._stopping.wait(self._settings.poll_interval):
                return

    def _steps_done(self, job: Job) -> int:
        """Return how many steps of the job have a result, in all rounds."""
        rounds = range(1, self._database.jobs.get(job.id).round + 1)
        return sum(len(self._database.jobs.step_results(job.id, r)) for r in rounds)

    def _context(self, job: Job, fence: Fence, still_owner: Callable[[], bool]) -> JobContext:
        fenced = self._database.fenced(fence)

        def raise_if_cancelled() -> None:
            if self._stopping.is_set():
                raise GivenUp("this conductor stops")
            if not still_owner():
                raise GivenUp("it was claimed by another one")
            if fenced.jobs.current(job.id).cancel_requested:
                raise Cancelled("cancelled on request")

        def wait(seconds: float) -> None:
            self._stopping.wait(seconds)

        return JobContext(
            fenced, self._workers, self._storage, self._settings, raise_if_cancelled, wait
        )


class _Run:
    """One job with what it works with."""

    def __init__(self, job: Job, context: JobContext, definition: JobDefinition) -> None:
        self._id, self._context, self._definition = job.id, context, definition

    def attempt(self) -> None:
        """Take the steps that are left and record the end.

        :raises Transient: if the job is to be tried again.
        :raises OwnershipLost: if another conductor owns the job.
        """
        jobs = self._context.database.jobs
        job = jobs.current(self._id)
        try:
            result = self._definition.run(job, self._context)
            jobs.finish(job.id, JobStatus.DONE, result=result)
        except (Transient, OwnershipLost, GivenUp):
            raise
        except BackupError as error:
            self._fail(error)
        except Exception as error:
            LOG.exception("job %s failed", job.id)
            self._fail(from_record({"code": "", "message": f"{type(error).__name__}: {error}"}))

    def give_in(self, error: BackupError) -> None:
        """End the job by a trouble that lasted too long, unless another conductor owns it."""
        try:
            self._fail(error)
        except (OwnershipLost, GivenUp) as lost:
            LOG.info("job %s is not ended by %s: %s", self._id, error.code, lost)

    def _fail(self, error: BackupError) -> None:
        jobs = self._context.database.jobs
        job = jobs.current(self._id)  # in its latest round
        with tolerated(f"the clean-up of job {job.id}"):
            self._definition.fail(job, error, self._context)
        status = JobStatus.CANCELLED if isinstance(error, Cancelled) else JobStatus.FAILED
        jobs.finish(job.id, status, error=describe(error), error_code=error.code)
        LOG.warning("job %s (%s): %s: %s", job.id, job.kind, status.value, error)

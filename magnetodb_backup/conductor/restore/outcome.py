# SPDX-License-Identifier: Apache-2.0
"""Begins, resumes and ends restore jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from magnetodb_backup.conductor.fanout import Fanout, Workers
from magnetodb_backup.conductor.job import StepRunner, describe
from magnetodb_backup.conductor.restore.job import PlanMade, RestoreTools
from magnetodb_backup.conductor.restore.offline import make_restore_job
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Job
from magnetodb_backup.domain.restore.records import RestorePhase, RestoreStatus
from magnetodb_backup.domain.restore.table_states import RESTORED, UNTOUCHED
from magnetodb_backup.errors import BackupError, Cancelled, from_record
from magnetodb_backup.repository.cluster import ClusterRepository

LOG = logging.getLogger(__name__)
_CLEANING = 10.0  # seconds; workers remove what is left when they report next


class RestoreRunner:
    """Runs restore jobs. Times in seconds; ``repository`` by the source cluster's name."""

    def __init__(
        self,
        database: Database,
        workers: Workers,
        repository: Callable[[str], ClusterRepository],
        wait: Callable[[float], None],
        *,
        poll_interval: float,
        worker_timeout: float,
        outage_deadline: float,
    ) -> None:
        self._database, self._workers = database, workers
        self._repository, self._wait = repository, wait
        self._poll_interval, self._worker_timeout = poll_interval, worker_timeout
        self._outage_deadline = outage_deadline

    def run(
        self, job: Job, source_cluster: str, check: Callable[[], None]
    ) -> Mapping[str, Any] | None:
        """Run the job's steps that have no result yet, and mark the restore.

        :raises BackupError: what a step raised; ``fail()`` ends the restore then.
        """
        restore = self._database.restores.get(job.id)
        if restore.status is not RestoreStatus.RESTORING:
            return None  # the process died between the last step and the end of the job
        stored = self._database.jobs.step_results(job.id, job.round)
        if "failed" in stored:
            raise from_record(stored["failed"])
        steps = make_restore_job(job, restore, self._tools(source_cluster, check))

        def entered(phase: str) -> None:
            self._database.restores.update(job.id, phase=phase)

        try:
            results = StepRunner(self._database, check=check, entered=entered, rounds=1).run(
                job, steps.steps, lambda _: None
            )
        except PlanMade:
            self._database.restores.set_status(job.id, RestoreStatus.PLANNED)
            return {"status": RestoreStatus.PLANNED.value}
        self._database.restores.update(job.id, tables=steps.table_states())
        self._database.restores.set_status(job.id, RestoreStatus.RESTORED)
        return {
            "status": RestoreStatus.RESTORED.value,
            "tables": len(results[RestorePhase.SELECT.value]["tables"]),
        }

    def fail(self, job: Job, error: BackupError) -> None:
        """Record the decision first, clean up, then show the end: none can be lost."""
        self._database.jobs.save_step(job.id, job.round, "failed", error.as_record())
        restore = self._database.restores.get(job.id)
        steps = make_restore_job(job, restore, self._tools(restore.source_cluster, lambda: None))
        for outcome in steps.remove_staging(self._fanout(lambda: None, _CLEANING)):
            if outcome.error is not None:
                LOG.warning(
                    "staged files on %s stay until its worker reports again: %s",
                    outcome.call.host,
                    outcome.error,
                )
        cancelled = isinstance(error, Cancelled)
        states = steps.table_states()
        told = describe(error)
        by_state: dict[str, list[str]] = {}
        for table, state in states.items():
            by_state.setdefault(state, []).append(table)
        for state, tables in sorted(by_state.items()):
            if state not in (UNTOUCHED, RESTORED):
                told += f". {', '.join(sorted(tables))}: {state}"
        self._database.restores.update(job.id, tables=states)
        self._database.restores.set_status(
            job.id,
            RestoreStatus.CANCELLED if cancelled else RestoreStatus.RESTORE_FAILED,
            error=told,
        )

    def _tools(self, source_cluster: str, check: Callable[[], None]) -> RestoreTools:
        return RestoreTools(
            database=self._database,
            fanout=self._fanout(check, self._outage_deadline),
            repository=self._repository(source_cluster),
            check=check,
            wait=self._wait,
            worker_timeout=self._worker_timeout,
        )

    def _fanout(self, check: Callable[[], None], outage_deadline: float) -> Fanout:
        return Fanout(
            self._workers,
            poll_interval=min(self._poll_interval, 1.0),
            outage_deadline=min(outage_deadline, self._outage_deadline),
            check=check,
        )

# SPDX-License-Identifier: Apache-2.0
"""Starts, resumes and ends restore jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from magnetodb_backup.conductor.definition import RunnerSettings
from magnetodb_backup.conductor.fanout import Fanout, Outcome, Workers
from magnetodb_backup.conductor.job import Results, StepRunner, describe, tolerated
from magnetodb_backup.conductor.restore.job import RestoreJob
from magnetodb_backup.conductor.restore.nodes import RestoreTools
from magnetodb_backup.database import Database
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.domain.restore.records import RestorePhase, RestoreStatus
from magnetodb_backup.domain.restore.table_states import RESTORED, UNTOUCHED
from magnetodb_backup.errors import BackupError, Cancelled, from_record
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.tasks.codec import decode
from magnetodb_backup.tasks.restore import StagingRemoved
from magnetodb_backup.tasks.restore_steps import Failure, Selected

LOG = logging.getLogger(__name__)
_CLEANING = 10.0  # seconds; workers remove what is left when they report next
# What nothing can end in Cassandra, by the phase in which a restore ends.
_CONTINUES = {
    RestorePhase.VIEWS.value: ". Builds of views and indexes that have begun continue in Cassandra",
    RestorePhase.REPAIR.value: ". A repair that has begun continues in Cassandra",
}
_WAITING = (
    ". Waiting until Cassandra has ended the imports that have begun; after that the staged files "
    "are removed"
)


class RestoreRunner:
    """Runs restore jobs; ``repository`` by the source cluster's name."""

    def __init__(
        self,
        database: Database,
        workers: Workers,
        repository: Callable[[str], ClusterRepository],
        wait: Callable[[float], None],
        settings: RunnerSettings,
    ) -> None:
        self._database, self._workers = database, workers
        self._repository, self._wait = repository, wait
        self._settings = settings

    def run(
        self, job: Job, source_cluster: str, raise_if_cancelled: Callable[[], None]
    ) -> Mapping[str, str | int] | None:
        """Run the job's steps that have no result yet, and mark the restore.

        :raises BackupError: what a step raised; ``fail()`` ends the restore then.
        """
        restore = self._database.restores.get(job.id)
        if restore.status is not RestoreStatus.RESTORING:
            return None  # the process died between the last step and the end of the job
        decided = Results(self._database.jobs.step_results(job.id, job.round)).find(Failure)
        if decided is not None:
            raise from_record({"code": decided.code, "message": decided.message})
        steps = RestoreJob(job, restore, self._tools(source_cluster, raise_if_cancelled))

        def entered(phase: str) -> None:
            self._database.restores.update(job.id, phase=phase)

        results = StepRunner(
            self._database, raise_if_cancelled=raise_if_cancelled, entered=entered, rounds=1
        ).run(job, steps.steps, lambda _: None)
        if restore.request.dry_run:
            self._database.restores.set_status(job.id, RestoreStatus.PLANNED)
            return {"status": RestoreStatus.PLANNED.value}
        self._database.restores.update(job.id, tables=steps.table_states())
        self._database.restores.set_status(job.id, RestoreStatus.RESTORED)
        return {
            "status": RestoreStatus.RESTORED.value,
            "tables": len(results.of(Selected).tables),
        }

    def fail(self, job: Job, error: BackupError) -> None:
        """Persist the failure, clean up, then publish the final status.

        So a crash in between loses nothing.
        """
        self._database.jobs.save_step(job.id, job.round, Failure.step, error.as_record())
        restore = self._database.restores.get(job.id)
        steps = RestoreJob(job, restore, self._tools(restore.source_cluster, lambda: None))
        text = describe(error) + _CONTINUES.get(restore.phase, "")
        if restore.phase == RestorePhase.IMPORT.value:
            self._database.restores.update(job.id, error=text + _WAITING)
        with tolerated(f"the removal of the staged files of restore {job.id}"):
            outcomes = steps.undo(self._fanout(lambda: None, _CLEANING))
            text += _removed(outcomes)
        cancelled = isinstance(error, Cancelled)
        states = steps.table_states()
        self._database.restores.update(job.id, tables=states)
        self._database.restores.set_status(
            job.id,
            RestoreStatus.CANCELLED if cancelled else RestoreStatus.RESTORE_FAILED,
            error=text + "".join(_states_as_text(states)),
        )

    def _tools(self, source_cluster: str, raise_if_cancelled: Callable[[], None]) -> RestoreTools:
        return RestoreTools(
            database=self._database,
            fanout=self._fanout(raise_if_cancelled, self._settings.outage_deadline),
            repository=self._repository(source_cluster),
            raise_if_cancelled=raise_if_cancelled,
            wait=self._wait,
            worker_timeout=self._settings.worker_timeout,
            builds=self._settings.builds,
        )

    def _fanout(self, raise_if_cancelled: Callable[[], None], outage_deadline: float) -> Fanout:
        return Fanout(
            self._workers,
            poll_interval=min(self._settings.poll_interval, 1.0),
            outage_deadline=min(outage_deadline, self._settings.outage_deadline),
            raise_if_cancelled=raise_if_cancelled,
        )


def _removed(outcomes: Sequence[Outcome]) -> str:
    """Return sentences on the imports that the removal of staged files had to wait for."""
    text = ""
    for outcome in outcomes:
        if outcome.error is not None:
            LOG.warning(
                "staged files on %s stay until its worker reports again: %s",
                outcome.call.host,
                outcome.error,
            )
        elif tables := decode(StagingRemoved, outcome.result).awaited:
            text += (
                f". On {outcome.call.host} the import into {', '.join(tables)} could not be ended, "
                "and has ended by itself"
            )
    return text


def _states_as_text(states: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each state that a reader has to act on."""
    by_state: dict[str, list[str]] = {}
    for table, state in states.items():
        by_state.setdefault(state, []).append(table)
    for state, tables in sorted(by_state.items()):
        if state not in (UNTOUCHED, RESTORED):
            yield f". {', '.join(sorted(tables))}: {state}"

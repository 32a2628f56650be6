# SPDX-License-Identifier: Apache-2.0
"""The restore as a kind of job: begins, resumes and ends it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.job import Results, StepRunner, describe, tolerated
from magnetodb_backup.conductor.restore.job import RestoreJob
from magnetodb_backup.conductor.restore.outcome import (
    CONTINUES,
    staging_left,
    states_as_text,
)
from magnetodb_backup.domain.jobs import Job, JobKind, SubjectKind
from magnetodb_backup.domain.restore.records import (
    RestorePhase,
    RestoreStatus,
    has_reached,
    keeps_fetched_files,
)
from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    DatabaseUnavailable,
    Transient,
    from_record,
)
from magnetodb_backup.tasks.restore_steps import Failure, Selected

LOG = logging.getLogger(__name__)
_POLL_EVERY = 1.0  # seconds at most: records show how far long imports are


class RestoreDefinition:
    """Restores into a cluster; no backup or other restore works on the cluster meanwhile."""

    kind = JobKind.RESTORE
    subject = SubjectKind.RESTORE
    exclusive = True
    background = False

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Take the restore's steps; return its status and the number of tables."""
        database, restores = context.database, context.database.restores
        restore = restores.get(job.id)
        if restore.status is not RestoreStatus.RESTORING:
            return None  # the process died between the last step and the end of the job
        decided = Results(database.jobs.step_results(job.id, job.round)).find(Failure)
        if decided is not None:
            raise from_record({"code": decided.code, "message": decided.message})
        if restore.waiting_for:
            restores.update(job.id, waiting_for="")
        steps = RestoreJob(job, restore, _polling_often(context))

        def entered(phase: str) -> None:
            restores.update(job.id, phase=phase)

        runner = StepRunner(
            database, raise_if_cancelled=context.raise_if_cancelled, entered=entered, rounds=1
        )
        results = self._run_steps(runner, job, steps, context)
        if restore.request.dry_run:
            restores.set_status(job.id, RestoreStatus.PLANNED)
            return {"status": RestoreStatus.PLANNED.value}
        restores.update(job.id, tables=steps.table_states())
        restores.set_status(job.id, RestoreStatus.RESTORED)
        return {
            "status": RestoreStatus.RESTORED.value,
            "tables": len(results.of(Selected).tables),
        }

    def _run_steps(
        self, runner: StepRunner, job: Job, steps: RestoreJob, context: JobContext
    ) -> Results:
        """Run the steps; once tables may be truncated, no outage ends the restore."""
        restores = context.database.restores
        while True:
            try:
                return runner.run(job, steps.steps, lambda _: None)
            except DatabaseUnavailable:
                raise
            except Transient as error:
                phase = restores.get(job.id).phase
                if not has_reached(phase, RestorePhase.TRUNCATE):
                    raise
                LOG.warning("restore %s: %s; trying again", job.id, error)
                restores.update(job.id, waiting_for=f"{phase}: {error}")
                context.raise_if_cancelled()
                context.wait(context.settings.poll_interval)

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Persist the failure, clean up, then publish the restore's final status."""
        database, restores = context.database, context.database.restores
        database.jobs.save_step(job.id, job.round, Failure.step, error.as_record())
        undoing = _polling_often(context).undoing()
        restore = restores.get(job.id)
        steps = RestoreJob(job, restore, undoing)
        text = describe(error) + CONTINUES.get(restore.phase, "")
        cancelled = isinstance(error, Cancelled)
        status = RestoreStatus.CANCELLED if cancelled else RestoreStatus.RESTORE_FAILED
        keep = keeps_fetched_files(status, restore.phase)
        left = ""
        with tolerated(f"the clean-up of the staged files of restore {job.id}"):
            left = staging_left(steps.undo(undoing.cleaning_fanout(), keep=keep), restore.backup_id)
        states = steps.table_states()
        restores.update(job.id, tables=states)
        text += "".join(states_as_text(states)) + left
        restores.set_status(job.id, status, error=text)


def _polling_often(context: JobContext) -> JobContext:
    interval = min(context.settings.poll_interval, _POLL_EVERY)
    return replace(context, settings=replace(context.settings, poll_interval=interval))

# SPDX-License-Identifier: Apache-2.0
"""Runs one job to its end, whatever kind it is."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from magnetodb_backup.conductor.backup.damaged_packs import distrusted_packs
from magnetodb_backup.conductor.backup.job import BackupJob, BackupTools
from magnetodb_backup.conductor.fanout import Fanout, Workers, still_unavailable
from magnetodb_backup.conductor.job import StepRunner, describe
from magnetodb_backup.conductor.restore.outcome import RestoreRunner
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup, Job
from magnetodb_backup.domain.backup.status import BackupStatus, JobKind, JobStatus, Phase
from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    Conflict,
    DatabaseUnavailable,
    Transient,
    from_record,
)
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.verify import verify_backup
from magnetodb_backup.storage.driver import StorageDriver

LOG = logging.getLogger(__name__)
_CLEANING = 10.0  # seconds; workers remove what is left when they report next


@dataclass(frozen=True)
class RunnerSettings:
    """Times in seconds."""

    prefix: str
    poll_interval: float
    worker_timeout: float
    outage_deadline: float
    rounds: int


class JobRunner:
    """Runs jobs; one object serves all threads of a conductor."""

    def __init__(
        self,
        database: Database,
        workers: Workers,
        storage: Callable[[], StorageDriver],
        settings: RunnerSettings,
        stopping: threading.Event,
    ) -> None:
        self._database, self._workers, self._storage = database, workers, storage
        self._settings, self._stopping = settings, stopping

    def run(self, job: Job, still_owner: Callable[[], bool]) -> None:
        """Run ``job`` until it is finished in the database, or until this process gives it up.

        A permanent error is recorded. Outages are waited for until the deadline; an outage of
        the database itself leaves the job to whoever finds it when the database is back.

        :raises DatabaseUnavailable: if the database does not answer.
        """
        trouble_since, steps_then = 0.0, -1
        while True:
            try:
                self._run_once(job, still_owner)
                return
            except _GivenUp:
                LOG.info("job %s is left to another conductor", job.id)
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
                    self._fail(job, still_unavailable(error, deadline))
                    return
            if self._stopping.wait(self._settings.poll_interval):
                return

    def _steps_done(self, job: Job) -> int:
        """Return how many steps of the job have a result, in all rounds."""
        rounds = range(1, self._database.jobs.get(job.id).round + 1)
        return sum(len(self._database.jobs.step_results(job.id, r)) for r in rounds)

    def _run_once(self, job: Job, still_owner: Callable[[], bool]) -> None:
        owner, job = job.owner, self._database.jobs.get(job.id)
        if job.status.finished:
            return
        if job.owner != owner:
            raise _GivenUp
        try:
            backup = self._database.backups.get(job.backup_id)
            run = {
                JobKind.BACKUP: self._backup,
                JobKind.DELETION: self._deletion,
                JobKind.VERIFICATION: self._verification,
                JobKind.RESTORE: self._restore,
            }[job.kind]
            result = run(job, backup, lambda: self._check(job, still_owner))
            self._database.jobs.finish(job.id, JobStatus.DONE, result=result)
        except Transient:
            raise
        except BackupError as error:
            self._fail(job, error)
        except _GivenUp:
            raise
        except Exception as error:
            LOG.exception("job %s failed", job.id)
            self._fail(
                job, from_record({"code": "", "message": f"{type(error).__name__}: {error}"})
            )

    def _check(self, job: Job, still_owner: Callable[[], bool]) -> None:
        if self._stopping.is_set() or not still_owner():
            raise _GivenUp
        recorded = self._database.jobs.get(job.id)
        if recorded.owner != job.owner:  # a lease can be lost without a word, as MySQL's
            raise _GivenUp
        if recorded.cancel_requested:
            raise Cancelled("cancelled on request")

    # The kinds of jobs.

    def _backup(
        self, job: Job, backup: Backup, check: Callable[[], None]
    ) -> Mapping[str, Any] | None:
        if backup.status in (BackupStatus.CREATED, BackupStatus.PARTIAL):
            return None  # the process died between the commit and the end of the job
        decided = self._database.jobs.step_results(job.id, job.round).get("failed")
        if decided is not None:
            raise from_record(decided)
        steps = self._backup_job(job, backup, check)
        results = StepRunner(
            self._database,
            check=check,
            entered=lambda phase: _ignore(self._database.backups.update(backup.id, phase=phase)),
            rounds=self._settings.rounds,
        ).run(job, steps.steps, lambda round_: _ignore(steps.drop_snapshots(round_)))
        return results["commit"]

    def _deletion(
        self, job: Job, backup: Backup, check: Callable[[], None]
    ) -> Mapping[str, Any] | None:
        if backup.status is BackupStatus.CREATING:
            raise Transient(f"backup {backup.id} is still being cancelled")
        if backup.status is BackupStatus.DELETED:
            return None
        self._database.backups.set_status(backup.id, BackupStatus.DELETING)
        hosts = [n.host_id for n in self._database.backups.node_backups(backup.id)]
        removed = self._repository(backup.cluster).delete_backup(
            backup.id, hosts, figures=backup.figures
        )
        self._database.backups.set_status(backup.id, BackupStatus.DELETED)
        return {"objects_removed": removed}

    def _verification(
        self, job: Job, backup: Backup, check: Callable[[], None]
    ) -> Mapping[str, Any] | None:
        report = verify_backup(
            self._repository(backup.cluster),
            lambda host_id: NodeRepository(
                self._storage(), self._settings.prefix, backup.cluster, host_id
            ),
            backup.id,
            read_data=bool(job.parameters.get("read_data")),
            progress=lambda *_: None,
            check_cancelled=check,
        )
        return asdict(report)

    def _restore(
        self, job: Job, backup: Backup, check: Callable[[], None]
    ) -> Mapping[str, Any] | None:
        return self._restores().run(job, backup.cluster, check)

    # Ends.

    def _fail(self, job: Job, error: BackupError) -> None:
        """Record the decision first, clean up, then show the end: none can be lost."""
        cancelled = isinstance(error, Cancelled)
        owner, job = job.owner, self._database.jobs.get(job.id)
        if job.owner != owner or job.status.finished:
            LOG.info("job %s went on elsewhere: %s is not its end", job.id, error.code)
            return
        if job.kind is JobKind.BACKUP:
            self._database.jobs.save_step(job.id, job.round, "failed", error.as_record())
            backup = self._database.backups.get(job.backup_id)
            self._drop_snapshots(job, backup)
            self._withdraw_manifest(job, backup)
            status = BackupStatus.CANCELLED if cancelled else BackupStatus.CREATE_FAILED
            self._database.backups.set_status(backup.id, status, error=describe(error))
        elif job.kind is JobKind.RESTORE:
            self._restores().fail(job, error)
        elif job.kind is JobKind.DELETION:
            with contextlib.suppress(Conflict):  # a backup that never got to be DELETING
                self._database.backups.set_status(
                    job.backup_id, BackupStatus.DELETE_FAILED, error=describe(error)
                )
        status_of_job = JobStatus.CANCELLED if cancelled else JobStatus.FAILED
        self._database.jobs.finish(
            job.id, status_of_job, error=describe(error), error_code=error.code
        )
        LOG.warning("job %s (%s): %s: %s", job.id, job.kind.value, status_of_job.value, error)

    def _withdraw_manifest(self, job: Job, backup: Backup) -> None:
        """Remove the manifest that a commit may have written before it was known to."""
        if Phase.RELEASE.value not in self._database.jobs.step_results(job.id, job.round):
            return
        try:
            self._repository(backup.cluster).delete_backup(backup.id)
        except BackupError as error:
            LOG.warning(
                "backup %s failed, but a manifest of it may be in the store; repeat backup delete "
                "when the store is back: %s",
                backup.id,
                error,
            )

    def _drop_snapshots(self, job: Job, backup: Backup) -> None:
        fanout = Fanout(
            self._workers,
            poll_interval=min(0.5, self._settings.poll_interval),
            outage_deadline=min(_CLEANING, self._settings.outage_deadline),
            check=lambda: None,
        )
        outcomes = self._backup_job(job, backup, lambda: None).drop_snapshots(job.round, fanout)
        for outcome in outcomes:
            if outcome.error is not None:
                LOG.warning(
                    "the snapshot on %s stays until its worker reports again: %s",
                    outcome.call.host,
                    outcome.error,
                )

    # Parts.

    def _repository(self, cluster: str) -> ClusterRepository:
        return ClusterRepository(self._storage(), self._settings.prefix, cluster)

    def _restores(self) -> RestoreRunner:
        return RestoreRunner(
            self._database,
            self._workers,
            self._repository,
            lambda seconds: _ignore(self._stopping.wait(seconds)),
            poll_interval=self._settings.poll_interval,
            worker_timeout=self._settings.worker_timeout,
            outage_deadline=self._settings.outage_deadline,
        )

    def _backup_job(self, job: Job, backup: Backup, check: Callable[[], None]) -> BackupJob:
        fanout = Fanout(
            self._workers,
            poll_interval=self._settings.poll_interval,
            outage_deadline=self._settings.outage_deadline,
            check=check,
        )
        tools = BackupTools(
            database=self._database,
            fanout=fanout,
            repository=self._repository(backup.cluster),
            check=check,
            wait=lambda seconds: _ignore(self._stopping.wait(seconds)),
            worker_timeout=self._settings.worker_timeout,
            distrusted=lambda cluster: distrusted_packs(self._database, cluster),
        )
        return BackupJob(job, backup, tools)


class _GivenUp(Exception):
    """The process stops, or lost the lease; another conductor continues the job."""


def _ignore(_: object) -> None:
    """Drop a value where a callback must return None."""

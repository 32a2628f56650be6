# SPDX-License-Identifier: Apache-2.0
"""Takes requests of the API and the command line: checks, records, wakes the conductor."""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from magnetodb_backup.database import Database
from magnetodb_backup.database.retention import Plan
from magnetodb_backup.domain.as_of import PARAMETER, check_as_of
from magnetodb_backup.domain.backup import sampling
from magnetodb_backup.domain.backup.data_centers import checked_names
from magnetodb_backup.domain.backup.proofs import rungs_of
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.backup.sample import MOST_SEED
from magnetodb_backup.domain.jobs import Job, JobKind, Subject, SubjectKind
from magnetodb_backup.domain.restore.records import Restore, RestoreRequest
from magnetodb_backup.domain.retention.policy import (
    ClusterPolicy,
    Policy,
    check_policy,
    check_reason,
)
from magnetodb_backup.domain.schedule.actions import Action
from magnetodb_backup.domain.schedule.records import (
    Schedule,
    ScheduleRequest,
    ScheduleRun,
    ScheduleStatus,
)
from magnetodb_backup.errors import BackupError
from magnetodb_backup.requests import (
    backups,
    collections,
    restores,
    retention,
    schedules,
    verifications,
)
from magnetodb_backup.requests.clusters import choose_cluster, choose_target

LOG = logging.getLogger(__name__)


class RecordedRequests:
    """Records requests in the database; the bus only makes the conductor look sooner.

    ``known_within``: seconds since a worker's last report for which its cluster counts as known;
    ``prefix`` is that of all containers; ``draw`` returns the seed of a first sample.
    """

    def __init__(
        self,
        database: Database,
        check_scope: Callable[[Mapping[str, Any]], object],
        wake: Callable[[], None],
        *,
        known_within: float,
        prefix: str,
        draw: Callable[[], int] = lambda: secrets.randbelow(MOST_SEED // 2),
    ) -> None:
        self._database, self._check_scope, self._wake = database, check_scope, wake
        self._known_within, self._prefix, self._draw = known_within, prefix, draw

    def create_backup(self, request: BackupRequest) -> Backup:
        """Record a backup and its job.

        :raises InvalidValue: for a scope, a type or an option that does not exist, or a cluster
            name that no container can have.
        :raises NotFound: for a cluster or a data centre that no worker reports.
        """
        request, cluster = self._checked_backup(request)
        backup = self._database.backups.create(request, str(uuid.uuid4()), cluster)
        self._wake_conductor()
        return backup

    def cancel_backup(self, backup_id: str) -> Backup:
        """Ask for the end of a running backup, or of the verification of a complete one.

        :raises Conflict: if neither runs.
        """
        backup = self._database.backups.get(backup_id)
        job = self._database.jobs.latest(Subject.backup(backup_id), JobKind.VERIFICATION)
        if job is None or job.status.finished:
            backups.check_cancellable(backup)
            job = self._database.jobs.latest(Subject.backup(backup_id), JobKind.BACKUP)
            assert job is not None  # both are recorded together
        self._database.jobs.request_cancel(job.id)
        self._wake_conductor()
        return self._database.backups.get(backup_id)

    def delete_backup(self, backup_id: str, *, allow_loss: bool = False) -> Backup:
        """Ask for a backup's deletion; one that runs is cancelled first.

        :raises Conflict: if it is deleted, if a deletion runs, if a restore or a verification
            reads it, naming that, or, unless ``allow_loss``, if retention keeps what the deletion
            loses.
        """
        backup = self._database.backups.get(backup_id)
        backups.check_deletable(backup)
        self._database.backups.request_deletion(backup_id, allow_loss=allow_loss)
        self._wake_conductor()
        return self._database.backups.get(backup_id)

    def undelete_backup(self, backup_id: str) -> Backup:
        """Ask for the undeletion of a deleted backup.

        :raises Conflict: if it is not deleted, if its undelete period is over, or if it is purged.
        """
        self._database.deletions.request_undeletion(backup_id)
        self._wake_conductor()
        return self._database.backups.get(backup_id)

    def keep_backup(self, backup_id: str, reason: str) -> Backup:
        """Keep a backup for ever.

        :raises InvalidValue: if the reason is empty or too long.
        :raises Conflict: if the backup has no data.
        """
        check_reason(reason)
        backup = self._database.backups.get(backup_id)
        self._database.retention.mark(backup.id, backup.cluster, reason.strip())
        self._wake_conductor()
        return self._database.backups.get(backup_id)

    def unkeep_backup(self, backup_id: str) -> Backup:
        """Keep a backup only as long as the retention policy does; may be repeated."""
        backup = self._database.backups.get(backup_id)
        self._database.retention.mark(backup.id, backup.cluster, "")
        self._wake_conductor()
        return self._database.backups.get(backup_id)

    def known_clusters(self) -> tuple[str, ...]:
        """Return the names of the clusters that have workers or backups."""
        return tuple(sorted({*self._clusters(), *self._database.retention.clusters()}))

    def set_retention(self, cluster: str | None, policy: Policy) -> ClusterPolicy:
        """Give a cluster a retention policy, in place of one that it has.

        :raises InvalidValue: for a value that is not possible.
        :raises NotFound: for a cluster that has neither workers nor backups.
        """
        check_policy(policy)
        chosen = retention.choose_known(cluster, self.known_clusters())
        record = self._database.retention.put(chosen, policy)
        self._wake_conductor()
        return record

    def clear_retention(self, cluster: str | None) -> ClusterPolicy:
        """Remove the retention policy of a cluster; return it.

        :raises NotFound: if the cluster has none.
        """
        found = [record.cluster for record in self._database.retention.list()]
        record = self._database.retention.remove(retention.choose_with_policy(cluster, found))
        self._wake_conductor()
        return record

    def plan_retention(self, cluster: str | None) -> Plan:
        """Return what the retention policies of a cluster and its schedules decide now.

        :raises NotFound: if there is none.
        """
        return self._database.retention.plan(self._with_policy(cluster))

    def apply_retention(self, cluster: str | None) -> Job:
        """Ask for the deletion of what expires; return the job.

        :raises NotFound: if neither the cluster nor a schedule of it has a policy.
        :raises Conflict: if such a job of the cluster is not finished.
        """
        chosen = self._with_policy(cluster)
        job = self._database.jobs.create(JobKind.RETENTION, Subject.cluster(chosen), chosen, {})
        self._wake_conductor()
        return job

    def _with_policy(self, cluster: str | None) -> str:
        return retention.choose_with_policy(cluster, self._database.retention.covered())

    def verify_backup(
        self,
        backup_id: str,
        *,
        read_data: bool = False,
        rungs: Sequence[str] = (),
        sample: float | None = None,
        seed: int | None = None,
        as_of: datetime | None = None,
    ) -> Job:
        """Ask for a verification; without rungs it proves that the store has all packs.

        With ``as_of`` (in UTC) it reads the store as it was then, also of a deleted backup.

        :raises InvalidValue: for a rung, a sample or a moment that does not exist.
        :raises Conflict: if the backup is not complete.
        """
        wanted = rungs_of(rungs, read_data=read_data)
        backup = self._database.backups.get(backup_id)
        backups.check_verifiable(backup, deleted_too=as_of is not None)
        verifications.check_sample(wanted, sample, seed)
        chosen, series = None, ""
        if sample is not None:
            earlier = self._database.jobs.newest_parameters(
                JobKind.VERIFICATION, backup.cluster, sampling.LOOKED_AT
            )
            series = sampling.series_of(backup, sample)
            chosen = sampling.choose_sample(sample, seed, series, earlier, self._draw)
        # A sample of an earlier state covers no packs of the present one.
        parameters = sampling.parameters_of(wanted, chosen, "" if as_of else series)
        if as_of is not None:
            check_as_of(as_of, self._database.deletions.now())
            parameters[PARAMETER] = as_of.isoformat()
        job = self._database.jobs.create(
            JobKind.VERIFICATION, Subject.backup(backup_id), backup.cluster, parameters
        )
        self._wake_conductor()
        return job

    def create_collection(
        self,
        cluster: str | None,
        *,
        dry_run: bool = False,
        grace: float | None = None,
        repack: int | None = None,
        repack_minimum: int | None = None,
    ) -> Job:
        """Ask for the removal of the packs that no backup needs, or for a report of them.

        ``grace`` in seconds replaces ``[conductor] collect_grace``. With ``repack``, packs of which
        at most that percentage of the bytes is live are repacked in each container where that frees
        ``repack_minimum`` bytes.

        :raises InvalidValue: for a grace period that is no time, or a repacking that is impossible.
        :raises NotFound: for a cluster that no worker reports.
        :raises Conflict: if a collection of the cluster is not finished.
        """
        collections.check_grace(grace)
        repacking = collections.repacking(repack, repack_minimum)
        name = choose_cluster(cluster, self._clusters())
        parameters: dict[str, Any] = {"dry_run": dry_run, "grace": grace}
        if repacking is not None:
            parameters |= {"repack": repacking.percent, "repack_minimum": repacking.least}
        job = self._database.jobs.create(
            JobKind.COLLECTION, Subject.cluster(name), name, parameters
        )
        self._wake_conductor()
        return job

    def create_survey(self, cluster: str | None, together: Sequence[str] = ()) -> Job:
        """Ask for a report of what is stored, and of what each backup alone holds.

        The backups ``together`` count as one, the first of them by ID.

        :raises NotFound: for a cluster that no worker reports.
        """
        name = choose_cluster(cluster, self._clusters())
        parameters = {"together": list(together)} if together else {}
        job = self._database.jobs.create(
            JobKind.SURVEY, Subject(SubjectKind.NONE), name, parameters
        )
        self._wake_conductor()
        return job

    def create_restore(self, request: RestoreRequest) -> Restore:
        """Record a restore and its job; a dry run too is a job.

        :raises InvalidValue: if the request contradicts itself or could do harm.
        :raises NotFound: for a backup, keyspace, table or cluster that does not exist.
        :raises Conflict: if the backup's status does not allow it.
        """
        backup = self._database.backups.get(request.backup_id)
        request = restores.checked_request(request, backup, self._database.deletions.now())
        clusters = self._clusters()
        cluster = choose_target(request.cluster, backup.cluster, clusters)
        restore = self._database.restores.create(
            request, str(uuid.uuid4()), backup.cluster, cluster
        )
        self._wake_conductor()
        return restore

    def cancel_restore(self, restore_id: str) -> Restore:
        """Ask for the end of a running restore.

        :raises Conflict: if it does not run.
        """
        restore = self._database.restores.get(restore_id)
        restores.check_cancellable(restore)
        self._database.jobs.request_cancel(restore_id)
        self._wake_conductor()
        return self._database.restores.get(restore_id)

    def create_schedule(self, request: ScheduleRequest) -> Schedule:
        """Record a schedule.

        :raises InvalidValue: for a name, an expression, a zone or an option that is not valid, also
            of its backups.
        :raises NotFound: for a cluster or a data centre that no worker reports.
        :raises Conflict: if a schedule has the name.
        """
        request = schedules.checked_request(request)
        if request.action is Action.BACKUP:
            backup, cluster = self._checked_backup(request.backup)
            request = replace(request, backup=backup)
        else:
            cluster = choose_cluster(request.backup.cluster, self._clusters())
        schedule = self._database.schedules.create(request, cluster)
        self._wake_conductor()
        return schedule

    def change_schedule(self, schedule_id: str, changes: Mapping[str, Any]) -> Schedule:
        """Change fields of a schedule; runs that have begun are not changed.

        :raises InvalidValue: for a value that is not valid.
        :raises NotFound: for a schedule that does not exist, or a data centre that no worker
            reports.
        :raises Conflict: if another schedule has the name.
        """
        schedule = self._database.schedules.get(schedule_id)
        request = schedules.checked_request(schedule.as_request().changed(changes))
        if request.action is Action.BACKUP:
            backup = self._checked_options(request.backup, schedule.cluster)
            request = replace(request, backup=backup)
        changed = self._database.schedules.update(schedule_id, request)
        self._wake_conductor()
        return changed

    def delete_schedule(self, schedule_id: str) -> None:
        """Remove a schedule; its backups stay, and what runs continues.

        :raises NotFound: if there is no such schedule.
        """
        self._database.schedules.delete(schedule_id)
        self._wake_conductor()

    def pause_schedule(self, schedule_id: str) -> Schedule:
        """Let a schedule begin nothing by itself; what runs continues.

        :raises NotFound: if there is no such schedule.
        :raises Conflict: if it is paused.
        """
        schedule = self._database.schedules.set_status(schedule_id, ScheduleStatus.PAUSED)
        self._wake_conductor()
        return schedule

    def resume_schedule(self, schedule_id: str) -> Schedule:
        """Let a paused schedule run again, at its next planned time.

        :raises NotFound: if there is no such schedule.
        :raises Conflict: if it is not paused.
        """
        schedule = self._database.schedules.set_status(schedule_id, ScheduleStatus.ACTIVE)
        self._wake_conductor()
        return schedule

    def run_schedule(self, schedule_id: str) -> ScheduleRun:
        """Record a run of a schedule that begins now, also while it is paused.

        :raises NotFound: if there is no such schedule.
        :raises Conflict: if there is nothing to start, or if such work is not finished.
        """
        run = self._database.scheduling.run_now(schedule_id)
        self._wake_conductor()
        return run

    def _checked_backup(self, request: BackupRequest) -> tuple[BackupRequest, str]:
        """Return a request that is checked, and its cluster."""
        self._check_scope(request.scope)
        backups.check_request(request)
        cluster = choose_cluster(request.cluster, self._clusters())
        backups.check_cluster(cluster, self._prefix)
        return self._checked_options(request, cluster), cluster

    def _checked_options(self, request: BackupRequest, cluster: str) -> BackupRequest:
        """Return a request for a known cluster that is checked."""
        self._check_scope(request.scope)
        backups.check_request(request)
        request = replace(request, data_centers=checked_names(request.data_centers))
        if request.data_centers:
            nodes = self._database.nodes.list(live_within=self._known_within, cluster=cluster)
            backups.check_data_centers(request.data_centers, cluster, nodes)
        return request

    def _clusters(self) -> tuple[str, ...]:
        return self._database.nodes.clusters(self._known_within)

    def _wake_conductor(self) -> None:
        try:
            self._wake()
        except BackupError as error:
            LOG.info("the conductor finds the request when it looks next: %s", error)

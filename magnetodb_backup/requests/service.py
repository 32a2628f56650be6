# SPDX-License-Identifier: Apache-2.0
"""Takes requests of the API and the command line: checks, records, wakes the conductor."""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.data_centers import checked_names
from magnetodb_backup.domain.backup.proofs import Rung, rungs_of
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.backup.sample import MOST_SEED
from magnetodb_backup.domain.jobs import Job, JobKind, Subject
from magnetodb_backup.domain.restore.records import Restore, RestoreRequest
from magnetodb_backup.errors import BackupError
from magnetodb_backup.requests import backups, restores, verifications
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
        self._check_scope(request.scope)
        backups.check_request(request)
        request = replace(request, data_centers=checked_names(request.data_centers))
        cluster = choose_cluster(request.cluster, self._clusters())
        backups.check_cluster(cluster, self._prefix)
        if request.data_centers:
            nodes = self._database.nodes.list(live_within=self._known_within, cluster=cluster)
            backups.check_data_centers(request.data_centers, cluster, nodes)
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

    def delete_backup(self, backup_id: str) -> Backup:
        """Ask for a backup's deletion; one that runs is cancelled first.

        :raises Conflict: if it is deleted, or a deletion runs.
        """
        backup = self._database.backups.get(backup_id)
        backups.check_deletable(backup)
        self._database.backups.request_deletion(backup_id)
        self._wake_conductor()
        return self._database.backups.get(backup_id)

    def verify_backup(
        self,
        backup_id: str,
        *,
        read_data: bool = False,
        rungs: Sequence[str] = (),
        sample: float | None = None,
        seed: int | None = None,
    ) -> Job:
        """Ask for a verification; without rungs it proves that the store has all packs.

        :raises InvalidValue: for a rung or a sample that does not exist.
        :raises Conflict: if the backup is not complete.
        """
        wanted = rungs_of(rungs, read_data=read_data)
        backup = self._database.backups.get(backup_id)
        backups.check_verifiable(backup)
        parameters: dict[str, Any] = {
            "read_data": Rung.READ_DATA in wanted,
            "rungs": [rung.value for rung in wanted],
        }
        verifications.check_sample(wanted, sample, seed)
        if sample is not None:
            earlier = self._database.jobs.newest_parameters(
                JobKind.VERIFICATION, backup.cluster, verifications.LOOKED_AT
            )
            series = verifications.series_of(backup, sample)
            chosen = verifications.choose_sample(sample, seed, series, earlier, self._draw)
            parameters["sample"] = {**asdict(chosen), "series": series}
        job = self._database.jobs.create(
            JobKind.VERIFICATION, Subject.backup(backup_id), backup.cluster, parameters
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
        request = restores.checked_request(request, backup)
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

    def _clusters(self) -> tuple[str, ...]:
        return self._database.nodes.clusters(self._known_within)

    def _wake_conductor(self) -> None:
        try:
            self._wake()
        except BackupError as error:
            LOG.info("the conductor finds the request when it looks next: %s", error)

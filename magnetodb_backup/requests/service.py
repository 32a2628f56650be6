# SPDX-License-Identifier: Apache-2.0
"""Takes requests of the API and the command line: checks, records, wakes the conductor."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup, BackupRequest, Job
from magnetodb_backup.domain.backup.status import BackupStatus, JobKind
from magnetodb_backup.domain.restore.records import Restore, RestoreRequest, RestoreStatus
from magnetodb_backup.domain.restore.request_rules import checked_request
from magnetodb_backup.errors import BackupError, Conflict, InvalidValue, NotFound
from magnetodb_backup.messaging.conductor import ConductorClient
from magnetodb_backup.plugins.loading import load_scope

LOG = logging.getLogger(__name__)


class RecordedRequests:
    """Records requests in the database; the bus only makes the conductor look sooner.

    ``known_within``: seconds since a worker's last report for which its cluster counts as known.
    """

    def __init__(
        self,
        database: Database,
        check_scope: Callable[[Mapping[str, Any]], object],
        wake: Callable[[], None],
        *,
        known_within: float,
    ) -> None:
        self._database, self._check_scope, self._wake = database, check_scope, wake
        self._known_within = known_within

    def create_backup(self, request: BackupRequest) -> Backup:
        """Record a backup and its job.

        :raises InvalidValue: for a scope, a type or an option that does not exist.
        :raises NotFound: for a cluster that no worker reports.
        """
        self._check_scope(request.scope)
        if request.type != "full":
            raise InvalidValue(
                f"backup type {request.type!r} is not available yet; use full, which uploads only "
                "what the store does not have"
            )
        if request.on_corrupt not in ("fail", "mark"):
            raise InvalidValue(f"on_corrupt is {request.on_corrupt!r}; use fail or mark")
        cluster = self._cluster(request.cluster)
        backup = self._database.backups.create(request, str(uuid.uuid4()), cluster)
        self._wake_conductor()
        return backup

    def cancel_backup(self, backup_id: str) -> Backup:
        """Ask for the end of a running backup.

        :raises Conflict: if it does not run.
        """
        backup = self._database.backups.get(backup_id)
        job = self._database.jobs.latest(backup_id, JobKind.BACKUP)
        if backup.status is not BackupStatus.CREATING or job is None:
            raise Conflict(
                f"backup {backup_id} is {backup.status.value}; only a backup that is CREATING "
                "can be cancelled"
            )
        self._database.jobs.request_cancel(job.id)
        self._wake_conductor()
        return self._database.backups.get(backup_id)

    def delete_backup(self, backup_id: str) -> Backup:
        """Ask for a backup's deletion; one that runs is cancelled first.

        :raises Conflict: if it is deleted, or a deletion runs.
        """
        backup = self._database.backups.get(backup_id)
        if backup.status is BackupStatus.DELETED:
            raise Conflict(f"backup {backup_id} is already DELETED")
        self._database.jobs.create(JobKind.DELETION, backup_id, backup.cluster, {})
        self._wake_conductor()
        return self._database.backups.get(backup_id)

    def verify_backup(self, backup_id: str, *, read_data: bool) -> Job:
        """Ask for a verification.

        :raises Conflict: if the backup is not complete.
        """
        backup = self._database.backups.get(backup_id)
        if backup.status not in (BackupStatus.CREATED, BackupStatus.PARTIAL):
            raise Conflict(
                f"backup {backup_id} is {backup.status.value}; only CREATED and PARTIAL ones can "
                "be verified"
            )
        job = self._database.jobs.create(
            JobKind.VERIFICATION, backup_id, backup.cluster, {"read_data": read_data}
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
        request = checked_request(request, backup)
        own = backup.cluster if backup.cluster in self._clusters() else None
        cluster = self._cluster(request.cluster or own)
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
        if restore.status is not RestoreStatus.RESTORING:
            raise Conflict(
                f"restore {restore_id} is {restore.status.value}; only a restore that is RESTORING "
                "can be cancelled"
            )
        self._database.jobs.request_cancel(restore_id)
        self._wake_conductor()
        return self._database.restores.get(restore_id)

    def _clusters(self) -> tuple[str, ...]:
        return self._database.nodes.clusters(self._known_within)

    def _cluster(self, wanted: str | None) -> str:
        clusters = self._clusters()
        names = ", ".join(repr(c) for c in clusters)
        if wanted is not None:
            if wanted not in clusters:
                raise NotFound(f"no worker reports a cluster {wanted!r}; known: {names or 'none'}")
            return wanted
        if not clusters:
            raise NotFound(
                "no worker has reported a cluster; start magnetodb-backup-worker on the Cassandra "
                "nodes and magnetodb-backup-conductor"
            )
        if len(clusters) > 1:
            raise InvalidValue(f"there are several clusters, name one: {names}")
        return clusters[0]

    def _wake_conductor(self) -> None:
        try:
            self._wake()
        except BackupError as error:
            LOG.info("the conductor finds the request when it looks next: %s", error)


def make_requests(database: Database, transport: Any) -> RecordedRequests:
    """Compose what takes requests."""
    return RecordedRequests(
        database,
        load_scope,
        ConductorClient(transport).look_for_jobs,
        known_within=86400.0,
    )

# SPDX-License-Identifier: Apache-2.0
"""Deletion, undeletion and purge of backups: manifests go, packs stay until they are collected."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.job import Results, Step, StepRunner, describe, typed_step
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import time_view
from magnetodb_backup.domain.jobs import Job, JobKind, SubjectKind
from magnetodb_backup.errors import BackupError, Conflict, Transient
from magnetodb_backup.repository.deleted import DeletedBackups
from magnetodb_backup.tasks.deletion_steps import (
    AsideRemoved,
    DeletionDecided,
    ManifestPutBack,
    ManifestRemoved,
    ManifestSetAside,
    ManifestsPurged,
    Undeleted,
)

LOG = logging.getLogger(__name__)


class Deletion:
    """Deletes a backup once its own job, which the request cancelled, has ended."""

    kind = JobKind.DELETION
    subject = SubjectKind.BACKUP
    exclusive = False
    background = False

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Set the manifest aside, remove it, and purge the rest if it cannot be undeleted.

        :raises Transient: while the backup is still being cancelled.
        """
        database = context.database
        backup = database.backups.get(job.backup_id)
        if backup.status is BackupStatus.CREATING:
            raise Transient(f"backup {backup.id} is still being cancelled")
        if backup.status is BackupStatus.DELETED:
            return None  # the process died between the record and the end of the job
        database.backups.set_status(backup.id, BackupStatus.DELETING)
        results = _run_steps(job, context, _DeletionSteps(backup, context).steps())
        aside, purge = results.of(ManifestSetAside), results.of(ManifestsPurged)
        deleted = database.deletions.record(
            backup.id,
            datetime.fromisoformat(aside.deleted_at),
            undelete_until=None if purge.purged else datetime.fromisoformat(aside.undelete_until),
            purged_at=database.deletions.now() if purge.purged else None,
        )
        removed = results.of(ManifestRemoved).objects_removed
        return {
            "objects_removed": purge.objects_removed if purge.purged else removed,
            "undelete_until": time_view(deleted.undelete_until),
        }

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Mark the backup DELETE_FAILED."""
        with contextlib.suppress(Conflict):  # a backup that never got to be DELETING
            context.database.backups.set_status(
                job.backup_id, BackupStatus.DELETE_FAILED, error=describe(error)
            )


class _DeletionSteps:
    """The steps of one deletion."""

    def __init__(self, backup: Backup, context: JobContext) -> None:
        self._backup, self._context = backup, context
        self._deleted = _deleted_backups(context, backup.cluster)

    def steps(self) -> list[Step]:
        return [
            typed_step(DeletionDecided, self._decide),
            typed_step(ManifestSetAside, self._set_aside),
            typed_step(ManifestRemoved, self._remove),
            typed_step(ManifestsPurged, self._purge),
        ]

    def _decide(self, results: Results) -> DeletionDecided:
        now = self._context.database.deletions.now()
        if not self._backup.manifest_sha256:  # it was never committed
            return DeletionDecided(now.isoformat())
        until = now + timedelta(seconds=self._context.settings.undelete_period)
        return DeletionDecided(now.isoformat(), until.isoformat())

    def _set_aside(self, results: Results) -> ManifestSetAside:
        decided = results.of(DeletionDecided)
        if not decided.undelete_until:
            return ManifestSetAside(decided.deleted_at)
        kept = self._deleted.set_aside(
            self._backup.id,
            datetime.fromisoformat(decided.deleted_at),
            datetime.fromisoformat(decided.undelete_until),
        )
        if kept is None:
            LOG.warning(
                "backup %s has no manifest in the store, so it cannot be undeleted", self._backup.id
            )
            return ManifestSetAside(decided.deleted_at)
        return ManifestSetAside(kept.deleted_at.isoformat(), kept.undelete_until.isoformat())

    def _remove(self, results: Results) -> ManifestRemoved:
        if not results.of(ManifestSetAside).undelete_until:
            return ManifestRemoved(0)  # the purge removes whatever there is
        self._deleted.remove_manifest(self._backup.id, self._context.raise_if_cancelled)
        return ManifestRemoved(1)

    def _purge(self, results: Results) -> ManifestsPurged:
        until = results.of(ManifestSetAside).undelete_until
        if until and datetime.fromisoformat(until) > self._context.database.deletions.now():
            return ManifestsPurged(purged=False)
        return ManifestsPurged(True, _purge(self._backup, self._context))


class Undeletion:
    """Undeletes a backup; it has its former status afterwards."""

    kind = JobKind.UNDELETION
    subject = SubjectKind.BACKUP
    exclusive = False
    background = False

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Write the manifest again, record the status, and remove what was set aside."""
        backup = context.database.backups.get(job.backup_id)
        results = _run_steps(job, context, _UndeletionSteps(backup, context).steps())
        return {"status": results.of(Undeleted).status}

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Show the error in the record of a backup that stays DELETED."""
        backups = context.database.backups
        if backups.get(job.backup_id).status is BackupStatus.DELETED:
            backups.set_status(job.backup_id, BackupStatus.DELETED, error=describe(error))


class _UndeletionSteps:
    """The steps of one undeletion."""

    def __init__(self, backup: Backup, context: JobContext) -> None:
        self._backup, self._context = backup, context
        self._deleted = _deleted_backups(context, backup.cluster)

    def steps(self) -> list[Step]:
        return [
            typed_step(ManifestPutBack, self._put_back),
            typed_step(Undeleted, self._record),
            typed_step(AsideRemoved, self._forget),
        ]

    def _put_back(self, results: Results) -> ManifestPutBack:
        manifest = self._deleted.put_back(
            self._backup.id,
            manifest_sha256=self._backup.manifest_sha256,
            raise_if_cancelled=self._context.raise_if_cancelled,
        )
        return ManifestPutBack(manifest.status, manifest.committed_at)

    def _record(self, results: Results) -> Undeleted:
        found = results.of(ManifestPutBack)
        status, finished_at = BackupStatus(found.status), datetime.fromisoformat(found.committed_at)
        self._context.database.deletions.undone(self._backup.id, status, finished_at)
        return Undeleted(found.status)

    def _forget(self, results: Results) -> AsideRemoved:
        self._deleted.forget(self._backup.id)
        return AsideRemoved()


def purge_due(
    context: JobContext, cluster: str, progress: Callable[[str], None] = lambda backup_id: None
) -> tuple[str, ...]:
    """Purge the cluster's deleted backups whose undelete period is over; return their IDs.

    Their node manifests, fingerprints and schemas are removed; only packs remain, which a
    collection removes. ``progress`` is called with the ID of each purged backup. Can be repeated
    after an error or a crash: what was not finished is due again.

    :raises BackupError: what the store raises, or that the job was cancelled.
    """
    deletions, purged = context.database.deletions, []
    for backup_id in deletions.due(cluster):
        context.raise_if_cancelled()
        if not deletions.begin_purge(backup_id):
            continue  # it is being undeleted
        removed = _purge(context.database.backups.get(backup_id), context)
        deletions.purged(backup_id)
        LOG.info("backup %s is purged: %d objects", backup_id, removed)
        purged.append(backup_id)
        progress(backup_id)
    return tuple(purged)


def _purge(backup: Backup, context: JobContext) -> int:
    hosts = [n.host_id for n in context.database.backups.node_backups(backup.id)]
    return _deleted_backups(context, backup.cluster).purge(backup.id, hosts, figures=backup.figures)


def _deleted_backups(context: JobContext, cluster: str) -> DeletedBackups:
    return DeletedBackups(context.storage(), context.settings.prefix, cluster)


def _run_steps(job: Job, context: JobContext, steps: list[Step]) -> Results:
    runner = StepRunner(
        context.database,
        raise_if_cancelled=context.raise_if_cancelled,
        entered=lambda phase: context.database.jobs.show_progress(job.id, {"step": phase}),
        rounds=1,
    )
    return runner.run(job, lambda _: steps, lambda _: None)

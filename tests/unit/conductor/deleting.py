# SPDX-License-Identifier: Apache-2.0
"""Deletes, undeletes and purges backups of a cluster, and lets conductors die meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.deletion import purge_due
from magnetodb_backup.conductor.job import GivenUp
from magnetodb_backup.conductor.registry import DEFINITIONS
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobKind, Subject, SubjectKind
from magnetodb_backup.errors import (
    BackupError,
)
from magnetodb_backup.repository.format import names as layout
from tests.lab.catalogue import adopt
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

S = BackupStatus
CONTAINER = layout.cluster_container(PREFIX, CLUSTER)
WEEK = 7 * 86400.0


class Purging:
    """What a collection does first."""

    kind = "purging"
    subject = SubjectKind.CLUSTER
    exclusive = False
    background = False

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Purge what is due."""
        return {"purged": list(purge_due(context, job.cluster))}

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Leave everything as it is."""


def delete(cluster: Cluster, backup: Backup, **settings: Any) -> Backup:
    cluster.database.backups.request_deletion(backup.id)
    return cluster.run(backup, JobKind.DELETION, **settings)


def undelete(cluster: Cluster, backup: Backup) -> Backup:
    cluster.database.deletions.request_undeletion(backup.id)
    return cluster.run(backup, JobKind.UNDELETION)


def purge(cluster: Cluster) -> list[str]:
    """Purge what is due; return the IDs, none if the process died."""
    database = cluster.database
    (job,) = database.jobs.unfinished() or (
        database.jobs.create(Purging.kind, Subject.cluster(CLUSTER), CLUSTER, {}),
    )
    runner = cluster.runner((*DEFINITIONS, Purging()))
    runner.run(*adopt(database, job.id), lambda: True)
    return list((database.jobs.get(job.id).result or {}).get("purged", ()))


def status_of(cluster: Cluster, backup: Backup) -> BackupStatus:
    return cluster.database.backups.get(backup.id).status


def names(cluster: Cluster, backup: Backup) -> list[str]:
    """Return the names of what the store has of a backup, besides packs."""
    return [info.name for info in cluster.store.list(CONTAINER) if backup.id in info.name]


def assert_restorable(cluster: Cluster, backup: Backup) -> None:
    assert cluster.verify(backup)["problems"] == []
    for number in cluster.nodes:
        assert cluster.restored(backup, number) == cluster.contents(number)


@contextmanager
def dying_at(cluster: Cluster, write: int) -> Iterator[list[str]]:
    """Let the conductor die before its write to the store of this number, from 0."""
    writes: list[str] = []

    def count(name: str) -> None:
        if len(writes) == write:
            raise GivenUp("killed")
        writes.append(name)

    cluster.store.before_put = cluster.store.before_delete = count
    yield writes
    cluster.store.before_put = cluster.store.before_delete = lambda name: None

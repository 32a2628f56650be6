# SPDX-License-Identifier: Apache-2.0
"""Collections of a cluster whose nodes consist of directories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magnetodb_backup.conductor.definition import CollectionSettings
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.jobs import Job, JobKind, Subject
from magnetodb_backup.tasks.codec import decode
from magnetodb_backup.tasks.collection_steps import Collected, NodeCollected
from tests.lab.catalogue import adopt
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER

GRACE = 10_000.0
WAIT = GRACE + 1000.0  # a look of a busy machine takes some seconds
SETTINGS = CollectionSettings(grace=GRACE, lease=0.2)


def requested(cluster: Cluster, kind: str = JobKind.COLLECTION, **parameters: Any) -> Job:
    """Record a collection, or a survey."""
    subject = Subject.cluster(CLUSTER)
    return cluster.database.jobs.create(kind, subject, CLUSTER, parameters)


def run(
    cluster: Cluster,
    job: Job,
    *,
    owner: str = "conductor-1",
    still_owner: Callable[[], bool] = lambda: True,
    **settings: Any,
) -> Job:
    """Run a job in this thread; return it as it is then."""
    claimed = adopt(cluster.database, job.id, owner)
    cluster.runner(**{"collection": SETTINGS, **settings}).run(*claimed, still_owner)
    return cluster.database.jobs.get(job.id)


def result_of(job: Job) -> Collected:
    assert job.result is not None, job.error
    return decode(Collected, job.result)


def collect(cluster: Cluster, **parameters: Any) -> Collected:
    return result_of(run(cluster, requested(cluster, **parameters)))


def survey(cluster: Cluster, **parameters: Any) -> Collected:
    return result_of(run(cluster, requested(cluster, JobKind.SURVEY, **parameters)))


def of_node(found: Collected, cluster: Cluster, number: int) -> NodeCollected:
    return found.nodes[cluster.nodes[number].me.host_id]


def later(cluster: Cluster, seconds: float = WAIT) -> None:
    """Let time pass, after which all workers report again."""
    cluster.clock.now += seconds
    for number in cluster.nodes:
        cluster.report(number)


def content(number: int, name: str) -> bytes:
    """Return what fills a pack of its own."""
    return f"{number} {name} ".encode().ljust(1000, b"x")


def write(cluster: Cluster, name: str) -> None:
    """Write another SSTable of the first table on each node."""
    for number, node in cluster.nodes.items():
        node.write(node.tables[0], f"{name}-big-Data.db", content(number, name))


def remove(cluster: Cluster, name: str) -> None:
    """Remove an SSTable of the first table on each node."""
    for node in cluster.nodes.values():
        (node.data.table_directory(0, node.tables[0]) / f"{name}-big-Data.db").unlink()


def delete(cluster: Cluster, backup: Backup, undelete_period: float = 0.0) -> None:
    cluster.database.backups.request_deletion(backup.id)
    cluster.run(backup, JobKind.DELETION, undelete_period=undelete_period)


def two_backups(cluster: Cluster) -> tuple[Backup, Backup]:
    """Make backups of which each has packs of its own."""
    write(cluster, "nb-7")
    first = cluster.backup()
    remove(cluster, "nb-7")
    write(cluster, "nb-8")
    return first, cluster.backup()


def packs(cluster: Cluster) -> dict[int, set[str]]:
    """Return the packs of each node."""
    return {number: set(cluster.packs(number).packs()) for number in cluster.nodes}

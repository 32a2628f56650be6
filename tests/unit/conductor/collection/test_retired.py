# SPDX-License-Identifier: Apache-2.0
"""A collection removes the empty containers of clusters of which nothing is left."""

from __future__ import annotations

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.errors import AccessDenied
from magnetodb_backup.repository.format.names import cluster_container, node_container
from tests.lab.catalogue import recorded
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.collection.collecting import collect
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

HOSTS = ("11111111-2222-4333-8444-555555555555", "22222222-2222-4333-8444-555555555555")
EMPTY = "d41d8cd98f00b204e9800998ecf8427e"
S = BackupStatus


def gone(cluster: Cluster, name: str, status: BackupStatus = S.DELETED) -> list[str]:
    """Make the containers of a cluster whose only backup has this status; return their names."""
    recorded(cluster.database, name, status)
    made = [*(node_container(PREFIX, name, h) for h in HOSTS), cluster_container(PREFIX, name)]
    for container in made:
        cluster.store.ensure_container(container)
    return made


def containers(cluster: Cluster) -> set[str]:
    return set(cluster.store.containers(""))


def test_empty_containers_of_a_cluster_that_is_gone(cluster: Cluster) -> None:
    cluster.backup()
    own = containers(cluster)
    made = gone(cluster, "old")
    cluster.store.put(made[1], "o", b"", size=0, md5=EMPTY)
    kept = gone(cluster, "old.1", S.CREATED) + gone(cluster, "older", S.CREATED)
    foreign = f"{PREFIX}.never-known"
    cluster.store.ensure_container(foreign)
    assert collect(cluster, dry_run=True).retired == ()
    assert set(made) <= containers(cluster)
    assert collect(cluster).retired == (made[0], made[2])
    assert containers(cluster) == {*own, *kept, foreign, made[1]}
    assert collect(cluster).retired == ()
    assert cluster.backup().status is S.CREATED


def test_trap_3_a_name_is_compared_whole(cluster: Cluster) -> None:
    """Neither a longer name nor the container of another program is that of the cluster."""
    gone(cluster, "old")
    ends = ("er", ".x", ".1", "-1", f".{HOSTS[0]}.2")
    others = {f"{cluster_container(PREFIX, 'old')}{end}" for end in ends}
    for container in others:
        cluster.store.ensure_container(container)
    assert len(collect(cluster).retired) == 3
    assert others <= containers(cluster)


def test_a_container_that_cannot_be_removed_fails_no_collection(cluster: Cluster) -> None:
    made = gone(cluster, "old")
    cluster.store.undeletable[made[0]] = AccessDenied("the role may not delete containers")
    found = collect(cluster)
    assert (found.retired, found.cluster) == (tuple(made[1:]), CLUSTER)
    cluster.store.undeletable.clear()
    assert collect(cluster).retired == (made[0],)

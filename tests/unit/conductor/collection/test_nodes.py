# SPDX-License-Identifier: Apache-2.0
"""Whose worker collects which container: nodes that are refused, silent, or gone."""

from __future__ import annotations

import threading

from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.repository.format.names import (
    cluster_container,
    node_container,
    node_manifest_name,
    pack_name,
)
from magnetodb_backup.tasks.kinds import TaskKind
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.collection.collecting import (
    WAIT,
    collect,
    delete,
    later,
    of_node,
    packs,
    requested,
    result_of,
    run,
    two_backups,
)
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import member
from tests.unit.worker.working import PREFIX

EMPTY = "d41d8cd98f00b204e9800998ecf8427e"


def test_node_whose_manifest_is_missing_is_refused_alone(cluster: Cluster) -> None:
    first, second = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    later(cluster)
    container, before = cluster_container(PREFIX, CLUSTER), packs(cluster)
    cluster.store.delete(container, node_manifest_name(second.id, cluster.nodes[2].me.host_id))
    found = collect(cluster)
    node = of_node(found, cluster, 2)
    assert node.error_code == "CollectionRefused"
    assert second.id in node.error
    assert found.total.freed_packs == 2
    assert packs(cluster)[2] == before[2]


def test_all_nodes_refused_fail_the_job(cluster: Cluster) -> None:
    _, second = two_backups(cluster)
    container = cluster_container(PREFIX, CLUSTER)
    for node in cluster.nodes.values():
        cluster.store.delete(container, node_manifest_name(second.id, node.me.host_id))
    ended = run(cluster, requested(cluster))
    assert (ended.status, ended.error_code) == (JobStatus.FAILED, "CollectionRefused")


def _leave(cluster: Cluster, number: int) -> None:
    """Let a node leave the ring, its worker with it."""
    for node in cluster.nodes.values():
        node.members = tuple(m for m in node.members if m != cluster.nodes[number].me)
    cluster.clock.now += WAIT
    cluster.fall_silent(number)


def test_member_without_a_worker_is_left_alone(cluster: Cluster) -> None:
    first, _ = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    before = packs(cluster)
    cluster.clock.now += WAIT
    cluster.fall_silent(3)
    found = collect(cluster)
    assert "is a member of the ring and has no live worker" in of_node(found, cluster, 3).error
    assert found.total.freed_packs == 2
    assert packs(cluster)[3] == before[3]


def test_container_of_a_node_that_left_is_collected_by_another_worker(cluster: Cluster) -> None:
    first, second = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    _leave(cluster, 3)
    node = of_node(collect(cluster), cluster, 3)
    assert node.adopted
    assert node.by in {cluster.nodes[n].me.address for n in (1, 2)}
    assert node.use.freed_packs == 1
    assert not node.use.container_removed  # the second backup needs it
    assert cluster.verify(second)["problems"] == []
    delete(cluster, second)
    collect(cluster)
    cluster.clock.now += WAIT
    for number in (1, 2):
        cluster.report(number)
    assert of_node(collect(cluster), cluster, 3).use.container_removed
    gone = node_container(PREFIX, CLUSTER, cluster.nodes[3].me.host_id)
    assert gone not in set(cluster.store.containers(""))


def test_worker_sees_itself_that_a_node_has_left(cluster: Cluster) -> None:
    """The job saw a ring without the node; the worker that would collect sees a ring with it."""
    two_backups(cluster)
    _leave(cluster, 3)
    asked: list[TaskKind] = []

    def come_back(worker_id: str, kind: TaskKind) -> None:
        asked.append(kind)
        if kind is TaskKind.COLLECT:
            for number in (1, 2):
                cluster.nodes[number].members = tuple(member(n) for n in (1, 2, 3))

    cluster.workers.before_start = come_back
    node = of_node(collect(cluster), cluster, 3)
    assert node.error_code == "Conflict"
    assert TaskKind.DESCRIBE in asked


def test_unreachable_worker_of_an_adopted_container_is_waited_for(cluster: Cluster) -> None:
    """It deletes nothing more once the cluster is given to another job."""
    first, second = two_backups(cluster)
    delete(cluster, first)
    collect(cluster)
    _leave(cluster, 3)
    gone, before, go_on = cluster.nodes[3].me.host_id, packs(cluster)[3], threading.Event()

    def lose(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.COLLECT and worker_id == "worker-1":
            cluster.workers.down.add(worker_id)

    def pause(name: str) -> None:
        if name == node_manifest_name(second.id, gone):
            go_on.wait(30)

    cluster.workers.after_start, cluster.store.before_read = lose, pause
    node = result_of(run(cluster, requested(cluster), outage_deadline=0.3)).nodes[gone]
    assert node.error_code == "StillUnavailable"
    go_on.set()
    wait_for(
        lambda: all(not table.running() for table in cluster.workers.tables.values()),
        deadline=30,
        what="the end of the lost task",
    )
    assert packs(cluster)[3] == before


def test_two_workers_of_one_node(cluster: Cluster) -> None:
    two_backups(cluster)
    cluster.report(2, worker_id="worker-2b", hostname="other")
    node = of_node(collect(cluster), cluster, 2)
    assert "has 2 live workers: worker-2 on machine-2 and worker-2b on other" in node.error


def test_trap_3_containers_of_clusters_with_similar_names(cluster: Cluster) -> None:
    """Cluster names that begin like this one, a host ID as a part of a name, other prefixes."""
    host = cluster.nodes[1].me.host_id
    two_backups(cluster)
    others = [
        node_container(PREFIX, f"{CLUSTER}.{host}", host),
        node_container(PREFIX, f"{CLUSTER}1", host),
        node_container(f"{PREFIX}1", CLUSTER, host),
        f"{node_container(PREFIX, CLUSTER, host)}0",
        f"{node_container(PREFIX, CLUSTER, host)}.old",
        f"{cluster_container(PREFIX, CLUSTER)}.{host.upper().replace('1', 'A')}",
    ]
    for other in others:
        cluster.store.ensure_container(other)
        cluster.store.put(other, pack_name("0" * 64), b"", size=0, md5=EMPTY)
    collect(cluster, grace=0.0)
    found = collect(cluster, grace=0.0)
    assert set(found.nodes) == {node.me.host_id for node in cluster.nodes.values()}
    for other in others:
        assert [info.name for info in cluster.store.list(other)] == [pack_name("0" * 64)]

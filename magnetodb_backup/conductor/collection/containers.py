# SPDX-License-Identifier: Apache-2.0
"""Finds the pack containers of a cluster, and the worker that collects each of them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Sequence

from magnetodb_backup.conductor.any_worker import Choice
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.domain.backup.records import Node
from magnetodb_backup.repository.format import names
from magnetodb_backup.tasks.backup import Describe
from magnetodb_backup.tasks.collection_steps import Container, ContainersFound


def find_containers(context: JobContext, cluster: str, task_prefix: str) -> ContainersFound:
    """Return the containers, each with its own node's worker.

    Another worker collects that of a node that has left the ring. That of a member without a
    worker is left alone: the node may come back at any time and upload.

    :raises MissingWorker: if the cluster has no live worker.
    """
    prefix = context.settings.prefix
    listed = context.storage().containers(names.node_containers_prefix(prefix, cluster))
    hosts = [h for n in listed if (h := names.parse_node_container(prefix, cluster, n))]
    nodes = context.database.nodes.list(
        live_within=context.settings.worker_timeout, cluster=cluster
    )
    live: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        if node.live and node.report.member is not None:
            live[node.report.member.host_id].append(node)
    ring: Collection[str] = ()
    if any(host not in live for host in hosts):
        ring = _ring(context, cluster, task_prefix)
    healthy = [found[0] for found in live.values() if _is_usable(found)]
    adopters = itertools.cycle(sorted(healthy, key=lambda n: n.report.worker_id))
    containers = []
    for host in hosts:
        if host in live:
            containers.append(_own(host, live[host]))
        elif host in ring:
            containers.append(Container(host, reason=_NO_WORKER))
        else:
            adopter = next(adopters, None)
            containers.append(_by(host, adopter) if adopter else Container(host, reason=_NO_OTHER))
    return ContainersFound(tuple(containers))


_NO_WORKER = (
    "the node is a member of the ring and has no live worker; start magnetodb-backup-worker there"
)
_NO_OTHER = "the node has left the ring and no other worker can collect its container now"


def _is_usable(found: Sequence[Node]) -> bool:
    return len(found) == 1 and not found[0].report.problem


def _ring(context: JobContext, cluster: str, task_prefix: str) -> frozenset[str]:
    """Return the host IDs of the members of the ring, as one node sees it."""
    worker = context.any_worker(Choice(cluster, try_others=True))
    described = worker.run(
        f"{task_prefix}:ring", lambda host_id: Describe(host_id=host_id, cluster=cluster)
    )
    return frozenset(member.host_id for member in described.ring)


def _own(host: str, found: Sequence[Node]) -> Container:
    if len(found) > 1:
        workers = " and ".join(f"{n.report.worker_id} on {n.report.hostname}" for n in found)
        return Container(
            host, reason=f"the node has {len(found)} live workers: {workers}; stop all but one"
        )
    return _by(host, found[0])


def _by(host: str, node: Node) -> Container:
    member = node.report.member
    assert member is not None
    return Container(host, member.host_id, member.address, node.report.worker_id)

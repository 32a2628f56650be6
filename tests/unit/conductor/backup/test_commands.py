# SPDX-License-Identifier: Apache-2.0
"""Which commands a backup gives to node control: with nodetool each of them starts a JVM."""

from __future__ import annotations

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.tasks.kinds import snapshot_tag
from tests.unit.conductor.cluster import Cluster


def _commands(cluster: Cluster) -> list[list[str]]:
    """Return what each node was asked to do, and forget it."""
    commands = [list(node.log) for node in cluster.nodes.values()]
    for node in cluster.nodes.values():
        node.log.clear()
    return commands


def test_a_backup_costs_three_commands_per_node(cluster: Cluster) -> None:
    first = cluster.backup()
    proof = ["host_id"]  # once per start of Cassandra
    for commands in _commands(cluster):
        tag = snapshot_tag(first.id, 1)
        assert commands == [
            *proof, "flush ks.t,ks.u", f"snapshot {tag} 3600", f"clear {tag}"
        ]  # fmt: skip
    second = cluster.backup()
    assert second.status is BackupStatus.CREATED
    for commands in _commands(cluster):
        assert [c.split()[0] for c in commands] == ["flush", "snapshot", "clear"]


def test_cassandra_without_gossip_over_cql_costs_one_command_more(cluster: Cluster) -> None:
    """4.0 has no table of it: nodetool netstats shows the mode."""
    for node in cluster.nodes.values():
        node.shows_gossip = False
    cluster.backup()
    first, *others = ([c.split()[0] for c in commands] for commands in _commands(cluster))
    rest = ["flush", "snapshot", "clear"]
    assert first == ["host_id", "operation_mode", "operation_mode", *rest]  # it took the census
    assert others == [["host_id", "operation_mode", *rest]] * 2

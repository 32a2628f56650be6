# SPDX-License-Identifier: Apache-2.0
"""A cluster of two data centres: nodes 1 and 2 are in dc1, node 3 is in dc2."""

from __future__ import annotations

from dataclasses import replace

from magnetodb_backup.domain.tables import TableName
from tests.unit.cassandra.tree import table
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker import fake_changes

BOTH = {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "dc1": "1", "dc2": "1"}
ROLES, FAR = TableName("system_auth", "roles"), TableName("far", "t")


def split(cluster: Cluster) -> Cluster:
    """Move node 3 to dc2; the keyspaces have a replica in both data centres."""
    for number, node in cluster.nodes.items():
        node.me = replace(node.me, dc="dc2" if number == 3 else "dc1")
    for number, node in cluster.nodes.items():
        node.members = tuple(other.me for other in cluster.nodes.values())
        replicate(cluster, BOTH)
        cluster.report(number)
    return cluster


def replicate(cluster: Cluster, replication: dict[str, str]) -> None:
    """Give all keyspaces another replication."""
    for node in cluster.nodes.values():
        node.replication = dict(replication)
        node.schema = node._first_schema = fake_changes.schema_text(node.tables, replication)


def add_table(cluster: Cluster, name: TableName, replication: dict[str, str]) -> None:
    """Make a table of another keyspace, of which each node has an SSTable."""
    for number, node in cluster.nodes.items():
        made = table(name.keyspace, name.table, 9)
        node.tables.append(made)
        node.replications[name.keyspace] = replication
        node.write(made, "nb-1-big-Data.db", f"{number} {name}".encode())


def without_worker(cluster: Cluster, *numbers: int) -> None:
    """Let nodes have no worker, and never have had one."""
    for number in numbers:
        cluster.workers.down.add(f"worker-{number}")
        cluster.database.nodes.forget(f"worker-{number}")

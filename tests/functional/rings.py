# SPDX-License-Identifier: Apache-2.0
"""Clusters of other shapes, each with a fresh service that has nothing but the store's address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.functional.depot import Depot, Rows
from tests.lab.cassandra import CassandraCluster
from tests.lab.cassandra_flags import Shape
from tests.lab.deployment import Deployment
from tests.lab.keystone import Keystone
from tests.lab.ports import LoopbackBlock
from tests.lab.reader import Reader
from tests.lab.rig import PREFIX, Rig, demo_store, keystone_options

# A node that has a row reads it from itself at ONE, so that each node's own rows are compared.
_OWN_FIRST = {"dynamic_snitch": False}


@contextmanager
def other_ring(
    directory: Path, shape: Shape, *, rig: Rig, block: LoopbackBlock, keystone: Keystone
) -> Iterator[Rig]:
    """Run a cluster and a service with an empty database; only the store is that of ``rig``."""
    cluster = CassandraCluster(
        directory / "cassandra",
        shape,
        block=block,
        yaml_extra=_OWN_FIRST,
    )
    deployment = Deployment(
        directory / "service",
        {
            "DEFAULT": {"transport_url": rig.rabbitmq.add_virtual_host(f"ring-{shape.first_host}")},
            "storage": {"driver": "swift", "prefix": PREFIX},
            # Seven nodes on two processors: nothing here is about outages.
            "swift": {**keystone_options(keystone), "read_timeout": 60},
            "conductor": {"outage_deadline": 120, "worker_timeout": 20},
        },
        cluster.nodes,
    )
    try:
        cluster.start()
        deployment.start()
        reader = Reader(demo_store(keystone, rig.swift), PREFIX, shape.name)
        yield Rig(cluster, deployment, reader, rig.proxy, rig.swift, rig.rabbitmq)
    finally:
        deployment.stop()
        cluster.stop()


@dataclass(frozen=True)
class Source:
    """A backup, and what was in its tables before; its cluster counts as dead."""

    depot: Depot
    id: str
    rows: dict[str, Rows]
    indexed: Sequence[Rows]


def make_source(rig: Rig, keyspace: str, *arguments: str, sai: bool = True) -> Source:
    """Make tables of every kind and a backup of them, with further arguments."""
    depot = Depot(keyspace, sai)
    depot.make(rig)
    rows, indexed = dict(depot.rows(rig.cluster)), depot.found_by_index(rig.cluster)
    return Source(depot, str(rig.created("--keyspace", keyspace, *arguments)["id"]), rows, indexed)


def planned(ring: Rig, *arguments: str) -> dict[str, Any]:
    """Return the plan of a restore that would not be refused."""
    outcome = ring.deployment.manage(
        "restore", "create", "--cluster", ring.cluster.name, *arguments, "--dry-run"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["status"] == "PLANNED"
    plan: dict[str, Any] = outcome.json["plan"]
    assert plan["problems"] == []
    return plan


def rebuild(ring: Rig, backup_id: str) -> None:
    """Let a service that knows nothing learn the backups from the store."""
    outcome = ring.deployment.manage("catalogue", "rebuild")
    found = {row["id"]: row["result"] for row in outcome.json}
    assert found[backup_id] in ("added", "known"), outcome.out + outcome.err


def restored(ring: Rig, *arguments: str) -> dict[str, Any]:
    """Restore; return the restore's record."""
    outcome = ring.deployment.restore("--cluster", ring.cluster.name, *arguments)
    assert outcome.code == 0, outcome.err
    return is_restored(ring, outcome.json)


def is_restored(ring: Rig, record: dict[str, Any]) -> dict[str, Any]:
    """Assert that a restore has done everything; return its record."""
    assert record["status"] == "RESTORED"
    assert set(record["tables"].values()) == {"restored"}
    assert all(node["phase"] == "done" for node in record["nodes"])
    assert ring.deployment.staged() == []
    return record


def sent(record: dict[str, Any]) -> int:
    """Return the bytes that a restore has streamed."""
    return sum(node["bytes_sent"] for node in record["nodes"])


def compare_everywhere(ring: Rig, source: Source, keyspace: str = "") -> None:
    """Compare every row: from all replicas together and from each node, then what indexes find."""
    depot, cluster = source.depot, ring.cluster
    assert depot.rows(cluster, keyspace=keyspace) == source.rows
    for node in range(len(cluster.nodes)):
        assert depot.rows(cluster, node, keyspace, consistency="ONE") == source.rows
    assert depot.found_by_index(cluster, keyspace) == source.indexed

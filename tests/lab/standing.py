# SPDX-License-Identifier: Apache-2.0
"""A rig for programs: the same servers that the fixtures of ``servers.py`` start for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab import forked
from tests.lab.cassandra import CassandraCluster
from tests.lab.deployment import Deployment
from tests.lab.fault_proxy import FaultProxy
from tests.lab.keystone import Keystone
from tests.lab.ports import LoopbackBlock
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.reader import Reader
from tests.lab.rig import PREFIX, Rig, demo_store, keystone_options
from tests.lab.swift import Swift


@dataclass(frozen=True)
class Standing:
    """The servers; the deployment of ``rig`` does not run."""

    rig: Rig
    keystone: Keystone
    block: LoopbackBlock


@contextmanager
def standing(directory: Path) -> Iterator[Standing]:
    """Start all servers in ``directory``; stop them at the end."""
    with ExitStack() as stack:
        stack.callback(forked.SERVER.stop)
        block = LoopbackBlock()
        stack.callback(block.release)
        keystone = Keystone(directory / "keystone", address=block.address(250))
        stack.callback(keystone.stop)
        keystone.start()
        swift = Swift(directory / "swift", address=block.address(251), keystone=keystone.auth_url)
        stack.callback(swift.stop)
        swift.start()
        keystone.register_store("RegionOne", swift.port, swift.address)
        proxy = FaultProxy(block.address(253), (swift.address, swift.port))
        stack.callback(proxy.stop)
        keystone.register_store("ProxyRegion", proxy.port, proxy.address)
        rabbitmq = RabbitMQ(directory / "rabbitmq", address=block.address(252))
        stack.callback(rabbitmq.stop)
        rabbitmq.start()
        cluster = CassandraCluster(directory / "cassandra", block=block)
        stack.callback(cluster.stop)
        cluster.start()
        deployment = Deployment(
            directory / "service",
            {
                "DEFAULT": {"transport_url": rabbitmq.transport_url},
                "storage": {"driver": "swift", "prefix": PREFIX},
                "swift": keystone_options(keystone, "ProxyRegion"),
            },
            cluster.nodes,
        )
        reader = Reader(demo_store(keystone, swift), PREFIX, cluster.name)
        rig = Rig(cluster, deployment, reader, proxy, swift, rabbitmq)
        yield Standing(rig, keystone, block)

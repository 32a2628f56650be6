# SPDX-License-Identifier: Apache-2.0
"""Servers that tests share, each started when the first test asks for it.

A pytest plugin. What starts servers is imported by the fixture that needs it: a test of the domain
does not import a Cassandra driver.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.lab.cassandra import CassandraCluster
    from tests.lab.fault_proxy import FaultProxy
    from tests.lab.keystone import Keystone
    from tests.lab.ports import LoopbackBlock
    from tests.lab.rabbitmq import RabbitMQ
    from tests.lab.rig import Rig
    from tests.lab.swift import Swift

_KEYSTONE, _SWIFT, _RABBITMQ, _PROXY = 250, 251, 252, 253
_TESTS = Path(__file__).parents[1]


def pytest_unconfigure() -> None:
    if (forked := sys.modules.get("tests.lab.forked")) is not None:
        forked.SERVER.stop()


@pytest.fixture(scope="session")
def loopback() -> Iterator[LoopbackBlock]:
    from tests.lab.ports import LoopbackBlock

    block = LoopbackBlock()
    yield block
    block.release()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def keystone(lab: Path, loopback: LoopbackBlock) -> Iterator[Keystone]:
    from tests.lab.keystone import Keystone

    server = Keystone(lab / "keystone", address=loopback.address(_KEYSTONE))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def swift(lab: Path, loopback: LoopbackBlock, keystone: Keystone) -> Iterator[Swift]:
    from tests.lab.swift import Swift

    server = Swift(lab / "swift", address=loopback.address(_SWIFT), keystone=keystone.auth_url)
    server.start()
    keystone.register_store("RegionOne", server.port, server.address)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def faulty_swift(loopback: LoopbackBlock, keystone: Keystone, swift: Swift) -> Iterator[FaultProxy]:
    """The same Swift in Keystone's region ``ProxyRegion``, through a proxy."""
    from tests.lab.fault_proxy import FaultProxy

    proxy = FaultProxy(loopback.address(_PROXY), (swift.address, swift.port))
    keystone.register_store("ProxyRegion", proxy.port, proxy.address)
    yield proxy
    proxy.stop()


@pytest.fixture
def swift_proxy(faulty_swift: FaultProxy) -> Iterator[FaultProxy]:
    faulty_swift.clear()
    yield faulty_swift
    faulty_swift.clear()


@pytest.fixture(scope="session")
def rabbitmq(lab: Path, loopback: LoopbackBlock) -> Iterator[RabbitMQ]:
    from tests.lab.rabbitmq import RabbitMQ

    server = RabbitMQ(lab / "rabbitmq", address=loopback.address(_RABBITMQ))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cassandra(lab: Path, loopback: LoopbackBlock) -> Iterator[CassandraCluster]:
    """Three nodes of 5.0 with two data directories each, and nothing that moves by itself."""
    from tests.lab.cassandra import CassandraCluster

    cluster = CassandraCluster(lab / "cassandra", block=loopback)
    cluster.start()
    cluster.disable_autocompaction("system_auth", "system_distributed")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def plugins(lab: Path) -> Path:
    """A third party's scope, installed as its documentation says."""
    target, source = lab / "plugins", lab / "scope_example"
    shutil.copytree(_TESTS / "functional" / "scope_example", source)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation",
         "--target", str(target), str(source)],
        check=True,
    )  # fmt: skip
    return target


@pytest.fixture(scope="session")
def rig(
    lab: Path,
    plugins: Path,
    keystone: Keystone,
    swift: Swift,
    faulty_swift: FaultProxy,
    rabbitmq: RabbitMQ,
    cassandra: CassandraCluster,
) -> Iterator[Rig]:
    """The service on that cluster; it talks to Swift through the proxy that injects faults."""
    from tests.lab.deployment import Deployment
    from tests.lab.reader import Reader
    from tests.lab.rig import PREFIX, Rig, demo_store, keystone_options

    deployment = Deployment(
        lab / "service",
        {
            "DEFAULT": {"transport_url": rabbitmq.transport_url},
            "storage": {"driver": "swift", "prefix": PREFIX},
            "swift": keystone_options(keystone, "ProxyRegion"),
        },
        cassandra.nodes,
        plugins,
    )
    deployment.start()
    reader = Reader(demo_store(keystone, swift), PREFIX, cassandra.name)
    yield Rig(cassandra, deployment, reader, faulty_swift, swift, rabbitmq)
    deployment.stop()

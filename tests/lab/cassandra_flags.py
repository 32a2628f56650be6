# SPDX-License-Identifier: Apache-2.0
"""What Cassandra's JVM and configuration need for a small node on loopback."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.artifacts import CASSANDRA_5_0

_MEMORY = Path("/dev/shm")
_EXPORTS = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.util",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.management/com.sun.jmx.remote.security",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "java.base/java.lang.ref",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
)
_OPENS = (
    *(
        f"java.base/java.{p}"
        for p in (
            "lang", "lang.module", "lang.reflect", "io", "nio", "util", "util.concurrent",
            "util.concurrent.atomic",
        )
    ),
    *(f"java.base/jdk.internal.{p}" for p in ("loader", "math", "module", "ref", "reflect")),
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.compiler/com.sun.tools.javac",
    "jdk.management/com.sun.management.internal",
)  # fmt: skip

JVM = (
    "-Djdk.attach.allowAttachSelf=true",
    *(f"--add-exports={e}=ALL-UNNAMED" for e in _EXPORTS),
    *(f"--add-opens={o}=ALL-UNNAMED" for o in _OPENS),
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Djna.nosys=true",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
)

LOGBACK = """<configuration scan="false"><appender name="A"
class="ch.qos.logback.core.ConsoleAppender"><target>{target}</target>
<encoder><pattern>%-5level [%thread] %date{{ISO8601}} %F:%L - %msg%n</pattern></encoder></appender>
<root level="{level}"><appender-ref ref="A"/></root></configuration>
"""


def tokens(node: int, nodes: int, count: int, lowest: int, highest: int) -> str:
    """Return evenly interleaved tokens: no allocation, no clash when nodes start together."""
    step = (highest - lowest) // (nodes * count)
    return ",".join(str(lowest + (k * nodes + node - 1) * step) for k in range(count))


@dataclass(frozen=True)
class Shape:
    """A cluster's version, name and nodes, which are in ``racks`` and data centres by turns.

    Their addresses follow each other from ``first_host`` on. An ``unkind`` one is as clusters in
    the field are, and the others are not: it has the old partitioner, serves clients on addresses
    of their own, has what Cassandra switches off by default, and guardrails on the size of pages
    and on indexes, which hold for roles that are no superusers.
    """

    nodes: int = 3
    version: str = CASSANDRA_5_0
    name: str = "lab cluster"
    first_host: int = 1
    racks: Sequence[str] = ("r1", "r2")
    data_centers: Sequence[str] = ("dc1",)
    unkind: bool = False

    def rack(self, number: int) -> str:
        """Return the rack of a node; the first one has the number 1."""
        return self.racks[(number - 1) % len(self.racks)]

    def dc(self, number: int) -> str:
        """Return the data centre of a node; the first one has the number 1."""
        return self.data_centers[(number - 1) % len(self.data_centers)]


# What is sold as the default, or set by careful operators.
_UNKIND = {
    "materialized_views_enabled": False,
    "user_defined_functions_enabled": False,
    "page_size_warn_threshold": 50,
    "page_size_fail_threshold": 250,
    "tables_warn_threshold": 1,
    "dynamic_data_masking_enabled": True,
    "secondary_indexes_enabled": False,
    "partitioner": "org.apache.cassandra.dht.RandomPartitioner",
}


def configuration(
    home: Path, shape: Shape, node: int, addresses: Sequence[str], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return cassandra.yaml of node number ``node`` as a dictionary (JSON is YAML).

    ``addresses`` are those of all nodes, which are all seeds.
    """
    features = ["materialized_views", "user_defined_functions"]
    before_41 = shape.version.startswith("4.0")
    switches = [f"enable_{f}" if before_41 else f"{f}_enabled" for f in features]
    address, directories = addresses[node - 1], data_directories(home, shape)
    lowest, highest = (0, 2**127) if shape.unkind else (-(2**63) + 1, 2**63 + 1)
    return {
        "cluster_name": shape.name,
        "num_tokens": 16,
        "initial_token": tokens(node, shape.nodes, 16, lowest, highest),
        "auto_bootstrap": False,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "data_file_directories": [str(directory) for directory in directories],
        "commitlog_directory": str(home / "commitlog"),
        "saved_caches_directory": str(home / "saved_caches"),
        "hints_directory": str(home / "hints"),
        "cdc_raw_directory": str(home / "cdc_raw"),
        "commitlog_sync": "periodic",
        "commitlog_sync_period_in_ms": 10000,
        "commitlog_segment_size_in_mb": 4,
        "disk_failure_policy": "stop",
        "listen_address": address,
        "rpc_address": client_address(address, shape),
        "storage_port": 7000,
        "native_transport_port": 9042,
        "start_native_transport": True,
        "endpoint_snitch": "GossipingPropertyFileSnitch",
        # A node that is asked at ONE answers from its own replica, however slow it was lately.
        "dynamic_snitch": False,
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": ",".join(f"{s}:7000" for s in addresses)}],
            }
        ],
        "concurrent_reads": 4,
        "concurrent_writes": 4,
        "concurrent_counter_writes": 4,
        "concurrent_compactors": 1,
        "auto_snapshot": True,
        "incremental_backups": False,
        **dict.fromkeys(switches, True),
        **(_UNKIND if shape.unkind else {}),
        **extra,
    }


def client_address(address: str, shape: Shape) -> str:
    """Return where the node with this address in the ring serves clients."""
    network, _, host = address.rpartition(".")
    return f"{network}.{int(host) + 60}" if shape.unkind else address


def data_directories(home: Path, shape: Shape) -> tuple[Path, Path]:
    """Return the data directories; those of an unkind node are on file systems of unequal size."""
    second = home / "data2"
    if shape.unkind and os.access(_MEMORY, os.W_OK):
        second = _MEMORY / f"magnetodb-backup-{os.getpid()}-{home.name}"
    return home / "data1", second

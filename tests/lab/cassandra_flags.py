# SPDX-License-Identifier: Apache-2.0
"""What Cassandra's JVM and configuration need for a small node on loopback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.artifacts import CASSANDRA_5_0

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


def tokens(node: int, nodes: int, count: int) -> str:
    """Return evenly interleaved tokens: no allocation, no clash when nodes start together."""
    step = 2**64 // (nodes * count)
    return ",".join(str(-(2**63) + 1 + (k * nodes + node - 1) * step) for k in range(count))


@dataclass(frozen=True)
class Shape:
    """A cluster's version, name and nodes, which are in ``racks`` by turns.

    Their addresses follow each other from ``first_host`` on.
    """

    nodes: int = 3
    version: str = CASSANDRA_5_0
    name: str = "lab cluster"
    first_host: int = 1
    racks: Sequence[str] = ("r1", "r2")

    def rack(self, number: int) -> str:
        """Return the rack of a node; the first one has the number 1."""
        return self.racks[(number - 1) % len(self.racks)]


def configuration(
    home: Path, shape: Shape, node: int, addresses: Sequence[str], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return cassandra.yaml of node number ``node`` as a dictionary (JSON is YAML).

    ``addresses`` are those of all nodes, which are all seeds.
    """
    features = ["materialized_views", "user_defined_functions"]
    before_41 = shape.version.startswith("4.0")
    switches = [f"enable_{f}" if before_41 else f"{f}_enabled" for f in features]
    address = addresses[node - 1]
    return {
        "cluster_name": shape.name,
        "num_tokens": 16,
        "initial_token": tokens(node, shape.nodes, 16),
        "auto_bootstrap": False,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "data_file_directories": [str(home / "data1"), str(home / "data2")],
        "commitlog_directory": str(home / "commitlog"),
        "saved_caches_directory": str(home / "saved_caches"),
        "hints_directory": str(home / "hints"),
        "cdc_raw_directory": str(home / "cdc_raw"),
        "commitlog_sync": "periodic",
        "commitlog_sync_period_in_ms": 10000,
        "commitlog_segment_size_in_mb": 4,
        "disk_failure_policy": "stop",
        "listen_address": address,
        "rpc_address": address,
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
        **extra,
    }

# SPDX-License-Identifier: Apache-2.0
"""A real Cassandra cluster on loopback, each node with two data directories."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.lab import cassandra_flags as flags
from tests.lab.artifacts import Distribution, cassandra_distribution, java_driver, once
from tests.lab.cassandra_flags import Shape
from tests.lab.java import archives_classes, java
from tests.lab.ports import Addresses, LoopbackBlock, free_port, listens
from tests.lab.processes import ManagedProcess, stop_all, wait_for

with warnings.catch_warnings():
    # The driver imports eventlet where it is installed, and eventlet warns of itself.
    warnings.simplefilter("ignore")
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
    from cassandra.io.asyncioreactor import AsyncioConnection
    from cassandra.policies import WhiteListRoundRobinPolicy

_COUNTED = Path(__file__).parent / "launched" / "counted.sh"
_STORAGE_SERVICE = "org.apache.cassandra.db:type=StorageService"
_START_DEADLINE = 240.0
_USUAL = Shape()
_CLASSES = "classes.jsa"
_WITH_LOGIN = {"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer"}


class CassandraNode:
    """One node; its address is its own, so all nodes use the same ports but for JMX."""

    native_port = 9042

    def __init__(
        self,
        home: Path,
        distribution: Distribution,
        address: str,
        options: Sequence[str],
        jolokia: str,
        shape: Shape = _USUAL,
        classes: Sequence[str] = (),
    ) -> None:
        """``classes`` are the JVM's options for an archive of Cassandra's classes."""
        self.home, self.address, self._jolokia = home, address, jolokia
        self.client_address = flags.client_address(address, shape)
        self.jmx_port = free_port("127.0.0.1")
        self.jolokia_url = f"http://{address}:8778/jolokia"
        self.data_directories = flags.data_directories(home, shape)
        self._distribution = distribution
        # An archive of classes demands the same jars in the same order, directories behind them.
        self._classpath = ":".join([*map(str, distribution.jars), str(home / "conf")])
        self._classes = classes
        argv = [
            # Without the capability Cassandra does not lock its heap into memory.
            "setpriv", "--bounding-set=-ipc_lock",
            java(), *flags.JVM, *classes, *self._agents(),
            "-Xms384m", "-Xmx384m", "-Xss512k", "-XX:MaxDirectMemorySize=128m",
            "-Djava.net.preferIPv4Stack=true",
            f"-Dcassandra.jmx.local.port={self.jmx_port}",
            *self._locations("logback.xml"),
            "-Dcassandra-foreground=yes",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=1000",
            "-Dcassandra.gossip_settle_min_wait_ms=0",
            "-Dcassandra.superuser_setup_delay_ms=0",
            "-Dcassandra.consistent.rangemovement=false",
            # Each DDL statement would flush twelve tables to disk; kill() makes up for it.
            "-Dcassandra.test.flush_local_schema_changes=false",
            *options,
            "-cp", self._classpath, "org.apache.cassandra.service.CassandraDaemon",
        ]  # fmt: skip
        self._argv = argv
        self.process = self._process(argv)

    def _process(self, argv: Sequence[str]) -> ManagedProcess:
        return ManagedProcess(
            f"cassandra {self.address}", argv, log=self.home / "log" / "out.log", cwd=self.home
        )

    def _agents(self) -> list[str]:
        (jamm,) = self._distribution.lib.glob("jamm-*.jar")
        options = f"host={self.address},port=8778,discoveryEnabled=false{self._jolokia}"
        return [f"-javaagent:{jamm}", f"-javaagent:{self._distribution.jolokia}={options}"]

    def _locations(self, logback: str) -> list[str]:
        conf = self.home / "conf"
        return [
            f"-Dcassandra.config=file://{conf / 'cassandra.yaml'}",
            f"-Dcassandra.storagedir={self.home}",
            f"-Dcassandra.logdir={self.home / 'log'}",
            f"-Dlogback.configurationFile=file://{conf / logback}",
        ]

    def nodetool_command(self) -> list[str]:
        """Return an argument list that runs nodetool; ``-h`` and ``-p`` are still to be given."""
        return [str(_COUNTED), "nodetool", *self._tool("NodeTool")]

    def sstableloader_command(self) -> list[str]:
        """Return an argument list that runs sstableloader."""
        jamm, _ = self._agents()
        return [str(_COUNTED), "sstableloader", *self._tool("BulkLoader", jamm)]

    def _tool(self, name: str, *options: str) -> list[str]:
        classpath = self._classpath
        if name == "BulkLoader" and not any(self._distribution.lib.glob("cassandra-driver-*.jar")):
            classpath += f":{java_driver()}"
        return [
            java(), *flags.JVM, *self._classes, "-Xmx128m", *self._locations("logback-tools.xml"),
            *options, "-cp", classpath, f"org.apache.cassandra.tools.{name}",
        ]  # fmt: skip

    def scratch_options(self) -> dict[str, Any]:
        """Return group ``[scratch]`` for a worker of this node."""
        jamm, _ = self._agents()
        return {
            "class_path": f"{self._distribution.lib}/*",
            "java": java(),
            "java_options": ",".join([*flags.JVM, jamm]),
            "heap": "384M",
            "configuration": self.home / "conf" / "cassandra.yaml",
        }

    def set_repaired(self, *data_files: Path) -> None:
        """Let Cassandra's own tool mark SSTables as repaired: it replaces their Statistics.db."""
        jamm, _ = self._agents()
        subprocess.run(
            [
                *self._tool("SSTableRepairedAtSetter", jamm), "--really-set", "--is-repaired",
                *map(str, data_files),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )  # fmt: skip

    def nodetool(self, *arguments: str) -> str:
        """Run nodetool; raises with its output if it fails."""
        where = ["-h", "127.0.0.1", "-p", str(self.jmx_port)]
        result = subprocess.run(
            [*self.nodetool_command(), *where, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
        )
        if result.returncode:
            raise RuntimeError(f"nodetool {arguments}: {result.stdout}{result.stderr}")
        return result.stdout

    def jolokia(self, **request: Any) -> Any:
        """Post a request to the agent and return its value."""
        body = json.dumps({"mbean": _STORAGE_SERVICE, **request}).encode()
        with urllib.request.urlopen(f"{self.jolokia_url}/", body, timeout=120) as answer:
            document = json.load(answer)
        if document.get("status") != 200:
            raise RuntimeError(f"{request}: {document.get('error')}")
        return document.get("value")

    @property
    def host_id(self) -> str:
        return str(self.jolokia(type="read", attribute="LocalHostId"))

    def flush(self, keyspace: str, *tables: str) -> None:
        """Flush some or all tables of a keyspace."""
        operation = "forceKeyspaceFlush(java.lang.String,[Ljava.lang.String;)"
        self.jolokia(type="exec", operation=operation, arguments=[keyspace, list(tables)])

    def snapshot(self, tag: str, tables: Sequence[str]) -> None:
        """Take a snapshot of tables, without flushing."""
        operation = "takeSnapshot(java.lang.String,java.util.Map,[Ljava.lang.String;)"
        arguments: list[Any] = [tag, {"skipFlush": "true"}, list(tables)]
        self.jolokia(type="exec", operation=operation, arguments=arguments)

    def clear_snapshots(self, tag: str = "", *keyspaces: str) -> None:
        """Remove a snapshot or, without a tag, all, Cassandra's own of truncated tables too."""
        operation = "clearSnapshot(java.lang.String,[Ljava.lang.String;)"
        self.jolokia(type="exec", operation=operation, arguments=[tag, list(keyspaces)])

    def drain_and_stop(self) -> None:
        """End it as an operator does; nothing is replayed afterwards."""
        self.jolokia(type="exec", operation="drain()")
        self.stop()

    def replace(self) -> None:
        """Start it as the node that takes its own place, after all its disks were lost.

        It gets the tokens and the schema, but no rows: ``auto_bootstrap`` is false.
        """
        assert not self.process.alive()
        others = ("commitlog", "hints", "saved_caches", "cdc_raw")
        for directory in (*self.data_directories, *(self.home / name for name in others)):
            shutil.rmtree(directory, ignore_errors=True)
        for directory in self.data_directories:
            directory.mkdir()
        java_options = len(self._argv) - 3  # before -cp
        self.process = self._process(
            [
                *self._argv[:java_options],
                f"-Dcassandra.replace_address_first_boot={self.address}",
                "-Dcassandra.allow_unsafe_replace=true",
                *self._argv[java_options:],
            ]
        )
        self.start()

    def live_nodes(self) -> int:
        """Return how many nodes this one sees alive; 0 while it does not answer."""
        try:
            return len(self.jolokia(type="read", attribute="LiveNodes"))
        except (OSError, RuntimeError):
            return 0

    def start(self) -> None:
        self.process.start()

    def wait_up(self) -> None:
        """Wait until CQL is served."""

        def ready() -> bool:
            self.process.check_alive()
            return listens(self.client_address, self.native_port)

        what = f"CQL on {self.client_address}"
        wait_for(ready, deadline=_START_DEADLINE, what=what, interval=0.3)

    def stop(self) -> None:
        self.process.stop(30)

    def kill(self) -> None:
        """Kill it, after its schema is on disk, where Cassandra has it after each DDL statement."""
        if self.process.alive():
            with contextlib.suppress(OSError, RuntimeError):
                self.flush("system_schema")
        self.process.kill()


class CassandraCluster:
    """Nodes that are all seeds, started together.

    ``options`` are the JVM's; ``jolokia`` is added to the agent's options. With ``credentials``
    (name and password of a role), clients have to log in.
    """

    def __init__(
        self,
        directory: Path,
        shape: Shape = _USUAL,
        *,
        block: Addresses,
        yaml_extra: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        jolokia: str = "",
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.name, self.version, self.credentials = shape.name, shape.version, credentials
        if credentials:
            yaml_extra = {**_WITH_LOGIN, **(yaml_extra or {})}
        distribution = cassandra_distribution(shape.version)
        addresses = [block.address(shape.first_host + i) for i in range(shape.nodes)]
        classes = _class_archive(distribution)
        self.nodes = []
        for number, address in enumerate(addresses, 1):
            home = directory / f"node{number}"
            configuration = flags.configuration(home, shape, number, addresses, yaml_extra or {})
            node = CassandraNode(home, distribution, address, options, jolokia, shape, classes)
            _lay_out(home, configuration, node.data_directories, shape, number)
            self.nodes.append(node)

    def start(self) -> None:
        """Start all nodes that do not run, and wait until all see all."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_up()
        self.wait_whole()

    def wait_whole(self) -> None:
        """Wait until each node sees each."""
        count = len(self.nodes)
        wait_for(
            lambda: all(n.live_nodes() == count for n in self.nodes),
            deadline=_START_DEADLINE,
            what=f"a ring of {count}",
            interval=0.3,
        )

    def disable_autocompaction(self, *keyspaces: str) -> None:
        """Let the SSTables of some keyspaces be; forgotten when a node restarts."""
        operation = "disableAutoCompaction(java.lang.String,[Ljava.lang.String;)"
        for node in self.nodes:
            for keyspace in keyspaces:
                node.jolokia(type="exec", operation=operation, arguments=[keyspace, []])

    def heal(self) -> None:
        """Start whatever does not run."""
        for node in self.nodes:
            node.process.resume()
        if any(not node.process.alive() for node in self.nodes):
            self.start()

    def stop(self) -> None:
        # Nothing on these disks is needed afterwards.
        for node in self.nodes:
            node.process.kill()
        stop_all(node.process for node in self.nodes)
        for node in self.nodes:
            for directory in node.data_directories:
                if node.home not in directory.parents:
                    shutil.rmtree(directory, ignore_errors=True)

    @contextmanager
    def session(
        self, node: int = 0, credentials: tuple[str, str] | None = None
    ) -> Iterator[Session]:
        """Yield a CQL session pinned to one node (counted from 0)."""
        address = self.nodes[node].client_address
        login = credentials or self.credentials
        profile = ExecutionProfile(
            load_balancing_policy=WhiteListRoundRobinPolicy([address]), request_timeout=120
        )
        cluster = Cluster(
            [address],
            auth_provider=PlainTextAuthProvider(*login) if login else None,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            protocol_version=4,  # the driver's checksums of version 5 fail now and then
            connection_class=AsyncioConnection,
            # On a busy machine a statement may take longer than heartbeats are waited for.
            idle_heartbeat_interval=0,
            connect_timeout=20,
            control_connection_timeout=20,
            max_schema_agreement_wait=120,  # after each DDL; on a busy machine it takes a while
        )
        try:
            yield cluster.connect()
        finally:
            cluster.shutdown()


def _class_archive(distribution: Distribution) -> list[str]:
    """Return the option that lets a JVM map Cassandra's classes instead of parsing them.

    It saves a quarter of the processor time of a start.
    """
    if not archives_classes() or distribution.version.startswith("4."):  # 4 demands an agent
        return []
    make = partial(_archive_classes, distribution)
    directory = once(f"classes-{distribution.version}", make)
    return [f"-XX:SharedArchiveFile={directory / _CLASSES}"]


def _archive_classes(distribution: Distribution, target: Path) -> None:
    """Run a node until it serves clients, and archive the classes that it has loaded.

    The node has no agents: a JVM with agents writes no archive, but it reads one.
    """
    block, shape = LoopbackBlock(), Shape(nodes=1, version=distribution.version)
    address = block.address(1)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "node1"
        write = f"-XX:ArchiveClassesAtExit={target / _CLASSES}"
        node = CassandraNode(home, distribution, address, [write, "-Xlog:cds=off"], "", shape)
        configuration = flags.configuration(home, shape, 1, [address], {})
        _lay_out(home, configuration, node.data_directories, shape, 1)
        agentless = [word for word in node._argv if not word.startswith("-javaagent:")]
        node.process = node._process(agentless)
        node.start()
        node.wait_up()
        node.stop()
    block.release()


def _lay_out(
    home: Path, configuration: Mapping[str, Any], data: Sequence[Path], shape: Shape, number: int
) -> None:
    conf = home / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    for directory in (*data, home / "log"):
        directory.mkdir(exist_ok=True)
    (conf / "cassandra.yaml").write_text(json.dumps(configuration, indent=1))
    (conf / "cassandra-rackdc.properties").write_text(
        f"dc={shape.dc(number)}\nrack={shape.rack(number)}\n"
    )
    (conf / "logback.xml").write_text(flags.LOGBACK.format(target="System.out", level="INFO"))
    (conf / "logback-tools.xml").write_text(flags.LOGBACK.format(target="System.err", level="WARN"))
    os.chmod(conf, 0o755)

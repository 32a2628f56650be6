# SPDX-License-Identifier: Apache-2.0
"""A deployment whose restores can be held at each of their steps, and what it restores."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.functional.depot import all_rows, run
from tests.functional.sample import STILL, make_keyspace
from tests.lab.deployment import Deployment, Outcome
from tests.lab.fault_proxy import Rule
from tests.lab.gate import Gate
from tests.lab.keystone import Keystone
from tests.lab.processes import wait_for
from tests.lab.reader import Reader
from tests.lab.rig import Rig, keystone_options

KEYSPACE = "rescue"
PREFIX = "restores"  # what tests forge does not come into the other tests' way
TABLES = tuple(f"{KEYSPACE}.{name}" for name in "abc")
VICTIM = 1  # the number of the node that things happen to
_ROWS, _WIDTH = 100, 15_000  # more than one pack for each node


@dataclass(frozen=True)
class Saved:
    """A backup and the rows that it has."""

    id: str
    rows: dict[str, Sequence[str]]


@dataclass(frozen=True)
class Bench:
    """``cql`` and ``jolokia`` are the gates between the workers and their nodes."""

    rig: Rig
    cql: Sequence[Gate]
    jolokia: Mapping[int, Gate]
    _rules: dict[str, Rule] = field(default_factory=dict)

    @property
    def deployment(self) -> Deployment:
        return self.rig.deployment

    # Data.

    def make_tables(self) -> None:
        """Make three tables, with rows that fill several packs of each node."""
        make_keyspace(self.rig, KEYSPACE)
        for table in TABLES:
            self.rig.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, text text) {STILL}")
            self.write(table, range(_ROWS), _WIDTH)
        self.rig.flush(KEYSPACE)

    def write(self, table: str, rows: range, width: int = 40) -> None:
        """Write rows with text that no other row has."""
        with self.rig.cluster.session() as session:
            insert = session.prepare(f"INSERT INTO {table} (id, text) VALUES (?, ?)")
            pending = [
                session.execute_async(insert, (i, secrets.token_hex(width // 2))) for i in rows
            ]
            for future in pending:
                future.result()

    def spoil(self) -> None:
        """Change, delete and add rows of each table, but drop the last one."""
        *tables, last = TABLES
        self.rig.execute(f"DROP TABLE {last}")
        for table in tables:
            self.write(table, range(10))
            self.write(table, range(_ROWS, _ROWS + 10))
            self.rig.execute(*(f"DELETE FROM {table} WHERE id = {i}" for i in range(20, 40)))

    def fingerprint(self) -> dict[str, Sequence[str]]:
        """Return what changes with any write to the tables, in few bytes."""
        return {t: self.query(f"SELECT id, writetime(text) FROM {t}") for t in TABLES}

    def keyspaces(self) -> Sequence[str]:
        """Return the names of all keyspaces."""
        return self.query("SELECT keyspace_name FROM system_schema.keyspaces")

    def query(self, query: str) -> Sequence[str]:
        """Return a query's rows as text."""
        return run(self.rig.cluster, query, 0, "ALL")

    def rows(self, node: int = 0, consistency: str = "ALL") -> dict[str, Sequence[str]]:
        """Return all rows of all tables."""
        return {t: all_rows(self.rig.cluster, t, node, consistency) for t in TABLES}

    # Restores.

    def restore(self, backup: str, *arguments: str) -> Outcome:
        """Run ``restore create --wait``."""
        return self.deployment.manage(
            "restore", "create", backup, "--wait", "--timeout", "280", *arguments
        )

    @contextmanager
    def restoring(self, backup: str, *arguments: str) -> Iterator[Future[Outcome]]:
        """Run a restore in the background; let it go on at the latest at the end."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.restore, backup, *arguments)
            try:
                yield future
            finally:
                self.release()

    def phase(self) -> str:
        """Return the phase of the restore that runs, or nothing."""
        return next((phase for _, phase in self.deployment.running_restores()), "")

    def running(self) -> dict[str, Any]:
        """Return the record of the restore that runs."""
        ((restore, _),) = self.deployment.running_restores()
        record: dict[str, Any] = self.deployment.manage("restore", "show", restore).json
        return record

    # Holding a restore at a step.

    def hold(self, *steps: str, pack: str = "") -> None:
        """Hold the next restore at each of these steps until it is released there.

        Held are: the victim's download (of one pack, if named), the reading of the schema, the
        first TRUNCATE, and the victim's import of the second table.
        """
        host_id = self.deployment.nodes[VICTIM].host_id
        for step in steps:
            if step == "download":
                where = f"{host_id}/packs/{pack[:2]}/{pack}" if pack else f"{host_id}/packs/"
                self._rules[step] = self._hang(step, where)
            elif step == "schema":
                self._rules[step] = self._hang(step, "/schema.cql")
            elif step == "truncate":
                for gate in self.cql:
                    gate.hold(b"TRUNCATE TABLE")
            elif step == "import":
                self.jolokia[VICTIM].hold(f"keyspace={KEYSPACE},table=b".encode())

    def _hang(self, step: str, path: str) -> Rule:
        return self.rig.proxy.hang(
            method="GET", path_contains=path, when=lambda: self.phase() == step
        )

    def wait_held(self, step: str, restore: Future[Outcome]) -> None:
        """Wait until the restore is held at a step."""

        def held() -> int:
            if step in self._rules:
                return self._rules[step].held
            gates = self.cql if step == "truncate" else [self.jolokia[VICTIM]]
            return sum(gate.held for gate in gates)

        wait_for(lambda: held() or restore.done(), deadline=150, what=f"a restore in {step}")
        assert held(), restore.result().err

    def release(self, *steps: str) -> None:
        """Let the restore go on where it is held at these steps, or at all."""
        for step in steps or (*self._rules, "truncate", "import"):
            if step in self._rules:
                self.rig.proxy.release(self._rules.pop(step))
            elif step == "truncate":
                for gate in self.cql:
                    gate.clear()
            elif step == "import":
                self.jolokia[VICTIM].clear()

    # What must be true afterwards.

    def heal(self) -> None:
        """Bring back whatever a test stopped."""
        self.release()
        self.rig.heal()
        wait_for(lambda: not self.deployment.running_restores(), deadline=120, what="no restore")
        self.deployment.remove_kept()
        wait_for(
            lambda: not self.deployment.staged(), deadline=60, what="no staged file on any node"
        )

    @contextmanager
    def running_instead(self, rig: Rig) -> Iterator[None]:
        """Run in the place of the rig's own deployment: a node has one worker."""
        rig.heal()
        rig.deployment.stop()
        try:
            self.deployment.start()
            yield
        finally:
            self.release()
            self.deployment.stop()
            rig.deployment.start()


@contextmanager
def make_bench(rig: Rig, keystone: Keystone, directory: Path) -> Iterator[Bench]:
    """Lay out a deployment on the rig's cluster; not started."""
    cql = [Gate(n.address, (n.address, n.native_port)) for n in rig.cluster.nodes]
    jolokia = {i: Gate(n.address, (n.address, 8778)) for i, n in enumerate(rig.cluster.nodes) if i}
    deployment = Deployment(
        directory,
        {
            "DEFAULT": {"transport_url": rig.rabbitmq.add_virtual_host(directory.name)},
            "storage": {"driver": "swift", "prefix": PREFIX, "retry_deadline": 20},
            "swift": {**keystone_options(keystone, "ProxyRegion"), "read_timeout": 120},
            "conductor": {"outage_deadline": 120},
            "worker": {"pack_size": 1024 * 1024, "heartbeat_interval": 0.5},
        },
        rig.cluster.nodes,
    )
    for number, gate in enumerate(cql):
        extra: dict[str, Any] = {"cassandra": {"native_port": gate.port}}
        if number in jolokia:
            there = jolokia[number]
            extra["jolokia"] = {"url": f"http://{there.address}:{there.port}/jolokia"}
        deployment.workers[number] = deployment.worker(number, extra=extra)
    reader = Reader(rig.reader.store, PREFIX, rig.cluster.name)
    try:
        yield Bench(replace(rig, deployment=deployment, reader=reader), cql, jolokia)
    finally:
        for gate in (*cql, *jolokia.values()):
            gate.stop()

# SPDX-License-Identifier: Apache-2.0
"""Everything together: three Cassandra nodes, RabbitMQ, Swift with Keystone, the service."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cassandra.concurrent import execute_concurrent

from tests.lab.cassandra import CassandraCluster
from tests.lab.deployment import Deployment, Outcome
from tests.lab.fault_proxy import FaultProxy
from tests.lab.keystone import Keystone
from tests.lab.processes import wait_for
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.reader import Reader, Store
from tests.lab.swift import Swift

PREFIX = "magnetodb-backup"


def keystone_options(keystone: Keystone, region: str = "RegionOne") -> dict[str, str]:
    """Return group ``[swift]`` for the user demo."""
    return {
        "auth_type": "password",
        "auth_url": keystone.auth_url,
        "username": "demo",
        "password": "demopass",
        "project_name": "demo",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "region_name": region,
    }


def demo_store(keystone: Keystone, swift: Swift) -> Store:
    """Authenticate as demo, by nothing but HTTP."""
    user = {"name": "demo", "domain": {"id": "default"}, "password": "demopass"}
    scope = {"project": {"name": "demo", "domain": {"id": "default"}}}
    identity = {"methods": ["password"], "password": {"user": user}}
    request = urllib.request.Request(
        f"{keystone.auth_url}/auth/tokens",
        json.dumps({"auth": {"identity": identity, "scope": scope}}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        token = answer.headers["X-Subject-Token"]
        project = json.load(answer)["token"]["project"]["id"]
    return Store(f"http://{swift.address}:{swift.port}/v1/KEY_{project}", token)


@dataclass(frozen=True)
class Rig:
    """The parts, running."""

    cluster: CassandraCluster
    deployment: Deployment
    reader: Reader
    proxy: FaultProxy
    swift: Swift
    rabbitmq: RabbitMQ

    def execute(self, *statements: str, node: int = 0) -> None:
        """Run CQL statements."""
        with self.cluster.session(node) as session:
            for statement in statements:
                session.execute(statement)

    def write(self, *statements: str) -> None:
        """Run CQL statements that do not depend on each other, many at a time."""
        with self.cluster.session() as session:
            execute_concurrent(session, [(s, ()) for s in statements], concurrency=40)

    def insert(self, table: str, rows: range, width: int = 100) -> None:
        """Insert rows ``(id, text)`` of one width."""
        with self.cluster.session() as session:
            insert = session.prepare(f"INSERT INTO {table} (id, text) VALUES (?, ?)")
            pending = [session.execute_async(insert, (i, f"{i:0{width}d}")) for i in rows]
            for future in pending:
                future.result()

    def insert_new(self, table: str) -> None:
        """Insert rows with text that no earlier backup has, and flush."""
        with self.cluster.session() as session:
            for i in range(100):
                session.execute(
                    f"INSERT INTO {table} (id, text) VALUES (%s, %s)", (i, secrets.token_hex(50))
                )
        self.flush(table.split(".")[0])

    def heal(self) -> None:
        """Bring everything back that a test stopped."""
        self.proxy.clear()
        self.swift.heal()
        self.rabbitmq.heal()
        self.cluster.heal()
        self.deployment.heal()

    def flush(self, keyspace: str, *tables: str) -> None:
        for node in self.cluster.nodes:
            node.flush(keyspace, *tables)

    def hard_links(self, tag: str, tables: list[str]) -> dict[tuple[str, int, str], bytes]:
        """Take a snapshot of our own and return what it holds, keyed as the reader does."""
        found = {}
        for node in self.cluster.nodes:
            node.snapshot(tag, tables)
            host_id = node.host_id
            for number, data in enumerate(node.data_directories):
                for path in data.glob(f"*/*/snapshots/{tag}/**/*"):
                    if path.is_file():
                        keyspace, table, _, _, *rest = path.relative_to(data).parts
                        key = (host_id, number, "/".join([keyspace, table, *rest]))
                        found[key] = path.read_bytes()
            node.clear_snapshots(tag)
        return found

    def created(self, *arguments: str) -> dict[str, Any]:
        """Make a backup that must succeed; return its record."""
        outcome = self.deployment.backup(*arguments)
        assert outcome.code == 0, outcome.err
        record: dict[str, Any] = outcome.json
        assert record["status"] == "CREATED"
        assert self.deployment.snapshots() == []
        return record

    def failed(self, *arguments: str, status: str = "CREATE_FAILED") -> str:
        """Make a backup that must fail; return the error, after no snapshot is left."""
        return self.has_failed(self.deployment.backup(*arguments), status)

    def has_failed(self, outcome: Outcome, status: str = "CREATE_FAILED") -> str:
        assert outcome.code == 1, outcome.out + outcome.err
        record = outcome.json
        assert record["status"] == status
        assert record["error"] in outcome.err
        self.wait_clean()
        return str(record["error"])

    def wait_clean(self) -> None:
        wait_for(
            lambda: self.deployment.snapshots() == [], deadline=60, what="no snapshot on any node"
        )

    @contextmanager
    def held(self, *arguments: str, at: str, method: str = "PUT") -> Iterator[Future[Outcome]]:
        """Begin a backup and hold it where it asks Swift for a path with ``at`` in it.

        Who uses this lets it go on by ``proxy.clear()``, at the latest the end of the block does.
        """
        self.proxy.hang(method=method, path_contains=at)
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.deployment.backup, *arguments)
            try:
                wait_for(
                    lambda: self.proxy.held or future.done(),
                    deadline=90,
                    what=f"a {method} of {at}",
                )
                assert self.proxy.held, future.result().err
                yield future
            finally:
                self.proxy.clear()

# SPDX-License-Identifier: Apache-2.0
"""Workers that are simulated in this process: real task tables, on the in-memory bus.

Each worker has a queue of its own on the bus and a table of tasks of its own; what they do on a
node takes some seconds of waiting and no work. They share a few threads, because the in-memory bus
lets each server poll in a thread of its own, which a thousand of them would not survive.
"""

from __future__ import annotations

import magnetodb_backup.cmd.threading_backend  # noqa: F401 - before oslo_messaging

# isort: split
import hashlib
import heapq
import itertools
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from oslo_messaging._drivers.impl_fake import FakeIncomingMessage
from oslo_messaging.rpc import dispatcher

from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.domain.ring import NodeReport, RingMember, ring_digest
from magnetodb_backup.messaging.bus import WORKER_TOPIC
from magnetodb_backup.messaging.conductor import ConductorClient
from magnetodb_backup.messaging.worker import WorkerEndpoint
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.names import cluster_container, node_manifest_name
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.kinds import TaskKind, TaskStatus
from magnetodb_backup.worker.tasks import TaskContext, Tasks

CLUSTER, PREFIX = "simulated", "magnetodb-backup"
_TOKENS = 16
_THREADS = 8
_SCHEMA = "CREATE KEYSPACE ks;\n"
# Tasks that one worker does for the whole cluster take no time.
_ALL_NODES = frozenset({TaskKind.PREPARE, TaskKind.SNAPSHOT, TaskKind.UPLOAD, TaskKind.RELEASE})
_TABLES = [{"keyspace": "ks", "table": "t", "id": "0" * 32, "is_view": False}]
_REPLICATION = {"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "3"}


def ring_of(count: int) -> list[RingMember]:
    """Return a ring of so many nodes, with evenly spread tokens."""
    spread = 2**64 // (count * _TOKENS)
    return [
        RingMember(
            host_id=f"{n:08x}-0000-4000-8000-{n:012x}",
            address=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",
            dc="dc1",
            rack=f"r{n % 3}",
            version="5.0.9",
            tokens=tuple(sorted(-(2**63) + spread * (n + turn * count) for turn in range(_TOKENS))),
            schema_version="schema-1",
        )
        for n in range(count)
    ]


class Later:
    """Runs functions after a while in a few threads: the time that work on a node takes."""

    def __init__(self, threads: int) -> None:
        self._condition = threading.Condition()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def after(self, seconds: float, run: Callable[[], None]) -> None:
        """Run ``run`` after so many seconds."""
        with self._condition:
            heapq.heappush(self._waiting, (time.monotonic() + seconds, next(self._numbers), run))
            self._condition.notify()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._waiting or self._waiting[0][0] > time.monotonic():
                    left = self._waiting[0][0] - time.monotonic() if self._waiting else None
                    self._condition.wait(left)
                _, _, run = heapq.heappop(self._waiting)
            run()


class _Queue(list[Any]):
    """A worker's queue on the in-memory bus; its messages wake the threads that serve all."""

    def __init__(self, worker_id: str, arrived: queue.SimpleQueue[tuple[str, Any]]) -> None:
        super().__init__()
        self._worker_id, self._arrived = worker_id, arrived

    def append(self, message: Any) -> None:
        """Take a message."""
        self._arrived.put((self._worker_id, message))


class SimulatedWorkers:
    """So many workers; ``starts`` has the moments at which each step's tasks began, monotonic."""

    def __init__(self, transport: Any, store: StorageDriver, count: int, seconds: float) -> None:
        self.ring = ring_of(count)
        self._ring_sha256 = ring_digest(self.ring)
        self._store, self._seconds = store, seconds
        self._later = Later(_THREADS)
        self._conductor = ConductorClient(transport)
        self.starts: defaultdict[str, list[float]] = defaultdict(list)
        self.ends: defaultdict[str, list[float]] = defaultdict(list)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._arrived: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._dispatchers = {}
        exchange = transport._driver._exchange_manager.get_exchange(None)
        for number, member in enumerate(self.ring):
            worker_id = f"worker-{number}"
            tasks = Tasks(_Work(self, member), self._spawn, self._announcer(worker_id))
            self._dispatchers[worker_id] = dispatcher.RPCDispatcher(
                [WorkerEndpoint(tasks)], None, dispatcher.ExplicitRPCAccessPolicy
            )
            exchange._server_queues[WORKER_TOPIC, worker_id] = _Queue(worker_id, self._arrived)
        for _ in range(_THREADS):
            threading.Thread(target=self._serve, daemon=True).start()

    def reports(self) -> list[NodeReport]:
        """Return what the workers report."""
        return [
            NodeReport(f"worker-{n}", CLUSTER, f"machine-{n}", member, (), "jolokia")
            for n, member in enumerate(self.ring)
        ]

    def _serve(self) -> None:
        while True:
            worker_id, message = self._arrived.get()
            incoming = FakeIncomingMessage(*message)
            with self._lock:
                self.calls[incoming.message["method"]] += 1
            try:
                incoming.reply(self._dispatchers[worker_id].dispatch(incoming))
            except Exception as error:  # noqa: BLE001 - the caller gets it
                incoming.reply(failure=(type(error), error, None))

    def _announcer(self, worker_id: str) -> Callable[[str, str, TaskStatus], None]:
        def announce(conductor: str, task_id: str, status: TaskStatus) -> None:
            self._conductor.task_ended(conductor, worker_id, task_id, status)

        return announce

    def _spawn(self, run: Callable[[], None], task_id: str) -> None:
        """Begin a task: the name of its step is in its ID."""
        step = task_id.split(":")[2]
        with self._lock:
            self.starts[step].append(time.monotonic())
        everywhere = step in {kind.value for kind in _ALL_NODES}

        def end() -> None:
            with self._lock:
                self.ends[step].append(time.monotonic())
            run()

        self._later.after(self._seconds if everywhere else 0.0, end)

    def perform(
        self, member: RingMember, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return what a node returns for a task."""
        now = datetime.now(timezone.utc).isoformat()
        if kind is TaskKind.DESCRIBE:
            return {
                "member": member.as_json(),
                "ring": [m.as_json() for m in self.ring],
                "data_directories": ["/data"],
                "mode": "NORMAL",
            }
        if kind is TaskKind.RESOLVE:
            keyspace = {"name": "ks", "replication": _REPLICATION, "system": False}
            return {"selection": {"keyspaces": [keyspace], "tables": _TABLES}}
        if kind is TaskKind.SCHEMA:
            return self._schema(arguments)
        seen = {"ring_sha256": self._ring_sha256}
        if kind is TaskKind.SNAPSHOT:
            return {"started_at": now, "finished_at": now, "files": 0, "bytes": 0, **seen}
        if kind is TaskKind.UPLOAD:
            return self._upload(member, str(arguments["backup_id"]))
        return {"prepared_at": now, **seen} if kind is TaskKind.PREPARE else {}

    def _schema(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        result: dict[str, Any] = {
            "sha256": hashlib.sha256(_SCHEMA.encode()).hexdigest(),
            "version": "schema-1",
            "ring": sorted([m.host_id, *map(str, m.tokens)] for m in self.ring),
        }
        if arguments.get("store"):
            repository = ClusterRepository(self._store, PREFIX, CLUSTER)
            repository.ensure()
            stored = repository.put_schema(str(arguments["backup_id"]), _SCHEMA)
            result["schema"] = {"name": stored.name, "size": stored.size, "sha256": stored.sha256}
        return result

    def _upload(self, member: RingMember, backup_id: str) -> Mapping[str, Any]:
        body = member.host_id.encode()
        name = node_manifest_name(backup_id, member.host_id)
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        container = cluster_container(PREFIX, CLUSTER)
        self._store.put(container, name, body, size=len(body), md5=md5)
        digest = hashlib.sha256(body).hexdigest()
        return {
            "manifest": {"name": name, "size": len(body), "sha256": digest},
            "files": 0,
            "bytes": 0,
            "corrupt_files": [],
            "progress": vars(Progress()),
            "member": member.as_json(),
            "replaced": {},
        }


class _Work:
    """The work of one simulated worker."""

    def __init__(self, workers: SimulatedWorkers, member: RingMember) -> None:
        self._workers, self._member = workers, member

    def perform(
        self, kind: TaskKind, arguments: Mapping[str, Any], context: TaskContext
    ) -> Mapping[str, Any]:
        """Return the result of a task."""
        return self._workers.perform(self._member, kind, arguments)

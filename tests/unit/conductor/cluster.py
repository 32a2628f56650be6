# SPDX-License-Identifier: Apache-2.0
"""A cluster of nodes that consist of directories, with their workers, and a conductor's runner."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event

from magnetodb_backup.conductor.definition import JobDefinition, RunnerSettings
from magnetodb_backup.conductor.registry import DEFINITIONS
from magnetodb_backup.conductor.runner import JobRunner
from magnetodb_backup.database import Database, connect
from magnetodb_backup.domain.backup.records import Backup, BackupRequest, NodeBackup
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.jobs import Job, JobKind, Subject
from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import DatabaseUnavailable
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.names import node_container, pack_name
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.tasks.kinds import TaskKind
from tests.lab.catalogue import Clock, adopt, job_of
from tests.unit.conductor.in_process import InProcessWorkers
from tests.unit.repository.stores import Store
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import FakeNode
from tests.unit.worker.fake_scratch import FakeScratch
from tests.unit.worker.working import PREFIX, make_work


class Cluster:
    """Nodes 1 to ``size``, each with a worker ``worker-<number>`` that has reported."""

    def __init__(self, root: Path, database_file: Path, size: int = 3) -> None:
        self.clock = Clock()
        self.database: Database = connect(f"sqlite:///{database_file}", self.clock)
        self.store = Store()
        self.nodes = {n: FakeNode(root, n) for n in range(1, size + 1)}
        self.rows: dict[TableName, list[tuple[int, str]]] = {}
        for node in self.nodes.values():
            node.rows = self.rows
            node.members = tuple(other.me for other in self.nodes.values())
            node.ring = tuple(self.nodes.values())
        self._root = root
        self.scratch = {n: FakeScratch(root / f"scratch{n}") for n in self.nodes}
        self.workers = InProcessWorkers({f"worker-{n}": self.work(n) for n in self.nodes})
        self.repository = ClusterRepository(self.store, PREFIX, CLUSTER)
        self.stopping = threading.Event()
        for number in self.nodes:
            self.report(number)

    def work(self, number: int, **settings: Any) -> Any:
        """Return the work of a node's worker, as a new process has it."""
        state_dir = self._root / f"state{number}"
        scratch = self.scratch[number]
        return make_work(self.nodes[number], self.store, state_dir, scratch, **settings)

    def report(self, number: int, **values: Any) -> None:
        """Let a worker report now."""
        node = self.nodes[number]
        report = {
            "worker_id": f"worker-{number}",
            "cluster": CLUSTER,
            "hostname": f"machine-{number}",
            "member": node.me,
            "directories": (),
            "node_control": "nodetool",
            **values,
        }
        self.database.nodes.report(NodeReport(**report))

    def fall_silent(self, *numbers: int) -> None:
        """Let time pass in which all workers but these report, and nobody reaches these."""
        self.clock.now += 1000
        for number in self.nodes:
            if number in numbers:
                self.workers.down.add(f"worker-{number}")
            else:
                self.report(number)

    def lose(self, number: int, kind: TaskKind) -> None:
        """Let nobody reach a worker from the moment when it begins a task of this kind."""

        def before_start(worker_id: str, started: TaskKind) -> None:
            if started is kind and worker_id == f"worker-{number}":
                self.workers.down.add(worker_id)

        self.workers.before_start = before_start

    def runner(
        self, definitions: Iterable[JobDefinition] = DEFINITIONS, **settings: Any
    ) -> JobRunner:
        """Return a conductor's runner of these kinds of jobs; times are short."""
        values: dict[str, Any] = {
            "poll_interval": 0.01,
            "worker_timeout": 0.05,
            "outage_deadline": 10.0,
            "rounds": 3,
            "stall_deadline": 60.0,
            **settings,
        }
        return JobRunner(
            self.database,
            self.workers,
            lambda: self.store,
            RunnerSettings(prefix=PREFIX, **values),
            self.stopping,
            definitions,
        )

    def request(self, **values: Any) -> Backup:
        """Record a request for a backup."""
        request = {"scope": {"type": "keyspaces", "keyspaces": ["ks"]}, **values}
        return self.database.backups.create(BackupRequest(**request), str(uuid.uuid4()), CLUSTER)

    def run(
        self,
        backup: Backup,
        kind: str = JobKind.BACKUP,
        *,
        owner: str = "conductor-1",
        still_owner: Callable[[], bool] = lambda: True,
        **settings: Any,
    ) -> Backup:
        """Run the backup's newest job of a kind in this thread; return the backup as it is then."""
        claimed = adopt(self.database, self.job(backup, kind).id, owner)
        self.runner(**settings).run(*claimed, still_owner)
        return self.database.backups.get(backup.id)

    def until(self, backup: Backup, step: Phase | str) -> Callable[[], bool]:
        """Return what holds until the step has a result: a conductor that dies after it."""
        name = step.value if isinstance(step, Phase) else step
        return lambda: name not in self.steps(backup)

    def backup(self, **request: Any) -> Backup:
        return self.run(self.request(**request))

    def verify(
        self, backup: Backup, *rungs: str, read_data: bool = True, **settings: Any
    ) -> Mapping[str, Any]:
        """Run a verification; return its report."""
        parameters: dict[str, Any] = {"read_data": read_data}
        if rungs:  # requests of older releases have none
            parameters["rungs"] = list(rungs)
        self.database.jobs.create(
            JobKind.VERIFICATION, Subject.backup(backup.id), CLUSTER, parameters
        )
        self.run(backup, JobKind.VERIFICATION, **settings)
        return self.job(backup, JobKind.VERIFICATION).result or {}

    @contextmanager
    def database_away(self) -> Iterator[list[int]]:
        """Let every statement fail as if the server had gone; the list grows with the failures."""
        failures: list[int] = []

        def fail(*_: object) -> None:
            failures.append(1)
            raise DatabaseUnavailable("the database does not answer")

        engine = self.database._engine
        event.listen(engine, "before_cursor_execute", fail)
        yield failures
        event.remove(engine, "before_cursor_execute", fail)

    def job(self, backup: Backup, kind: str = JobKind.BACKUP) -> Job:
        return job_of(self.database, backup.id, kind)

    def steps(self, backup: Backup, round_: int = 1) -> set[str]:
        """Return the names of the steps that have a result."""
        return set(self.database.jobs.step_results(self.job(backup).id, round_))

    def node_backup(self, backup: Backup, number: int) -> NodeBackup:
        nodes = {n.host_id: n for n in self.database.backups.node_backups(backup.id)}
        return nodes[self.nodes[number].me.host_id]

    def packs(self, number: int) -> NodeRepository:
        host_id = self.nodes[number].me.host_id
        return NodeRepository(self.store, PREFIX, CLUSTER, host_id)

    def damage_pack(self, number: int, pack: str, change: Callable[[bytes], bytes]) -> None:
        """Change a pack of a node behind everybody's back."""
        container = node_container(PREFIX, CLUSTER, self.nodes[number].me.host_id)
        self.store.change(container, pack_name(pack), change)

    def lose_pack(self, number: int, pack: str) -> None:
        container = node_container(PREFIX, CLUSTER, self.nodes[number].me.host_id)
        self.store.delete(container, pack_name(pack))

    def snapshots(self) -> list[Path]:
        """Return all snapshots of ours that lie on any node."""
        return [path for node in self.nodes.values() for path in node.snapshots("mdbb-*")]

    def did(self, what: str) -> list[int]:
        """Return how often each node was told something that begins like this."""
        return [sum(x.startswith(what) for x in node.log) for node in self.nodes.values()]

    def restored(self, backup: Backup, number: int) -> dict[tuple[str, str], bytes]:
        """Return a node's files as the store has them, by table and name."""
        host_id, packs = self.nodes[number].me.host_id, self.packs(number)
        return {
            (entry.table, entry.name): b"".join(
                piece
                for e in entry.extents
                for piece in packs.read_pack(e.pack, e.offset, e.length)
            )
            for entry in self.repository.node_manifest(backup.id, host_id)
        }

    def contents(self, number: int) -> dict[tuple[str, str], bytes]:
        """Return what ``restored`` has to give."""
        node = self.nodes[number]
        return {
            (each.name.table, path.name): path.read_bytes()
            for each in node.tables
            for directory in range(len(node.data.paths))
            for path in node.data.table_directory(directory, each).iterdir()
            if path.is_file()
        }

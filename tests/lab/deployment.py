# SPDX-License-Identifier: Apache-2.0
"""The service itself, as operators run it: a conductor, an API, a worker for each node."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, text

from magnetodb_backup.database import Database, connect
from magnetodb_backup.domain.backup.records import LIVE_WITHIN
from magnetodb_backup.domain.backup.views import node_view
from tests.lab import forked
from tests.lab.cassandra import CassandraNode
from tests.lab.processes import ManagedProcess, stop_all, wait_for

Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """How a command ended; ``json`` is its output, parsed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def write_configuration(path: Path, *layers: Options) -> Path:
    """Write a configuration file, private to its owner; later layers win."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for group, values in layer.items():
            merged.setdefault(group, {}).update(values)
    lines = []
    for group, values in merged.items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in values.items() if value is not None]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")
    return path


class Deployment:
    """Processes with one configuration file each, below ``directory``.

    ``plugins`` is a directory of installed distributions that all of them see. With ``nodetool``
    the first node is controlled by it, which takes a JVM for each command; otherwise by Jolokia.
    Without ``with_loader`` there is no sstableloader. ``database`` is the URL by which this
    process itself reaches the service's database, of SQLite below ``directory`` by default.
    """

    def __init__(
        self,
        directory: Path,
        common: Options,
        nodes: list[CassandraNode],
        plugins: Path | None = None,
        *,
        nodetool: bool = False,
        with_loader: bool = True,
        database: str = "",
    ) -> None:
        self.directory, self.nodes, self._nodetool = directory, nodes, nodetool
        self._url = database or f"sqlite:///{directory / 'catalogue.sqlite'}"
        self._with_loader = with_loader
        self._environment = {"PYTHONPATH": str(plugins)} if plugins else {}
        timing: Options = {
            "worker": {"heartbeat_interval": 1},
            "conductor": {
                "poll_interval": 0.2,
                "worker_timeout": 5,
                "outage_deadline": 20,
                "ownership_timeout": 5,
            },
            "storage": {"retry_deadline": 15},
            "swift": {"read_timeout": 10},
            "oslo_messaging_rabbit": {"rabbit_retry_interval": 1, "rabbit_retry_backoff": 0},
        }
        self.common: list[Options] = [
            timing,
            {
                "DEFAULT": {"state_dir": directory / "conductor", "debug": "false"},
                "database": {"connection": self._url},
            },
            common,
        ]
        self.config = write_configuration(directory / "service.conf", *self.common)
        self.conductor = self._process("conductor", "conductor", self.config)
        self.workers = [self.worker(i) for i in range(len(nodes))]

    def worker(self, number: int, suffix: str = "", extra: Options | None = None) -> ManagedProcess:
        """Return the worker of a node; not started. A suffix gives it a state of its own."""
        node, name = self.nodes[number], f"worker{number}{suffix}"
        control = "nodetool" if self._nodetool and not number else "jolokia"
        config = write_configuration(
            self.directory / f"{name}.conf",
            *self.common,
            {
                "DEFAULT": {"state_dir": self.directory / name},
                "cassandra": {"address": node.client_address, "node_control": control},
                "nodetool": {
                    "command": ",".join(node.nodetool_command()),
                    "port": node.jmx_port,
                    "timeout": 60,
                },
                "jolokia": {"url": node.jolokia_url},
                "scratch": node.scratch_options(),
                "sstableloader": {
                    "command": ",".join(node.sstableloader_command()) if self._with_loader else None
                },
            },
            extra or {},
        )
        return self._process(name, "worker", config)

    def program(self, name: str) -> ManagedProcess:
        """Return another program of the service, such as ``api``; not started."""
        return self._process(name, name, self.config)

    def _process(self, name: str, program: str, config: Path) -> ManagedProcess:
        return forked.ServiceProcess(
            name,
            [forked.installed(f"magnetodb-backup-{program}"), "--config-file", str(config)],
            log=self.directory / f"{name}.log",
            env=self._environment,
        )

    def second_conductor(self, extra: Options | None = None) -> ManagedProcess:
        """Return another conductor of the same service; not started."""
        config = self.config
        if extra is not None:
            path = self.directory / "conductor-second.conf"
            config = write_configuration(path, *self.common, extra)
        return self._process("conductor-second", "conductor", config)

    @contextmanager
    def conductor_with(self, **options: float) -> Iterator[ManagedProcess]:
        """Let a conductor with these options of its group run the jobs meanwhile."""
        self.conductor.stop()
        other = self.second_conductor({"conductor": dict(options)})
        other.start()
        try:
            yield other
        finally:
            other.stop()

    def ended(self, backup_id: str) -> dict[str, Any] | None:
        """Return the record of a backup that is no longer CREATING."""
        query = "SELECT 1 FROM backups WHERE id = :id AND status = 'CREATING'"
        if self._catalogue(query, id=backup_id):
            return None
        record: dict[str, Any] = self.manage("backup", "show", backup_id).json
        return record

    def owners_of_jobs(self) -> list[str]:
        """Return the names of the conductors that run jobs now."""
        return [
            str(r[0]) for r in self._catalogue("SELECT owner FROM jobs WHERE status = 'RUNNING'")
        ]

    def round_of(self, backup_id: str) -> int:
        """Return the last round of a backup's job."""
        query = "SELECT round FROM jobs WHERE subject_id = :id AND kind = 'backup'"
        return int(self._catalogue(query, id=backup_id)[0][0])

    def running_restores(self) -> list[tuple[str, str]]:
        """Return ID and phase of the restores that are RESTORING."""
        rows = self._catalogue("SELECT id, phase FROM restores WHERE status = 'RESTORING'")
        return [(str(id_), str(phase)) for id_, phase in rows]

    def jobs_not_ended(self) -> list[tuple[Any, ...]]:
        """Return kind, status and subject of the jobs that wait or run."""
        return self._catalogue(
            "SELECT kind, status, subject_id FROM jobs WHERE status IN ('PENDING', 'RUNNING')"
        )

    def is_cancelled(self, job: str) -> bool:
        """Tell whether somebody has asked for the end of a job."""
        return bool(
            self._catalogue("SELECT 1 FROM jobs WHERE id = :id AND cancel_requested", id=job)
        )

    def _catalogue(self, query: str, **values: str) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    @cached_property
    def _engine(self) -> Engine:
        return create_engine(self._url, poolclass=NullPool)

    def manage(self, *arguments: str, timeout: float = 300, json: bool = True) -> Outcome:
        """Run magnetodb-backup-manage."""
        form = ["-f", "json"] if json else []
        result = forked.run(
            [
                forked.installed("magnetodb-backup-manage"), "--config-file", str(self.config),
                *arguments, *form,
            ],
            {**os.environ, **self._environment},
            timeout,
        )  # fmt: skip
        return Outcome(result.returncode, result.stdout, result.stderr)

    def backup(self, *arguments: str) -> Outcome:
        """Run ``backup create --wait``."""
        return self.manage("backup", "create", "--wait", "--timeout", "240", *arguments)

    def restore(self, *arguments: str) -> Outcome:
        """Run ``restore create --wait``."""
        return self.manage(
            "restore", "create", "--wait", "--timeout", "600", *arguments, timeout=660
        )

    def start(self, workers: int | None = None) -> None:
        """Start what does not run, and wait until every worker is live, or the first ones."""
        if not self.conductor.alive():
            assert self.manage("db", "sync", json=False).code == 0
        self.conductor.start()
        wanted = self.workers[:workers]
        for worker in wanted:
            worker.start()
        self.wait_live(len(wanted))

    def live_nodes(self) -> list[dict[str, Any]]:
        """Return the live nodes without a problem."""
        return [n for n in self.reported_nodes() if n["live"] and not n["problem"]]

    def reported_nodes(self) -> list[dict[str, Any]]:
        """Return what ``node list`` would, from the catalogue itself."""
        return [node_view(n) for n in self.database.nodes.list(live_within=LIVE_WITHIN)]

    @cached_property
    def database(self) -> Database:
        """The service's database, once ``db sync`` has made it."""
        return connect(self._url)

    def wait_live(self, count: int) -> None:
        """Wait until so many workers have reported from now on, without a problem.

        An earlier report may be of a time before an outage that still keeps a worker from the bus.
        """
        since = datetime.now(timezone.utc)

        def reported() -> bool:
            nodes = self.database.nodes.list(live_within=LIVE_WITHIN)
            fresh = [n for n in nodes if n.live and n.last_seen > since and not n.report.problem]
            return len(fresh) >= count

        wait_for(
            reported,
            deadline=90,
            what=f"{count} live workers\n" + "\n".join(w.tail(5) for w in self.workers),
            interval=0.1,
        )

    def processes(self) -> list[ManagedProcess]:
        return [self.conductor, *self.workers]

    def heal(self) -> None:
        """Bring everything back that a test stopped."""
        for process in self.processes():
            process.resume()
        self.start()
        for node in self.reported_nodes():
            if not node["live"]:  # of a worker that a test had in another's place
                self.database.nodes.forget(node["worker_id"])

    def stop(self) -> None:
        stop_all(self.processes(), grace=20)
        if "database" in self.__dict__:
            self.database.close()

    def kept(self) -> list[Path]:
        """Return the directories with files that restores have fetched."""
        return [path for path in self.staged() if path.name.startswith("fetched-")]

    def remove_kept(self) -> None:
        """Remove what failed and cancelled restores have fetched, as an operator does by hand."""
        for path in self.kept():
            shutil.rmtree(path, ignore_errors=True)

    def staged(self) -> list[Path]:
        """Return what restores have in the data directories of any node."""
        return [
            path
            for node in self.nodes
            for data in node.data_directories
            for path in data.glob(".magnetodb-backup/*")
        ]

    def snapshots(self) -> list[str]:
        """Return the directories of our snapshots that are on any node."""
        return [
            str(path)
            for node in self.nodes
            for data in node.data_directories
            for path in data.glob("*/*/snapshots/mdbb-*")
        ]

# SPDX-License-Identifier: Apache-2.0
"""The command line in this process, on SQLite, with the requests' real recorder."""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from magnetodb_backup.cli.app import ManageApp
from magnetodb_backup.cli.services import Services
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.manifest import BackupManifest, FileEntry
from magnetodb_backup.domain.backup.records import Backup, NodeBackup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobKind
from magnetodb_backup.domain.restore.records import (
    NodeRestore,
    Restore,
    RestoreRequest,
    RestoreStatus,
)
from magnetodb_backup.errors import NotFound
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.repository.stored_backups import StoredBackups
from magnetodb_backup.requests.service import RecordedRequests
from magnetodb_backup.storage.memory import MemoryDriver
from tests.lab.catalogue import job_of, recorded
from tests.lab.deployment import Outcome
from tests.lab.processes import wait_for
from tests.unit.domain.samples import NODE_BACKUP, NODE_RESTORE, REPORT

S = BackupStatus
CLUSTER = REPORT.cluster


@dataclass
class Store:
    """Manifests as they would lie in the store, by backup ID."""

    manifests: dict[str, BackupManifest] = field(default_factory=dict)
    files: dict[str, list[FileEntry]] = field(default_factory=dict)

    def read_backup(self, backup_id: str) -> BackupManifest:
        if backup_id not in self.manifests:
            raise NotFound(f"the store has no manifest of backup {backup_id}")
        return self.manifests[backup_id]

    def node_manifest(self, backup_id: str, host_id: str) -> Iterable[FileEntry]:
        return iter(self.files[host_id])


class Terminal(io.StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Shell:
    """Runs commands; ``woken`` counts how often they woke the conductor.

    ``err`` is the standard error of the command that runs, also for other threads.
    """

    def __init__(self, database: Database) -> None:
        self.database, self.store, self.woken = database, Store(), 0
        self.terminal, self.err = False, io.StringIO()
        self.catalogue = StoredBackups(MemoryDriver(), "backups")
        self.services = Services(
            database=lambda: database,
            unchecked_database=lambda: database,
            requests=lambda: RecordedRequests(
                database, load_scope, self._wake, known_within=60, prefix="p"
            ),
            repository=self._repository,
            catalogue=lambda: self.catalogue,
            poll_interval=0.05,
        )

    def _wake(self) -> None:
        self.woken += 1

    def _repository(self, cluster: str) -> Store:
        assert cluster == CLUSTER
        return self.store

    def __call__(self, *arguments: str, services: Services | None = None) -> Outcome:
        out, self.err = io.StringIO(), Terminal() if self.terminal else io.StringIO()
        with redirect_stdout(out), redirect_stderr(self.err):
            try:
                code = ManageApp(services or self.services).run(list(arguments))
            except SystemExit as error:
                code = int(error.code or 0)
        return Outcome(code, out.getvalue(), self.err.getvalue())

    def wait_told(self, text: str) -> None:
        """Wait until the command that runs has written ``text`` to standard error."""
        wait_for(lambda: text in self.err.getvalue(), deadline=30, what=text, interval=0.02)

    def refused(self, code: int, *arguments: str, services: Services | None = None) -> str:
        """Return the error of a command that must fail: one line, and nothing else."""
        outcome = self(*arguments, services=services)
        assert (outcome.code, outcome.out) == (code, ""), outcome
        assert outcome.err.count("\n") == 1, outcome.err
        assert outcome.err.startswith("error: ")
        return outcome.err.removeprefix("error: ").rstrip("\n")

    def backup(self, status: BackupStatus = S.CREATING, name: str = "") -> Backup:
        """Record a backup of this status; its job is finished unless it is CREATING."""
        return recorded(self.database, CLUSTER, status, name)

    def node_backup(self, backup: Backup, **values: Any) -> NodeBackup:
        """Record one node's share of a backup."""
        node = replace(NODE_BACKUP, backup_id=backup.id, **values)
        self.database.backups.put_node_backup(node)
        return node

    def restore(self, status: RestoreStatus = RestoreStatus.RESTORING) -> Restore:
        """Record a restore of this status, of a backup of its own."""
        request = RestoreRequest(self.backup(S.CREATED).id)
        restores = self.database.restores
        restore = restores.create(request, str(uuid.uuid4()), CLUSTER, CLUSTER)
        return restores.set_status(restore.id, status)

    def node_restore(self, restore_id: str, **values: Any) -> NodeRestore:
        """Record one node's part of a restore."""
        node = replace(NODE_RESTORE, restore_id=restore_id, **values)
        self.database.restores.put_node_restore(node)
        return node

    def job(self, backup_id: str, kind: str = JobKind.BACKUP) -> Job:
        """Return the backup's latest job of a kind."""
        return job_of(self.database, backup_id, kind)


def table(out: str) -> dict[str, str]:
    """Return the values of a table by their fields, the lines of a cell joined."""
    rows = [line.strip("|").split("|", 1) for line in out.splitlines() if line.startswith("|")]
    found: dict[str, str] = {}
    name = ""
    for first, text in rows[1:]:
        if first.strip():
            name = first.strip()
            found[name] = text.strip()
        else:
            found[name] += f"\n{text.strip()}"
    return found


@pytest.fixture
def shell(database: Database) -> Shell:
    return Shell(database)


Meanwhile = Callable[..., None]


@pytest.fixture
def meanwhile(database: Database) -> Iterator[Meanwhile]:
    """Runs what a conductor does while a command waits; its failure is the test's."""
    threads: list[threading.Thread] = []

    def meanwhile(work: Callable[[], None], *, seen: bool = True) -> None:
        if seen:
            database.nodes.conductor_seen("host:1")
        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()

    yield meanwhile
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()

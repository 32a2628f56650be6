# SPDX-License-Identifier: Apache-2.0
"""A conductor stalls in the middle of each step, another one finishes the job, the first resumes.

It is a thread here, and all that it does waits: calls of workers, requests to the store and looks
at the job. In tests/faults it is a process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text

from magnetodb_backup.conductor.definition import RunnerSettings
from magnetodb_backup.conductor.runner import JobRunner
from magnetodb_backup.database import Database, connect
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.domain.restore.records import (
    OFFLINE_PHASES,
    Existing,
    Restore,
    RestorePhase,
    RestoreStatus,
)
from magnetodb_backup.domain.tables import TableName
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.offline import ROLES, STOPPED, Offline
from tests.unit.conductor.restoring import Restoring, T, U
from tests.unit.worker import fake_changes
from tests.unit.worker.working import PREFIX

_TIMEOUT = 0.3  # seconds without a heartbeat; the stalled conductor has none
_SERVERS = ("mariadb", "postgresql")
_DAILY = (Phase.UPLOAD.value, Phase.COMMIT.value, RestorePhase.IMPORT.value)  # on each database
_VIEW = fake_changes.view_text(TableName("ks", "v"), T)
_ONLINE = set(RestorePhase) - OFFLINE_PHASES - {RestorePhase.REPAIR}
# The steps before these do the same as online.
_OFFLINE = OFFLINE_PHASES | {
    *(RestorePhase.TRUNCATE, RestorePhase.VIEWS, RestorePhase.CHECK, RestorePhase.CLEANUP),
}
_TABLES = ("backups", "node_backups", "jobs", "job_steps", "restores", "node_restores")


class Stall:
    """Begins where a step is reached, and ends when the test says so."""

    def __init__(self, reached: Callable[[], bool], late: str = "") -> None:
        self._reached, self._late = reached, late
        self.begun, self.over = threading.Event(), threading.Event()

    def begin_if_reached(self) -> None:
        """Begin if the step is reached; what is being done is still done."""
        if not self.begun.is_set() and self._reached():
            self.begun.set()

    def meet(self) -> None:
        """Wait if the step is reached, or once it was."""
        self.begin_if_reached()
        self.wait()

    def meet_late(self, arguments: tuple[Any, ...]) -> None:
        """Wait if this is the call that is to arrive only after the stall."""
        if self._late and any(str(a).endswith(self._late) for a in arguments):
            self.begun.set()
        self.wait()

    def wait(self) -> None:
        if self.begun.is_set():
            assert self.over.wait(120)


class Through:
    """Another object, each of whose calls returns only when the stall is over."""

    def __init__(self, inner: object, stall: Stall) -> None:
        self._inner, self._stall = inner, stall

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name == "listening" or not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            self._stall.meet_late(arguments if name == "put" else ())
            # The message of a task's end may be faster than the answer to its start.
            self._stall.begin_if_reached()
            result = value(*arguments, **named)
            self._stall.meet()
            return result

        return call


@pytest.fixture
def cluster(tmp_path: Path, database_url: str) -> Iterator[Cluster]:
    """Two nodes, and a catalogue on each kind of database."""
    local = tmp_path / "local.sqlite"
    made = connect(f"sqlite:///{local}")
    made.sync()
    made.close()
    cluster = Cluster(tmp_path, local, size=2)
    cluster.database.close()
    cluster.database = connect(database_url, cluster.clock)
    cluster.database.sync()
    for number in cluster.nodes:
        cluster.report(number)
    yield cluster
    cluster.stopping.set()
    cluster.database.close()


def _everything(database: Database) -> list[tuple[Any, ...]]:
    with database._engine.begin() as connection:
        rows = [(t, *r) for t in _TABLES for r in connection.execute(text(f"SELECT * FROM {t}"))]
    return sorted(rows, key=str)


def _stall_and_adopt(
    cluster: Cluster, job_id: str, reached: Callable[[], bool], late: str = ""
) -> None:
    """Run the job by a conductor that stalls where ``reached`` is true, and by its adopter.

    Nothing that the first does when it resumes changes the database, the store or the nodes.
    With ``late`` it stalls instead before it puts an object whose name ends so: this one arrives.
    """
    database, stall = cluster.database, Stall(reached, late)
    settings = RunnerSettings(
        prefix=PREFIX,
        poll_interval=0.01,
        worker_timeout=0.05,
        outage_deadline=10,
        rounds=3,
        stall_deadline=60,
    )
    stalling = JobRunner(
        database,
        cast(Any, Through(cluster.workers, stall)),
        lambda: cast(Any, Through(cluster.store, stall)),
        settings,
        threading.Event(),
    )

    def owns() -> bool:
        stall.wait()
        return True  # as of its last heartbeat, before it stalled

    first = database.jobs.claim(job_id, "conductor-1", timeout=_TIMEOUT, exclusive=True)
    assert first is not None
    with ThreadPoolExecutor(1) as pool:
        stalled = pool.submit(stalling.run, *first, owns)
        try:
            wait_for(
                lambda: stall.begun.is_set() or stalled.done(),
                deadline=60, what="the step", interval=0.01,
            )  # fmt: skip
            assert stall.begun.is_set(), stalled.result()
            second = wait_for(
                lambda: database.jobs.claim(job_id, "2", timeout=_TIMEOUT, exclusive=True),
                deadline=30, what="the adoption", interval=0.05,
            )  # fmt: skip
            cluster.runner().run(*second, lambda: True)
            ended = database.jobs.get(job_id)
            assert (ended.status, ended.owner) == (JobStatus.DONE, "2")
            before, puts = _everything(database), len(cluster.store.puts)
            logs = [list(node.log) for node in cluster.nodes.values()]
        finally:
            stall.over.set()
        stalled.result(60)
    assert _everything(database) == before
    assert len(cluster.store.puts) == puts + bool(late)
    assert [list(node.log) for node in cluster.nodes.values()] == logs
    assert cluster.workers.cancelled == []


def _cases(phases: Iterable[str]) -> list[Any]:
    """Return each step on each database; most of those on a server run nightly."""
    return [
        pytest.param(
            url, phase, id=f"{url}-{phase}",
            marks=[pytest.mark.nightly] if url in _SERVERS and phase not in _DAILY else [],
        )
        for url in ("sqlite", *_SERVERS)
        for phase in phases
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("database_kind", "phase"), _cases(p.value for p in Phase), indirect=["database_kind"]
)
def test_backup_whose_conductor_stalls(cluster: Cluster, phase: str) -> None:
    backup = cluster.request(figures=True)

    def reached() -> bool:
        return cluster.database.backups.get(backup.id).phase == phase

    _stall_and_adopt(cluster, cluster.job(backup).id, reached)
    _assert_whole(cluster, backup)


@pytest.mark.parametrize("late", [False, True])
def test_backup_whose_conductor_stalls_around_the_commit(cluster: Cluster, late: bool) -> None:
    """Two conductors write the backup manifest, the stalled one last: the same bytes."""
    backup = cluster.request()

    def reached() -> bool:
        return not late and any(str(p).endswith("/manifest.json") for p in cluster.store.puts)

    _stall_and_adopt(
        cluster, cluster.job(backup).id, reached, late="/manifest.json" if late else ""
    )
    _assert_whole(cluster, backup)


def _assert_whole(cluster: Cluster, backup: Backup) -> None:
    kept = cluster.database.backups.get(backup.id)
    assert kept.status is BackupStatus.CREATED
    for number in cluster.nodes:
        assert cluster.restored(backup, number) == cluster.contents(number)
    assert cluster.snapshots() == []
    _, stored = cluster.repository.read_commit(backup.id)
    assert stored.sha256 == kept.manifest_sha256
    assert cluster.verify(backup)["problems"] == []


def _stall_restore(restoring: Restoring, restore: Restore, phase: str) -> None:
    """Let the conductor of a restore stall; the adopter ends it, and leaves nothing behind."""
    restores = restoring.cluster.database.restores

    def reached() -> bool:
        return restores.get(restore.id).phase == phase

    _stall_and_adopt(restoring.cluster, restore.id, reached)
    kept = restores.get(restore.id)
    assert (kept.status, set(kept.tables.values())) == (RestoreStatus.RESTORED, {"restored"})
    assert restoring.staged() == []


def _of(phases: Collection[RestorePhase]) -> list[Any]:
    return _cases(p.value for p in RestorePhase if p in phases)


@pytest.mark.parametrize(("database_kind", "phase"), _of(_ONLINE), indirect=["database_kind"])
def test_restore_whose_conductor_stalls(cluster: Cluster, phase: str) -> None:
    """The restore drops a view and makes it again, and compares the rows with fingerprints."""
    restoring = Restoring(cluster, figures=True)
    cluster.nodes[1].connect().execute(_VIEW)
    restoring.truncate(T)
    restore = restoring.request(existing=Existing.REPLACE, check=True)
    _stall_restore(restoring, restore, phase)
    assert restoring.rows(T, U) == restoring.saved
    assert restoring.told("cql CREATE MATERIALIZED VIEW") == [f"cql {_VIEW}"] * 2


@pytest.mark.parametrize(
    ("database_kind", "phase"), _of([RestorePhase.REPAIR]), indirect=["database_kind"]
)
def test_restore_of_a_node_whose_conductor_stalls(cluster: Cluster, phase: str) -> None:
    """Only the restore of a single node repairs, where all nodes own everything."""
    restoring = Restoring(cluster)
    restoring.truncate(T)
    address = cluster.nodes[2].me.address
    restore = restoring.request(existing=Existing.MERGE, node=address, tables=("ks.t",))
    _stall_restore(restoring, restore, phase)
    assert restoring.rows(T)[2, T] == restoring.saved[2, T]
    assert restoring.told("repair") == ["repair ks t"]


@pytest.mark.parametrize(("database_kind", "phase"), _of(_OFFLINE), indirect=["database_kind"])
def test_offline_restore_whose_conductor_stalls(cluster: Cluster, phase: str) -> None:
    offline = Offline(cluster, figures=True)
    cluster.nodes[1].connect().execute(_VIEW)
    restore = offline.request(check=True)
    _stall_restore(offline, restore, phase)
    assert offline.rows(T, U, ROLES) == offline.saved
    assert offline.runs() == [True, True]
    assert all(offline.commands(number) == [*STOPPED, "start"] for number in cluster.nodes)

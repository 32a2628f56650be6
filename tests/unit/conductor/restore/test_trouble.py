# SPDX-License-Identifier: Apache-2.0
"""Restores during which workers, conductors or nodes fail, or that are cancelled."""

from __future__ import annotations

import threading
import time

import pytest

from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.domain.restore.records import (
    OFFLINE_PHASES,
    Existing,
    RestorePhase,
    RestoreStatus,
)
from magnetodb_backup.domain.tables import TableDescription, TableName
from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import RESTORE_KINDS, Restoring, T, U
from tests.unit.worker import fake_changes

PHASES = [p for p in RestorePhase if p not in OFFLINE_PHASES]
V = TableName("ks", "v")
# What an ordinary restore asks of workers, in order; those of other ways are tested with them.
KINDS = [
    TaskKind.RESTORE_COMPARE,
    TaskKind.RESTORE_PREFLIGHT,
    TaskKind.RESTORE_DOWNLOAD,
    TaskKind.RESTORE_SCHEMA,
    TaskKind.RESTORE_CONFIRM,
    TaskKind.RESTORE_TRUNCATE,
    TaskKind.RESTORE_IMPORT,
    TaskKind.RESTORE_VIEWS,
    TaskKind.RESTORE_CLEANUP,
]
BEFORE_CHANGES = KINDS[:3]
UNTOUCHED = {"ks.t": "untouched", "ks.u": "untouched"}


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    """Table t has a view and newer rows; table u is lost."""
    fake_changes.execute(list(cluster.nodes.values()), fake_changes.view_text(V, T))
    restoring = Restoring(cluster)
    restoring.add_row(2, T, b"newer")
    restoring.drop(U)
    restoring.forget()
    return restoring


def _is_restored(restoring: Restoring) -> bool:
    names = [t.name for t in restoring.cluster.nodes[2].tables]
    return (
        restoring.rows(T, U) == restoring.saved_rows(T, U)
        and V in names
        and restoring.staged() == []
    )


# Conductors.


@pytest.mark.parametrize("phase", PHASES[:-1], ids=lambda p: p.value)
def test_conductor_that_dies_after_a_step(restoring: Restoring, phase: RestorePhase) -> None:
    """Another one adopts the job at the first unfinished step, and repeats nothing."""
    restore = restoring.request(existing=Existing.REPLACE)
    left = restoring.run(restore, still_owner=restoring.until(restore, phase))
    assert left.status is RestoreStatus.RESTORING
    assert restoring.steps(restore) == {p.value for p in PHASES[: PHASES.index(phase) + 1]}
    ended = restoring.run(restore, owner="conductor-2")
    assert (ended.status, ended.error) == (RestoreStatus.RESTORED, "")
    assert _is_restored(restoring)
    assert set(restoring.cluster.workers.starts("download").values()) == {1}
    assert len(restoring.told("cql TRUNCATE")) == 3  # u after its creation too
    assert len(restoring.told("import")) == 6


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.value)
def test_conductor_that_dies_in_a_step(restoring: Restoring, kind: TaskKind) -> None:
    gone = threading.Event()

    def lose(worker_id: str, started: TaskKind) -> None:
        if started is kind:
            gone.set()

    restoring.cluster.workers.before_start = lose
    restore = restoring.request(existing=Existing.REPLACE)
    left = restoring.run(restore, still_owner=lambda: not gone.is_set())
    assert gone.is_set()
    assert left.status is RestoreStatus.RESTORING
    ended = restoring.run(restore, owner="conductor-2")
    assert (ended.status, ended.error) == (RestoreStatus.RESTORED, "")
    assert _is_restored(restoring)


def test_conductor_that_dies_before_the_end_of_the_job(restoring: Restoring) -> None:
    restore = restoring.request(existing=Existing.REPLACE)
    restoring.run(restore, still_owner=restoring.until(restore, RestorePhase.REPAIR))
    restoring.cluster.database.restores.set_status(restore.id, RestoreStatus.RESTORED)
    restoring.forget()
    assert restoring.run(restore, owner="conductor-2").status is RestoreStatus.RESTORED
    assert restoring.job(restore).status is JobStatus.DONE
    assert restoring.changes() == []


def test_conductor_that_dies_while_it_ends_a_failed_restore(restoring: Restoring) -> None:
    """The decision is known: the next one does not go on with the restore."""
    restore = restoring.request(existing=Existing.REPLACE)
    restoring.run(restore, still_owner=restoring.until(restore, RestorePhase.DOWNLOAD))
    error = {"code": "CommandFailed", "message": "it was decided"}
    restoring.cluster.database.jobs.save_step(restore.id, 1, "failed", error)
    ended = restoring.run(restore, owner="conductor-2")
    assert ended.status is RestoreStatus.RESTORE_FAILED
    assert ended.error.startswith("it was decided. ")
    assert ended.tables == UNTOUCHED
    assert restoring.staged() == []
    assert restoring.kept() != []
    assert restoring.changes() == []


# Workers.


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.value)
def test_worker_that_is_restarted_in_a_task(restoring: Restoring, kind: TaskKind) -> None:
    """Its new process knows nothing of the task, which is begun anew."""
    restarted: list[str] = []

    def restart(worker_id: str, started: TaskKind) -> None:
        if started is kind and not restarted:
            restarted.append(worker_id)
            number = int(worker_id[-1])
            restoring.cluster.workers.restart(worker_id, restoring.cluster.work(number))

    restoring.cluster.workers.after_start = restart
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restarted
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert _is_restored(restoring)


@pytest.mark.parametrize("kind", KINDS[1:5], ids=lambda k: k.value)
def test_worker_that_is_lost_for_good(restoring: Restoring, kind: TaskKind) -> None:
    before = restoring.rows()
    lost: list[str] = []

    def lose(worker_id: str, started: TaskKind) -> None:
        if started is kind and not lost:
            lost.append(worker_id)
            restoring.cluster.workers.down.add(worker_id)

    restoring.cluster.workers.before_start = lose
    restore = restoring.run(restoring.request(existing=Existing.REPLACE), outage_deadline=0.15)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert f"worker {lost[0]} did not answer" in restore.error
    assert restoring.job(restore).error_code == "StillUnavailable"
    if kind in BEFORE_CHANGES:
        assert restore.tables == UNTOUCHED
        assert restoring.rows() == before
    assert f"What is staged on 127.0.0.{lost[0][-1]} stays until the worker there" in restore.error
    # The lost worker removes its own when it reports again.
    lost_node = restoring.cluster.nodes[int(lost[0][-1])]
    assert {p.parents[1] for p in restoring.staged()} <= set(lost_node.data.paths)


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
def test_worker_that_dies_in_an_import_of_single_sstables(cluster: Cluster, dies_at: int) -> None:
    """One of three SSTables in a directory is malformed: they are imported one by one."""
    node, (table, _) = cluster.nodes[2], cluster.nodes[2].tables
    for generation in (3, 4):
        node.write(table, f"nb-{generation}-big-Data.db", f"more {generation}".encode())
    restoring = Restoring(cluster)
    restoring.truncate(T)
    node.malformed = {b"more 3"}
    imports: list[int] = []

    def die(table: TableName) -> None:
        imports.append(1)
        if len(imports) == dies_at:
            cluster.workers.restart("worker-2", cluster.work(2))
            raise CommandFailed("the process dies")

    node.on_import = die
    restore = restoring.restore(tables=("ks.t",))
    assert len(imports) > dies_at
    expected = restoring.saved_rows(T)
    expected[2, T].remove(b"more 3")
    assert restoring.rows(T) == expected
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restore.error.count("nb-3-big (") == 1
    assert "nb-1-big (" not in restore.error
    assert restoring.node(restore, 2).progress.sstables_imported == len(expected[2, T])


# Failures.


def _fail_at(restoring: Restoring, number: int, beginning: str) -> None:
    """Let a node refuse statements that begin like this."""

    def refuse(statement: str) -> None:
        if statement.startswith(beginning):
            raise CommandFailed("Cassandra says no")

    restoring.cluster.nodes[number].on_execute = refuse


def test_one_download_that_fails(restoring: Restoring) -> None:
    """Nothing is truncated on any node, nothing is left behind."""
    before = restoring.rows()
    (pack,) = restoring.cluster.packs(3).packs()
    restoring.cluster.damage_pack(3, pack, lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restore.error.startswith("node 127.0.0.3: ks/")
    assert pack in restore.error
    assert restore.tables == UNTOUCHED
    assert restoring.changes() == []
    assert restoring.staged() == []
    assert restoring.rows() == before
    assert restoring.node(restore, 3).phase == "failed"
    assert pack in restoring.node(restore, 3).error


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("CREATE TABLE", "untouched"),
        ("DROP", "may be empty: repeat with --existing replace; Cassandra's own snapshot"),
        (
            "TRUNCATE TABLE ks.t",
            "may be empty: repeat with --existing replace; Cassandra's own snapshot",
        ),
    ],
    ids=["create", "drop", "truncate"],
)
def test_statement_that_is_refused(restoring: Restoring, statement: str, state: str) -> None:
    for number in restoring.cluster.nodes:
        _fail_at(restoring, number, statement)
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "Cassandra says no" in restore.error
    assert restore.tables["ks.t"].startswith(state)
    assert restore.tables["ks.u"] == "may have been made, without rows: repeat the restore"
    assert f"ks.u: {restore.tables['ks.u']}" in restore.error
    assert restoring.staged() == []


def test_import_that_fails(restoring: Restoring) -> None:
    def fail(table: TableName) -> None:
        raise CommandFailed("Cassandra says no")

    restoring.cluster.nodes[2].on_import = fail
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert restore.error.startswith("node 127.0.0.2: Cassandra says no")
    assert restore.tables["ks.t"].startswith("partly restored: repeat with --existing replace")


def test_malformed_sstable_is_named_and_stops_no_other(restoring: Restoring) -> None:
    node = restoring.cluster.nodes[2]
    (bad, good) = restoring.saved_rows(T)[2, T]
    node.malformed = {bad}
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "ks.t: restored without the SSTables nb-1-big (" in restore.error
    assert "on 127.0.0.2" in restore.error
    expected = restoring.saved_rows(T, U)
    expected[2, T] = [good]
    assert restoring.rows(T, U) == expected
    assert restore.tables["ks.t"].startswith("restored without the SSTables nb-1-big (")
    assert restore.tables["ks.u"] == "restored"
    assert restoring.staged() == []
    assert V in [t.name for t in node.tables]


def test_states_of_a_table_whose_name_needs_quotes(cluster: Cluster) -> None:
    name = TableName("ks", "Orders")
    described = TableDescription(name, f"{9:032x}")
    fake_changes.execute(list(cluster.nodes.values()), fake_changes.table_text(described))
    cluster.nodes[2].write(described, "nb-1-big-Data.db", b"bad")
    restoring = Restoring(cluster)
    restoring.drop(name)
    cluster.nodes[2].malformed = {b"bad"}
    restore = restoring.restore(tables=('ks."Orders"',))
    assert restore.tables["ks.Orders"].startswith("restored without the SSTables nb-1-big (")
    restoring.drop(name)
    _fail_at(restoring, 1, "CREATE TABLE")
    restore = restoring.restore(tables=('ks."Orders"',))
    assert restore.tables == {"ks.Orders": "may have been made, without rows: repeat the restore"}


# Cancelling.


def _cancel_at(restoring: Restoring, kind: TaskKind) -> None:
    asked: list[str] = []

    def cancel(worker_id: str, started: TaskKind) -> None:
        if started is kind and not asked:
            asked.append(worker_id)
            (job,) = restoring.cluster.database.jobs.unfinished()
            restoring.cluster.database.jobs.request_cancel(job.id)

    restoring.cluster.workers.before_start = cancel


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.value)
def test_cancelling_at_any_step(restoring: Restoring, kind: TaskKind) -> None:
    before = restoring.rows()
    _cancel_at(restoring, kind)
    restore = restoring.restore(existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.CANCELLED
    assert restore.error.startswith("cancelled on request")
    assert restoring.job(restore).status is JobStatus.CANCELLED
    assert restoring.staged() == []
    if kind in BEFORE_CHANGES:
        assert restore.tables == UNTOUCHED
        assert restoring.rows() == before
        assert restoring.changes() == []
    kept = bool(restoring.kept())
    assert kept == (kind not in (*BEFORE_CHANGES, TaskKind.RESTORE_CLEANUP))
    assert kept == ("does not fetch them again" in restore.error)


def test_cancelling_while_cassandra_imports(restoring: Restoring) -> None:
    """An import cannot be ended: the job ends, and the files stay below the import."""
    restore = restoring.request(existing=Existing.REPLACE)
    database, node = restoring.cluster.database, restoring.cluster.nodes[2]

    def wait(table: TableName) -> None:
        database.jobs.request_cancel(restore.id)
        time.sleep(0.01)  # other threads continue

    node.slow_imports, node.on_wait = {T}, wait
    ended = restoring.run(restore)
    assert ended.status is RestoreStatus.CANCELLED
    assert (
        "On 127.0.0.2 the import into ks.t continues in Cassandra; the worker removes the staged "
        "files after its end"
    ) in ended.error
    assert T in node.importing
    assert restoring.staged() != []


def test_conductor_that_stops_while_it_ends_a_failed_restore(restoring: Restoring) -> None:
    """It leaves the end to another conductor, and does not wait for the nodes first."""
    lost = threading.Event()

    def begin(worker_id: str, started: TaskKind) -> None:
        if started is TaskKind.RESTORE_DOWNLOAD:
            restoring.cluster.database.jobs.request_cancel(restore.id)
        if started is TaskKind.RESTORE_CLEANUP:
            lost.set()

    restoring.cluster.workers.before_start = begin
    restore = restoring.request(existing=Existing.REPLACE)
    left = restoring.run(restore, still_owner=lambda: not lost.is_set())
    assert lost.is_set()
    assert left.status is RestoreStatus.RESTORING
    assert restoring.run(restore, owner="conductor-2").status is RestoreStatus.CANCELLED


def test_cancelling_before_the_first_step(restoring: Restoring) -> None:
    restore = restoring.request(existing=Existing.REPLACE)
    restoring.cluster.database.jobs.request_cancel(restore.id)
    ended = restoring.run(restore)
    assert (ended.status, ended.tables) == (RestoreStatus.CANCELLED, {})
    assert list(restoring.performed(restore)) == []


def test_every_kind_of_task_is_tested_somewhere() -> None:
    others = {
        TaskKind.RESTORE_STREAM,
        TaskKind.RESTORE_REPAIR,
        TaskKind.RESTORE_CHECK,
        TaskKind.RESTORE_COMPACTION,
    }
    offline = {
        TaskKind.RESTORE_READY,
        TaskKind.RESTORE_QUIESCE,
        TaskKind.RESTORE_STOP,
        TaskKind.RESTORE_PLACE,
        TaskKind.RESTORE_START,
        TaskKind.RESTORE_INDEXES,
        TaskKind.RESTORE_PUT_BACK,
        TaskKind.RESTORE_DISCARD,
    }
    assert set(KINDS) | others | offline == set(RESTORE_KINDS)

# SPDX-License-Identifier: Apache-2.0
"""When tables are emptied, and what is never dropped or emptied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from magnetodb_backup.domain.restore.records import Existing, Restore, RestoreStatus
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring, T, U
from tests.unit.worker import fake_changes

V, W = TableName("ks", "v"), TableName("ks", "w")
TRUNCATED = ["cql TRUNCATE TABLE ks.t", "cql TRUNCATE TABLE ks.u"]


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    return Restoring(cluster)


def _during(restoring: Restoring, kind: TaskKind, action: Callable[[], None]) -> None:
    """Do something once, as a client or an operator does, when tasks of a kind begin."""
    done: list[str] = []

    def before_start(worker_id: str, started: TaskKind) -> None:
        if started is kind and not done:
            done.append(worker_id)
            action()

    restoring.cluster.workers.before_start = before_start


def _failed(restore: Restore) -> str:
    assert restore.status is RestoreStatus.RESTORE_FAILED
    return restore.error


# One rule: everything but a merge and a single node truncates right before the delivery.


@pytest.mark.parametrize("existing", [Existing.REFUSE, Existing.REPLACE])
def test_empty_and_created_tables_are_truncated_before_the_import(
    restoring: Restoring, existing: Existing
) -> None:
    """Deletions, files of a dropped table and hints would win over the restored rows."""
    restoring.truncate(T)
    restoring.drop(U)
    restoring.forget()
    restore = restoring.restore(existing=existing)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows() == restoring.saved
    log = restoring.cluster.nodes[1].log
    changes = [e for e in log if e in TRUNCATED or e.startswith(("import", "cql CREATE TABLE"))]
    assert [e.split()[0] + e.split()[1] for e in changes] == [
        "cqlCREATE", "cqlTRUNCATE", "cqlTRUNCATE", "cqlTRUNCATE", "importks.t", "importks.u",
    ]  # fmt: skip


@pytest.mark.parametrize("request_", [{"existing": Existing.MERGE}, {"node": "127.0.0.2"}], ids=str)
def test_what_is_put_beside_rows_truncates_nothing(
    restoring: Restoring, request_: dict[str, Any]
) -> None:
    restoring.forget()
    assert restoring.restore(**request_).status is RestoreStatus.RESTORED
    assert restoring.told("cql TRUNCATE") == []


def test_rows_that_arrive_during_the_download_are_kept(restoring: Restoring) -> None:
    """Preflight found the tables empty; hours later a program writes to one of them."""
    restoring.truncate(T, U)
    restoring.forget()
    _during(restoring, TaskKind.RESTORE_DOWNLOAD, lambda: restoring.add_row(2, T, b"newer"))
    restore = restoring.restore()
    assert "rows were written to ks.t after preflight" in _failed(restore)
    assert "--existing replace, or --existing merge" in restore.error
    assert restoring.told("cql", "import") == []
    assert restoring.rows(T)[2, T] == [b"newer"]
    assert restore.tables["ks.t"].startswith("keeps its rows, and has none of the backup")


def test_rows_that_arrive_while_other_tables_are_truncated_are_kept(restoring: Restoring) -> None:
    restoring.truncate(T, U)

    def write(statement: str) -> None:
        if statement == "TRUNCATE TABLE ks.t":
            restoring.add_row(2, U, b"newer")

    for node in restoring.cluster.nodes.values():
        node.on_execute = write
    assert "rows were written to ks.u after preflight" in _failed(restoring.restore())
    assert restoring.rows(U)[2, U] == [b"newer"]


# Views and indexes: those of the plan only.


def _add_view(restoring: Restoring, view: TableName, number: int = 77) -> None:
    nodes = list(restoring.cluster.nodes.values())
    fake_changes.execute(nodes, fake_changes.view_text(view, T, number))


@pytest.mark.parametrize("changed", [False, True], ids=["created", "changed"])
def test_view_that_the_plan_does_not_know_is_not_dropped(
    restoring: Restoring, changed: bool
) -> None:
    """It was created during the download, so no statement is stored that creates it again."""
    _add_view(restoring, V)
    before = restoring.rows()
    restoring.forget()

    def act() -> None:
        if changed:
            restoring.drop(V)
        _add_view(restoring, V if changed else W, 78)

    _during(restoring, TaskKind.RESTORE_DOWNLOAD, act)
    error = _failed(restoring.restore(existing=Existing.REPLACE))
    assert f"created or changed after preflight: materialized view {V if changed else W}" in error
    assert restoring.told("cql DROP MATERIALIZED", "cql TRUNCATE", "import") == []
    assert {k: v for k, v in restoring.rows().items() if k[1] != W} == before


def test_views_are_created_again_if_truncate_fails(restoring: Restoring) -> None:
    _add_view(restoring, V)

    def refuse(statement: str) -> None:
        if statement.startswith("TRUNCATE"):
            raise CommandFailed("Cassandra says no")

    for node in restoring.cluster.nodes.values():
        node.on_execute = refuse
    restore = restoring.restore(existing=Existing.REPLACE)
    assert "Cassandra says no" in _failed(restore)
    assert restoring.told("cql DROP MATERIALIZED") != []
    assert V in [t.name for t in restoring.cluster.nodes[3].tables]
    assert "make then" not in restore.error


def test_views_that_an_import_may_bypass_are_named_with_their_statements(
    restoring: Restoring,
) -> None:
    """An import that was given up continues in Cassandra: a view created now would lack rows."""
    _add_view(restoring, V)

    def fail(table: TableName) -> None:
        raise CommandFailed("Cassandra says no")

    restoring.cluster.nodes[2].on_import = fail
    restore = restoring.restore(existing=Existing.REPLACE)
    _failed(restore)
    assert V not in [t.name for t in restoring.cluster.nodes[3].tables]
    statement = fake_changes.view_text(V, T)
    assert f"make then, if they are missing: {statement}" in restore.tables["ks.t"]

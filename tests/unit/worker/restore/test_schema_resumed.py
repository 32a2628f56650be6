# SPDX-License-Identifier: Apache-2.0
"""The schema step goes on where an earlier attempt ended, wherever that was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.schema.planner import split_statements
from magnetodb_backup.domain.schema.reading import rows_of
from magnetodb_backup.domain.schema.rows import SchemaRow
from magnetodb_backup.errors import (
    Cancelled,
    CassandraUnavailable,
    CommandFailed,
    SchemaDiffers,
)
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.restore.schema import SchemaWork
from magnetodb_backup.worker.restore.truncate import TruncateWork
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.domain.describes import CASSANDRA_50, ORDERS_ID
from tests.unit.repository.stores import Store
from tests.unit.worker.fake_cql import CLUSTER, FakeCql
from tests.unit.worker.fake_node import FakeNode
from tests.unit.worker.performing import perform
from tests.unit.worker.working import BACKUP, PREFIX

TABLES = [[["shop", "orders"], ["shop", "orders"]], [["shop", "customers"]] * 2]
SAI = "CREATE CUSTOM INDEX"


class Schema(FakeCql):
    """A cluster whose schema is the statements that were executed.

    ``dies_after`` statements nothing is answered any more; the last one is carried out.
    """

    def __init__(self, node: FakeNode) -> None:
        super().__init__(node)
        node.schema = ""
        self.dies_after = 1000
        self.executed: list[str] = []
        self.truncated: list[str] = []
        self.agreed = True
        self.hidden = False

    @property
    def statements(self) -> list[str]:
        return [s.text for s in split_statements(self._node.schema)]

    def execute(self, statement: str) -> None:
        if statement.startswith("TRUNCATE"):
            self.truncated.append(statement)
            return
        self.executed.append(statement)
        if statement.startswith("DROP"):
            _, _, name = statement.rpartition(".")
            self._node.schema = "\n".join(s for s in self.statements if name not in s)
            return
        if statement in self.statements:
            raise CommandFailed(f"AlreadyExists: {statement}")
        self._node.schema += "\n" + statement
        self.agreed = False
        if len(self.statements) >= self.dies_after:
            raise CassandraUnavailable("the connection is lost")

    def schema_rows(self) -> tuple[SchemaRow, ...]:
        if self.hidden:  # a moment before another attempt's statement
            self.hidden = False
            return rows_of("\n".join(self.statements[:-1]))
        return super().schema_rows()

    def await_schema_agreement(self, seconds: float) -> None:
        self.agreed = True

    def has_rows(self, table: object) -> bool:
        return False


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


@pytest.fixture
def cql(node: FakeNode) -> Iterator[Schema]:
    made = Schema(node)
    node.make_cql = lambda _: made
    yield made
    assert made.agreed, "a task ended before the nodes agreed"


@pytest.fixture
def work(node: FakeNode, cql: Schema) -> SchemaWork:
    store = Store()
    repository = ClusterRepository(store, PREFIX, CLUSTER)
    repository.ensure()
    repository.put_schema(BACKUP, CASSANDRA_50)
    return SchemaWork(node.local(), store, PREFIX)


def _arguments(**more: Any) -> dict[str, Any]:
    return {
        "backup_id": BACKUP,
        "source_cluster": CLUSTER,
        "tables": TABLES,
        "whole_keyspaces": ["shop"],
        **more,
    }


def _do(work: SchemaWork, kind: TaskKind, **more: Any) -> Any:
    return perform(work.handlers(), kind, _arguments(**more))


def _make(work: SchemaWork, statements: list[str]) -> Any:
    return _do(work, TaskKind.RESTORE_SCHEMA, statements=statements)


def test_preflight_tells_whole_statements(work: SchemaWork, cql: Schema) -> None:
    compared = _do(work, TaskKind.RESTORE_COMPARE)
    assert len(compared["create"]) == 14
    assert any(len(text) > 500 for text in compared["create"])
    _make(work, compared["create"])
    assert cql.statements == compared["create"]
    assert len(compared["views"]) == 1
    cql._node.schema += "\n" + compared["views"][0]
    again = _do(work, TaskKind.RESTORE_COMPARE)
    assert (again["create"], again["differences"]) == ([], [])
    assert again["present_views"] == compared["views"]
    assert [text.split(" ON ")[0] for text in again["present_indexes"]] == [f'{SAI} "By_Note"']


def test_resumed_after_every_statement(work: SchemaWork, cql: Schema) -> None:
    planned = _do(work, TaskKind.RESTORE_COMPARE)["create"]
    for done in range(1, len(planned) + 1):
        cql._node.schema, cql.dies_after = "", done
        with pytest.raises(CassandraUnavailable):
            _make(work, planned)
        assert cql.statements == planned[:done]
        cql.dies_after, cql.executed = 1000, []
        made = _make(work, planned)
        assert cql.statements == planned
        assert cql.executed == planned[done:]
        assert len(made["made"]) == len(planned) - done
        assert _make(work, planned) == {"made": []}


def test_tables_are_truncated_as_soon_as_they_are_created(work: SchemaWork, cql: Schema) -> None:
    """A crash during a drop may have left files in the directory, whose rows come alive."""
    planned = _do(work, TaskKind.RESTORE_COMPARE)["create"]
    _make(work, planned)
    created = [s for s in split_statements(cql._node.schema) if s.kind == "table"]
    assert cql.truncated == [f"TRUNCATE TABLE {s.keyspace}.{s.name}" for s in created]
    _make(work, planned)  # by now clients may have written to them
    assert len(cql.truncated) == len(created)


def test_another_attempt_at_work_is_no_error(work: SchemaWork, cql: Schema) -> None:
    planned = _do(work, TaskKind.RESTORE_COMPARE)["create"]
    _make(work, planned[:5])
    cql.hidden = True
    _make(work, planned)
    assert cql.statements == planned


def test_a_refused_statement_is_an_error(work: SchemaWork, cql: Schema) -> None:
    def refuse(statement: str) -> None:
        raise CommandFailed("InvalidRequest: user-defined functions are disabled")

    planned = _do(work, TaskKind.RESTORE_COMPARE)["create"]
    cql.execute = refuse  # type: ignore[method-assign]
    with pytest.raises(CommandFailed, match="functions are disabled"):
        _make(work, planned)


def test_a_table_that_somebody_else_makes_meanwhile(work: SchemaWork, cql: Schema) -> None:
    planned = _do(work, TaskKind.RESTORE_COMPARE)["create"]
    _make(work, planned)
    cql._node.schema = cql._node.schema.replace(ORDERS_ID, "99999999-f31d-3123-8d1b-41e1c4b4d7f0")
    with pytest.raises(SchemaDiffers, match=r"shop\.orders was created after preflight outside"):
        _make(work, planned)


def test_a_table_that_is_altered_meanwhile(work: SchemaWork, cql: Schema) -> None:
    planned = _do(work, TaskKind.RESTORE_COMPARE)["create"]
    _make(work, planned)
    cql._node.schema = cql._node.schema.replace("mail text", "mail blob")
    with pytest.raises(SchemaDiffers, match=r"shop\.customers has another structure"):
        _make(work, [])


@pytest.mark.parametrize("exact", [True, False])
def test_column_that_is_dropped_and_added_again_meanwhile(
    work: SchemaWork, cql: Schema, exact: bool
) -> None:
    _make(work, _do(work, TaskKind.RESTORE_COMPARE)["create"])
    cql._node.schema += (
        "\nALTER TABLE shop.customers DROP mail USING TIMESTAMP 5;"
        "\nALTER TABLE shop.customers ADD mail text;"
    )
    if not exact:
        _do(work, TaskKind.RESTORE_SCHEMA, statements=[])
        return
    with pytest.raises(SchemaDiffers, match=r"shop\.customers: column mail was dropped at 5 here"):
        _do(work, TaskKind.RESTORE_SCHEMA, statements=[], exact=True)


def test_views_and_late_indexes_need_no_comparison(work: SchemaWork, cql: Schema) -> None:
    compared = _do(work, TaskKind.RESTORE_COMPARE)
    late = [t for t in compared["create"] if t.startswith(SAI)] + compared["views"]
    arguments = {"backup_id": BACKUP, "source_cluster": CLUSTER, "statements": late}
    made = perform(work.handlers(), TaskKind.RESTORE_SCHEMA, arguments)
    assert len(made["made"]) == 2
    assert cql.statements == late


def test_indexes_that_hinder_are_dropped(work: SchemaWork, cql: Schema) -> None:
    _make(work, _do(work, TaskKind.RESTORE_COMPARE)["create"])
    before = cql.statements
    task = {"tables": [["shop", "orders"]], "truncate": False, "indexes": [["shop", "By_Note"]]}
    perform(TruncateWork(cql._node.local()).handlers(), TaskKind.RESTORE_TRUNCATE, task)
    assert cql.executed[-1] == 'DROP INDEX IF EXISTS shop."By_Note"'
    assert [t for t in before if t not in cql.statements] == [t for t in before if SAI in t]


def test_cancelled_between_two_statements(work: SchemaWork, cql: Schema) -> None:
    planned = _do(work, TaskKind.RESTORE_COMPARE)["create"]
    context = TaskContext()
    context.cancel()
    with pytest.raises(Cancelled):
        perform(work.handlers(), TaskKind.RESTORE_SCHEMA, _arguments(statements=planned), context)
    assert cql.executed == []


def test_storage_attached_index_that_the_plan_does_not_know(work: SchemaWork, cql: Schema) -> None:
    """Nodes would refuse every streamed SSTable; this is found before any table is empty."""
    _make(work, _do(work, TaskKind.RESTORE_COMPARE)["create"])
    cql.executed.clear()
    task = {
        "tables": [["shop", "orders"]],
        "truncate": True,
        "indexes": [],
        "planned": [],
        "streamed": [["shop", "orders"]],
    }
    with pytest.raises(SchemaDiffers, match=r'storage-attached index shop\."By_Note" of shop'):
        perform(TruncateWork(cql._node.local()).handlers(), TaskKind.RESTORE_TRUNCATE, task)
    assert cql.executed == []

# SPDX-License-Identifier: Apache-2.0
"""The fakes keep what Cassandra promises in ``tests/contract``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from magnetodb_backup.domain.tables import TableDescription, TableName
from magnetodb_backup.errors import CassandraUnavailable, UnknownTable
from tests.contract import promises
from tests.unit.cassandra.tree import table
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_changes import FakeLoader
from tests.unit.worker.fake_control import FakeControl
from tests.unit.worker.fake_cql import FakeCql
from tests.unit.worker.fake_node import FakeNode
from tests.unit.worker.fake_process import FakeProcess

_TABLES = (table("shop", "Orders", 1), table("shop", "orders", 2))
_OTHER = table("shop", "other", 3)


class Fake:
    """A node of directories, as the contract's tests see one."""

    def __init__(self, root: Path) -> None:
        self.node = FakeNode(root, tables=(*_TABLES, _OTHER))
        self.control = FakeControl(self.node)
        self.loader = FakeLoader(lambda: [self.node])
        self.process = FakeProcess(self.node)
        self.tables: tuple[TableName, TableName] = (_TABLES[0].name, _TABLES[1].name)
        self.other, self.table = _OTHER.name, _TABLES[1].name

    def write(self, name: TableName) -> None:
        self.node.unflushed.append(self._described(name))

    def data_files(self, name: TableName, tag: str = "") -> list[str]:
        below = Path("snapshots", tag) if tag else Path()
        return sorted(
            path.name
            for number in range(len(self.node.data.paths))
            for path in (self._directory(name, number) / below).glob("*-Data.db")
        )

    def saved(self, to: Path) -> list[Path]:
        directories = []
        for number in range(len(self.node.data.paths)):
            target = to / f"data{number}" / self.table.keyspace / self.table.table
            target.mkdir(parents=True)
            for path in self._directory(self.table, number).glob("*.db"):
                shutil.move(path, target)
            directories.append(target)
        return directories

    def rows(self) -> set[int]:
        """Each SSTable is a row."""
        return {hash(body) for body in fake_changes.rows(self.node, self.table)}

    def _described(self, name: TableName) -> TableDescription:
        return next(t for t in self.node.tables if t.name == name)

    def _directory(self, name: TableName, number: int) -> Path:
        return self.node.data.table_directory(number, self._described(name))


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path / "node")


def test_it_says_which_node_it_is(fake: Fake) -> None:
    promises.says_which_node_it_is(fake.control, fake.node.me.host_id)


def test_flush_and_snapshot_of_some_tables(fake: Fake) -> None:
    promises.flushes_and_snapshots_some_tables(fake.control, fake)


def test_unknown_keyspace_is_named(fake: Fake) -> None:
    promises.names_an_unknown_keyspace(fake.control)


def test_nothing_answers(fake: Fake) -> None:
    fake.node.control_down = True
    assert not fake.control.listens()
    with pytest.raises(CassandraUnavailable, match="is Cassandra running"):
        fake.control.host_id()


def test_import_of_all_rows(fake: Fake, tmp_path: Path) -> None:
    before = fake.rows()
    promises.imports_all_rows(fake.control, fake, tmp_path)
    assert fake.rows() == before


def test_import_names_the_directory_that_is_refused(fake: Fake, tmp_path: Path) -> None:
    def damage(data: Path) -> None:
        fake.node.malformed.add(data.read_bytes())

    promises.refuses_a_damaged_directory(fake.control, fake, tmp_path, damage)


def test_import_of_what_is_not_there(fake: Fake, tmp_path: Path) -> None:
    promises.imports_nothing_from_nothing(fake.control, fake, tmp_path)


def test_repair(fake: Fake) -> None:
    promises.repairs_what_there_is(fake.control, fake)


def test_clients_are_sent_away_and_served_again(fake: Fake) -> None:
    promises.sends_clients_away_and_serves_again(fake.control, fake.process.serves_clients)


def test_drain(fake: Fake) -> None:
    promises.drains(fake.control)


def test_loader_gives_all_rows_back(fake: Fake, tmp_path: Path) -> None:
    before = fake.rows()
    promises.loads_all_rows(fake.loader, fake.node.me.address, fake, tmp_path)
    assert fake.rows() == before


def test_loader_of_an_empty_directory(fake: Fake, tmp_path: Path) -> None:
    promises.loads_nothing_from_an_empty_directory(fake.loader, "127.0.0.1", fake, tmp_path)


def test_loader_of_an_unknown_table(fake: Fake, tmp_path: Path) -> None:
    promises.loads_nothing_into_an_unknown_table(fake.loader, "127.0.0.1", fake, tmp_path)


def test_statements_that_are_refused(fake: Fake) -> None:
    promises.refuses_statements(FakeCql(fake.node).execute, fake.table)


def test_rows_of_an_unknown_table(fake: Fake) -> None:
    with pytest.raises(UnknownTable, match=r"nowhere\.t"):
        FakeCql(fake.node).has_rows(promises.NOWHERE)

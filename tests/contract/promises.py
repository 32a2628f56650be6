# SPDX-License-Identifier: Apache-2.0
"""What node control, CQL and the bulk loader promise, of a real Cassandra and of the fakes.

The tests here and those of ``tests/unit/worker/test_fakes.py`` call the same functions, so that
the fakes that other tests build upon behave like Cassandra in all of this.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from magnetodb_backup.cassandra.control.interface import NodeControl
from magnetodb_backup.cassandra.control.sstableloader import Loaded
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed, SSTableRefused, UnknownTable
from magnetodb_backup.worker.restore.stream import Loader

NOWHERE = TableName("nowhere", "t")


class Node(Protocol):
    """A node with two tables and another one, without materialized views."""

    @property
    def tables(self) -> tuple[TableName, TableName]: ...
    @property
    def other(self) -> TableName: ...

    def write(self, table: TableName) -> None:
        """Write a row, which is in memory until a flush."""

    def data_files(self, table: TableName, tag: str = "") -> list[str]:
        """Return the names of the table's Data.db, or of those of its snapshot ``tag``."""


class Rows(Protocol):
    """A node with one table whose rows can be taken out of it."""

    @property
    def table(self) -> TableName: ...

    def saved(self, to: Path) -> list[Path]:
        """Move the rows' SSTables to directories ``…/<keyspace>/<table>``; the table is empty."""

    def rows(self) -> set[int]:
        """Return the IDs of the table's rows."""


def _data_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*-Data.db"))


def says_which_node_it_is(control: NodeControl, host_id: str) -> None:
    assert control.host_id() == host_id
    assert control.operation_mode() == "NORMAL"
    assert control.listens()
    assert control.unsettled_nodes() == {}


def flushes_and_snapshots_some_tables(control: NodeControl, node: Node) -> None:
    tag = f"contract-{secrets.token_hex(4)}"
    before = [node.data_files(t) for t in node.tables]
    for table in node.tables:
        node.write(table)
    control.flush(node.tables)
    flushed = [node.data_files(t) for t in node.tables]
    assert all(len(a) > len(b) for a, b in zip(flushed, before, strict=True))
    node.write(node.tables[0])
    control.take_snapshot(tag, node.tables, ttl_seconds=3600)
    # What came after the flush is in it too: a snapshot is the state of its own moment.
    taken = [node.data_files(t, tag) for t in node.tables]
    assert len(taken[0]) > len(flushed[0])
    assert taken[1:] == flushed[1:]
    assert node.data_files(node.other, tag) == []
    with pytest.raises(CommandFailed, match=tag):
        control.take_snapshot(tag, node.tables, ttl_seconds=None)
    control.clear_snapshot(tag)
    assert [node.data_files(t, tag) for t in node.tables] == [[], []]
    control.clear_snapshot(tag)


def names_an_unknown_keyspace(control: NodeControl) -> None:
    with pytest.raises(CommandFailed):
        control.flush([NOWHERE])


def imports_all_rows(control: NodeControl, node: Rows, tmp_path: Path) -> None:
    directories = node.saved(tmp_path)
    assert any(_data_files(d) for d in directories)
    assert node.rows() == set()
    control.import_sstables(node.table, [str(d) for d in directories])
    rows = node.rows()
    assert rows
    assert not any(_data_files(d) for d in directories), "moved, not copied"
    control.import_sstables(node.table, [str(d) for d in directories])  # may be repeated
    assert node.rows() == rows


def refuses_a_damaged_directory(
    control: NodeControl, node: Rows, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Two directories with SSTables, of which one is damaged."""
    bad, good = node.saved(tmp_path)
    damage(_data_files(bad)[0])
    before = sorted(bad.iterdir())
    with pytest.raises(SSTableRefused) as refused:
        control.import_sstables(node.table, [str(bad), str(good)])
    assert str(bad) in str(refused.value)
    assert str(good) not in str(refused.value)
    assert "system.log" in str(refused.value)
    assert sorted(bad.iterdir()) == before
    assert not _data_files(good)
    assert node.rows()


def imports_nothing_from_nothing(control: NodeControl, node: Rows, tmp_path: Path) -> None:
    control.import_sstables(node.table, [])
    control.import_sstables(node.table, [str(tmp_path)])
    with pytest.raises(CommandFailed, match="does not exist"):
        control.import_sstables(node.table, [str(tmp_path / "absent")])
    for unknown in (TableName(node.table.keyspace, f"{node.table.table}s"), NOWHERE):
        with pytest.raises(UnknownTable) as raised:
            control.import_sstables(unknown, [str(tmp_path)])
        assert str(unknown) in str(raised.value)


def repairs_what_there_is(control: NodeControl, node: Rows) -> None:
    """A keyspace with one replica has nothing to repair: Cassandra does not look at its tables."""
    for primary_ranges in (False, True):
        control.repair(node.table.keyspace, [node.table.table], primary_ranges=primary_ranges)
        with pytest.raises(CommandFailed):
            control.repair("nowhere", ["t"], primary_ranges=primary_ranges)


def sends_clients_away_and_serves_again(
    control: NodeControl, serves_clients: Callable[[], bool]
) -> None:
    control.disable_clients()
    assert not serves_clients()
    assert control.listens()
    control.replay_batches()
    control.truncate_hints()
    assert control.operation_mode() == "NORMAL"
    control.enable_clients()
    assert serves_clients()


def drains(control: NodeControl) -> None:
    control.drain()
    assert control.operation_mode() == "DRAINED"


def loads_all_rows(loader: Loader, contact: str, node: Rows, tmp_path: Path) -> None:
    """The table has neither views nor storage-attached indexes meanwhile."""
    directories = node.saved(tmp_path)
    size = sum(f.stat().st_size for d in directories for f in _data_files(d))
    sent = sum(loader.load(str(d), [contact], lambda: None).bytes_sent for d in directories)
    assert size * 0.9 < sent < size * 100, "with other components or without"
    assert node.rows()


def loads_nothing_from_an_empty_directory(
    loader: Loader, contact: str, node: Rows, tmp_path: Path
) -> None:
    directory = tmp_path / node.table.keyspace / node.table.table
    directory.mkdir(parents=True)
    assert loader.load(str(directory), [contact], lambda: None) == Loaded(0, {})


def loads_nothing_into_an_unknown_table(
    loader: Loader, contact: str, node: Rows, tmp_path: Path
) -> None:
    good = node.saved(tmp_path)[0]
    for keyspace, table in ((node.table.keyspace, "nothing"), ("nowhere", "nothing")):
        directory = tmp_path / "other" / keyspace / table
        shutil.copytree(good, directory)
        with pytest.raises(UnknownTable, match=r"nothing|nowhere"):
            loader.load(str(directory), [contact], lambda: None)


def refuses_statements(execute: Callable[[str], None], table: TableName) -> None:
    """``table`` exists."""
    for statement, reason in (
        (f"CREATE TABLE {table} (id int PRIMARY KEY)", table.table),
        ("CREATE TABLE nowhere.t (id int PRIMARY KEY)", "nowhere"),
        ("CREATE TABEL t", "TABEL"),
        ("TRUNCATE TABLE nowhere.t", "nowhere"),
    ):
        with pytest.raises(CommandFailed, match=reason):
            execute(statement)

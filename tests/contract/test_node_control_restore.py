# SPDX-License-Identifier: Apache-2.0
"""What a restore asks of every node control, of CQL and of sstableloader, on a real Cassandra."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.control.interface import NodeControl
from magnetodb_backup.cassandra.control.jolokia import JolokiaControl
from magnetodb_backup.cassandra.control.nodetool import NodetoolControl
from magnetodb_backup.cassandra.control.service_commands import takes_connections
from magnetodb_backup.cassandra.control.sstableloader import BulkLoader
from magnetodb_backup.cassandra.cql.node import CqlNode
from magnetodb_backup.cassandra.files.staging import Staging, sstable_of
from magnetodb_backup.domain.restore.compaction import hold_statements, release_statements
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    CassandraUnavailable,
    CommandFailed,
    SSTableRefused,
    StreamFailed,
    UnknownTable,
)
from tests.contract import promises
from tests.lab.artifacts import CASSANDRA_4_1, CASSANDRA_5_0
from tests.lab.cassandra import CassandraCluster, CassandraNode
from tests.lab.cassandra_flags import Shape
from tests.lab.ports import LoopbackBlock, free_port
from tests.lab.processes import wait_for
from tests.lab.sampling import sampled

_HOSTS = {CASSANDRA_5_0: 121, CASSANDRA_4_1: 122}
_ROWS = set(range(40))
_TABLE = TableName("Shop", "order")  # capitals, and a reserved word
_VIEW = TableName("Shop", "by_colour")
_SAI = f"CREATE INDEX by_word ON {_TABLE} (colour) USING 'sai'"
_COUNT = 0


@dataclass(frozen=True)
class Running:
    """A node, CQL to it, and its version."""

    node: CassandraNode
    cql: CqlNode
    version: str
    table: TableName = _TABLE

    def rows(self) -> set[int]:
        return self.ids()

    def control(self, kind: str) -> NodeControl:
        if kind == "jolokia":
            return JolokiaControl(self.node.jolokia_url, timeout=60)
        return NodetoolControl(
            self.node.nodetool_command(), host="127.0.0.1", port=self.node.jmx_port, timeout=60
        )

    def loader(self, **more: float) -> BulkLoader:
        values = {"native_port": self.node.native_port, "timeout": 120, **more}
        return BulkLoader(self.node.sstableloader_command(), **values)  # type: ignore[arg-type]

    def ids(self, where: str = "") -> set[int]:
        rows = self.cql._session.rows(f"SELECT id FROM {_TABLE} {where}")
        return {r.id for r in rows}

    def saved(self, to: Path) -> list[Path]:
        """Write the rows, flush, snapshot, copy the files away, and empty the table.

        Returns a directory ``…/<keyspace>/<table>`` for each data directory.
        """
        global _COUNT
        _COUNT += 1
        tag = f"saved-{_COUNT}"
        for number in _ROWS:
            self.cql._session.rows(
                f"INSERT INTO {_TABLE} (id, colour, size) VALUES (%s, %s, %s)",
                (number, f"colour {number % 4}", number % 5),
            )
        self.node.flush(_TABLE.keyspace, _TABLE.table)
        self.node.snapshot(tag, [f"{_TABLE.keyspace}.{_TABLE.table}"])
        directories = []
        for disk in self.node.data_directories:
            (snapshot,) = disk.glob(f"{_TABLE.keyspace}/{_TABLE.table}-*/snapshots/{tag}")
            target = to / disk.name / _TABLE.keyspace / _TABLE.table
            target.mkdir(parents=True)
            for file in snapshot.iterdir():
                if file.is_file() and file.suffix not in (".json", ".cql"):
                    shutil.copy(file, target)
            directories.append(target)
        self.cql.execute(f"TRUNCATE TABLE {_TABLE}")
        assert self.ids() == set()
        return directories


@pytest.fixture(scope="module", params=sampled(list(_HOSTS), each_commit=[CASSANDRA_5_0]))
def running(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
) -> Iterator[Running]:
    version = str(request.param)
    cluster = CassandraCluster(
        tmp_path_factory.mktemp("cassandra"),
        Shape(1, version, first_host=_HOSTS[version]),
        block=loopback,
    )
    try:
        cluster.start()
        (node,) = cluster.nodes
        cql = CqlNode(node.address, node.native_port)
        cql.execute(
            'CREATE KEYSPACE "Shop" WITH replication = '
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        cql.execute(f"CREATE TABLE {_TABLE} (id int PRIMARY KEY, colour text, size int)")
        cql.execute(f"CREATE INDEX by_size ON {_TABLE} (size)")
        if version == CASSANDRA_5_0:
            cql.execute(_SAI)
        yield Running(node, cql, version)
        cql.close()
    finally:
        cluster.stop()


@pytest.fixture(params=["nodetool", "jolokia"])
def control(running: Running, request: pytest.FixtureRequest) -> Iterator[NodeControl]:
    made = running.control(request.param)
    yield made
    made.close()


def _never() -> None:
    pass


@contextmanager
def _without_sai(running: Running) -> Iterator[None]:
    """Drop the storage-attached index meanwhile, as a restore has to do before it streams."""
    if running.version != CASSANDRA_5_0:
        yield
        return
    running.cql.execute(f'DROP INDEX "{_TABLE.keyspace}".by_word')
    try:
        yield
    finally:
        running.cql.execute(_SAI)


def _found(running: Running, where: str) -> set[int]:
    try:
        return running.ids(where)
    except BackupError:  # the index is still built
        return set()


def _data_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*-Data.db"))


def test_import_gives_rows_and_indexes_back(
    running: Running, control: NodeControl, tmp_path: Path
) -> None:
    promises.imports_all_rows(control, running, tmp_path)
    assert running.ids() == _ROWS
    assert running.ids("WHERE size = 3") == {i for i in _ROWS if i % 5 == 3}
    if running.version == CASSANDRA_5_0:
        assert running.ids("WHERE colour = 'colour 1'") == {i for i in _ROWS if i % 4 == 1}


def test_import_names_the_directory_that_is_refused(
    running: Running, control: NodeControl, tmp_path: Path
) -> None:
    def damage(data: Path) -> None:
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 0xFF
        data.write_bytes(content)

    promises.refuses_a_damaged_directory(control, running, tmp_path, damage)
    assert set() < running.ids() < _ROWS


def test_import_of_what_is_not_there(
    running: Running, control: NodeControl, tmp_path: Path
) -> None:
    promises.imports_nothing_from_nothing(control, running, tmp_path)


def test_repair_of_one_replica_returns(running: Running, control: NodeControl) -> None:
    promises.repairs_what_there_is(control, running)


def test_repair_of_several_replicas(running: Running, control: NodeControl) -> None:
    """Three replicas are wanted and there is one: nothing to be done, and no failure."""
    control.repair("system_distributed", ["repair_history"])


def test_repair_that_is_refused(control: NodeControl) -> None:
    for keyspace, table in (("nowhere", "t"), ("system_distributed", "nothing")):
        with pytest.raises(CommandFailed, match=f"{keyspace}|{table}"):
            control.repair(keyspace, [table])


def test_hints_are_forgotten(control: NodeControl) -> None:
    control.truncate_hints()
    assert control.operation_mode() == "NORMAL"


def test_loader_gives_all_rows_back(running: Running, tmp_path: Path) -> None:
    with _without_sai(running):
        promises.loads_all_rows(running.loader(), running.node.address, running, tmp_path)
        assert running.ids() == _ROWS
        assert running.ids("WHERE size = 3") == {i for i in _ROWS if i % 5 == 3}
    if running.version == CASSANDRA_5_0:
        expected = {i for i in _ROWS if i % 4 == 1}
        wait_for(
            lambda: _found(running, "WHERE colour = 'colour 1'") == expected,
            deadline=30,
            what="the index",
        )


def test_nodes_do_not_take_sstables_beside_a_storage_attached_index(
    running: Running, tmp_path: Path
) -> None:
    if running.version != CASSANDRA_5_0:
        return  # there is no SAI
    (directory, _) = running.saved(tmp_path)
    with pytest.raises(StreamFailed, match=r"logs have the reason.*failed stream session"):
        running.loader().load(str(directory), [running.node.address], _never)


def test_gathered_links_are_loaded(running: Running, tmp_path: Path) -> None:
    """SSTables of two disks, as if of two nodes: their names are the same."""
    sources = [f"{n * 8}-{n * 4}-4{n * 3}-8{n * 3}-{n * 12}" for n in "12"]
    (tmp_path / "staged").mkdir()
    staging = Staging([str(tmp_path / "staged")], sources[0])
    staging.prepare()
    for source, directory in zip(sources, running.saved(tmp_path / "saved"), strict=True):
        target = staging.directory(source, _TABLE, 0)
        target.mkdir(parents=True)
        numbers = sorted({sstable_of(f.name) for f in directory.iterdir()})
        for file in directory.iterdir():
            number, component = numbers.index(sstable_of(file.name)), file.name.split("-")[-1]
            shutil.copy(file, target / f"nb-{number}-big-{component}")
    (batch,) = staging.sstables(sources).values()
    assert {(s.sstable, s.source) for s in batch} >= {("nb-0-big", source) for source in sources}
    directory, _ = staging.gather(_TABLE, batch)
    with _without_sai(running):
        assert running.loader().load(str(directory), [running.node.address], _never).bytes_sent
        assert running.ids() == _ROWS
    batch[0].remove()
    assert staging.sstables(sources)[_TABLE] == batch[1:]


def test_loader_of_an_empty_directory(running: Running, tmp_path: Path) -> None:
    promises.loads_nothing_from_an_empty_directory(
        running.loader(), running.node.address, running, tmp_path
    )


@pytest.mark.parametrize("component", ["Statistics.db", "CompressionInfo.db"])
def test_loader_names_the_sstable_that_is_malformed(
    running: Running, tmp_path: Path, component: str
) -> None:
    directory = running.saved(tmp_path)[0]
    damaged = sorted(directory.glob(f"*-{component}"))[0]
    damaged.write_bytes(b"\0" * 7)
    with pytest.raises(SSTableRefused, match=str(directory)):
        running.loader().load(str(directory), [running.node.address], _never)


def test_loader_of_an_unknown_table(running: Running, tmp_path: Path) -> None:
    promises.loads_nothing_into_an_unknown_table(
        running.loader(), running.node.address, running, tmp_path
    )


def test_loader_when_nobody_answers(running: Running, tmp_path: Path) -> None:
    directory = running.saved(tmp_path)[0]
    loader = running.loader(native_port=free_port(running.node.address))
    with pytest.raises(CassandraUnavailable, match=running.node.address):
        loader.load(str(directory), [running.node.address], _never)


def test_loader_is_cancelled(running: Running, tmp_path: Path) -> None:
    directory = running.saved(tmp_path)[0]
    asked = 0

    def cancel_later() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise Cancelled("the restore was cancelled")

    with pytest.raises(Cancelled):
        running.loader().load(str(directory), [running.node.address], cancel_later)
    assert running.ids() == set()


def test_statements_that_cassandra_refuses(running: Running) -> None:
    promises.refuses_statements(running.cql.execute, _TABLE)
    with pytest.raises(CommandFailed, match="Nothing"):
        running.cql.execute(f"ALTER TABLE {_TABLE} WITH compaction = {{'class': 'Nothing'}}")


def test_compaction_that_an_operator_has_switched_off(
    running: Running, control: NodeControl
) -> None:
    """An option of the table switches it off and on; what nodetool did has to be repeated."""
    cql = running.cql
    options = dict(cql.table_settings([_TABLE])[_TABLE].compaction)
    name, settings = str(_TABLE), {str(_TABLE): options}
    assert control.autocompaction_off([_TABLE]) == []
    control.disable_autocompaction([_TABLE])
    assert control.autocompaction_off([_TABLE]) == [_TABLE]
    for statement in (*hold_statements(settings, ()), release_statements(settings, ())[name]):
        cql.execute(statement.rstrip(";"))
    assert cql.table_settings([_TABLE])[_TABLE].compaction == options
    assert control.autocompaction_off([_TABLE]) == []
    cql.execute(hold_statements(settings, ())[0].rstrip(";"))
    assert control.autocompaction_off([_TABLE]) == [_TABLE]
    cql.execute(release_statements(settings, ())[name].rstrip(";"))


def test_rows_are_seen(running: Running, tmp_path: Path) -> None:
    running.cql.execute(f"TRUNCATE TABLE {_TABLE}")
    assert not running.cql.has_rows(_TABLE)
    running.cql._session.rows(f"INSERT INTO {_TABLE} (id) VALUES (1)")
    assert running.cql.has_rows(_TABLE)
    running.cql._session.rows(f"DELETE FROM {_TABLE} WHERE id = 1")
    assert not running.cql.has_rows(_TABLE)
    with pytest.raises(UnknownTable, match=r"nowhere\.t"):
        running.cql.has_rows(TableName("nowhere", "t"))


def test_rows_are_seen_with_too_few_replicas_for_a_quorum(running: Running) -> None:
    running.cql.execute(
        "CREATE KEYSPACE wide WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 3}"
    )
    running.cql.execute('CREATE TABLE wide.t ("Odd name" int PRIMARY KEY)')
    assert not running.cql.has_rows(TableName("wide", "t"))
    running.cql._session.rows('INSERT INTO wide.t ("Odd name") VALUES (1)', consistency="ONE")
    assert running.cql.has_rows(TableName("wide", "t"))


def test_views_schema_and_settings(running: Running) -> None:
    running.cql.await_schema_agreement(10)
    assert not running.cql.is_view_built(_VIEW)
    running.cql.execute(
        f"CREATE MATERIALIZED VIEW {_VIEW} AS SELECT * FROM {_TABLE} "
        "WHERE colour IS NOT NULL AND id IS NOT NULL PRIMARY KEY (colour, id)"
    )
    try:
        wait_for(lambda: running.cql.is_view_built(_VIEW), deadline=60, what="the view")
        # Cassandra forgets the progress after it has noted the end.
        wait_for(lambda: running.cql.build_progress() == {}, deadline=60, what="no progress")
    finally:
        running.cql.execute(f"DROP MATERIALIZED VIEW {_VIEW}")
    assert running.cql.settings("cluster_name", "nothing") == {"cluster_name": "lab cluster"}


def test_indexes_and_their_rebuilding(running: Running, control: NodeControl) -> None:
    running.cql.execute(f"TRUNCATE TABLE {_TABLE}")
    running.cql._session.rows(f"INSERT INTO {_TABLE} (id, size) VALUES (1, 3)")
    found = {i.name: i for i in running.cql.indexes([_TABLE, TableName("nowhere", "t")])}
    kinds = {name: (i.kind, i.is_attached, i.is_with_sstables) for name, i in found.items()}
    expected = {"by_size": ("COMPOSITES", False, False)}
    if running.version == CASSANDRA_5_0:
        expected["by_word"] = ("CUSTOM", True, True)
    assert kinds == expected
    assert running.cql.indexes([]) == ()
    control.rebuild_indexes(_TABLE, sorted(found))
    assert running.ids("WHERE size = 3") == {1}
    wait_for(
        lambda: all(running.cql.is_index_ready(i) for i in found.values()),
        deadline=60,
        what="the indexes",
    )


def test_clients_are_sent_away_and_served_again(running: Running, control: NodeControl) -> None:
    promises.sends_clients_away_and_serves_again(
        control, lambda: takes_connections(running.node.address, running.node.native_port)
    )
    wait_for(lambda: _answers(running), deadline=60, what="CQL")


def _answers(running: Running) -> bool:
    try:
        return running.ids() is not None
    except BackupError:  # the driver connects again in its own time
        return False


@pytest.mark.parametrize("kind", ["nodetool", "jolokia"])
def test_zz_drain(running: Running, kind: str) -> None:
    """The last: the node takes no writes afterwards."""
    control = running.control(kind)
    promises.drains(control)
    control.close()

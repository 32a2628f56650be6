# SPDX-License-Identifier: Apache-2.0
"""What a restore asks of every node control and of CQL, on a real Cassandra."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.control.interface import NodeControl
from magnetodb_backup.cassandra.control.service_commands import takes_connections
from magnetodb_backup.domain.restore.compaction import hold_statements, release_statements
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    BackupError,
    CommandFailed,
    UnknownTable,
)
from tests.contract import promises
from tests.contract.shop import ROWS, TABLE, VERSIONS, Running, run_shop
from tests.lab.artifacts import CASSANDRA_5_0
from tests.lab.ports import LoopbackBlock
from tests.lab.processes import wait_for
from tests.lab.sampling import sampled

_VIEW = TableName("Shop", "by_colour")


@pytest.fixture(scope="module", params=sampled(VERSIONS, each_commit=[CASSANDRA_5_0]))
def running(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("cassandra")
    with run_shop(directory, str(request.param), 121, loopback) as made:
        yield made


@pytest.fixture(params=["nodetool", "jolokia"])
def control(running: Running, request: pytest.FixtureRequest) -> Iterator[NodeControl]:
    made = running.control(request.param)
    yield made
    made.close()


def test_import_gives_rows_and_indexes_back(
    running: Running, control: NodeControl, tmp_path: Path
) -> None:
    promises.imports_all_rows(control, running, tmp_path)
    assert running.ids() == ROWS
    assert running.ids("WHERE size = 3") == {i for i in ROWS if i % 5 == 3}
    if running.version == CASSANDRA_5_0:
        assert running.ids("WHERE colour = 'colour 1'") == {i for i in ROWS if i % 4 == 1}


def test_import_names_the_directory_that_is_refused(
    running: Running, control: NodeControl, tmp_path: Path
) -> None:
    def damage(data: Path) -> None:
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 0xFF
        data.write_bytes(content)

    promises.refuses_a_damaged_directory(control, running, tmp_path, damage)
    assert set() < running.ids() < ROWS


def test_import_of_what_is_not_there(
    running: Running, control: NodeControl, tmp_path: Path
) -> None:
    promises.imports_nothing_from_nothing(control, running, tmp_path)


def test_repair_of_one_replica_returns(running: Running, control: NodeControl) -> None:
    promises.repairs_what_there_is(control, running)


@pytest.mark.parametrize("primary_ranges", [False, True])
def test_repair_of_several_replicas(control: NodeControl, primary_ranges: bool) -> None:
    """Three replicas are wanted and there is one: nothing to be done, and no failure."""
    control.repair("system_distributed", ["repair_history"], primary_ranges=primary_ranges)


def test_repair_that_is_refused(control: NodeControl) -> None:
    for keyspace, table in (("nowhere", "t"), ("system_distributed", "nothing")):
        with pytest.raises(CommandFailed, match=f"{keyspace}|{table}"):
            control.repair(keyspace, [table])


def test_hints_are_forgotten(control: NodeControl) -> None:
    control.truncate_hints()
    assert control.operation_mode() == "NORMAL"


def test_statements_that_cassandra_refuses(running: Running) -> None:
    promises.refuses_statements(running.cql.execute, TABLE)
    with pytest.raises(CommandFailed, match="Nothing"):
        running.cql.execute(f"ALTER TABLE {TABLE} WITH compaction = {{'class': 'Nothing'}}")


def test_compaction_that_an_operator_has_switched_off(
    running: Running, control: NodeControl
) -> None:
    """An option of the table switches it off and on; what nodetool did has to be repeated."""
    cql = running.cql
    options = dict(cql.table_settings([TABLE])[TABLE].compaction)
    name, settings = str(TABLE), {str(TABLE): options}
    assert control.autocompaction_off([TABLE]) == []
    control.disable_autocompaction([TABLE])
    assert control.autocompaction_off([TABLE]) == [TABLE]
    for statement in (*hold_statements(settings, ()), release_statements(settings, ())[name]):
        cql.execute(statement.rstrip(";"))
    assert cql.table_settings([TABLE])[TABLE].compaction == options
    assert control.autocompaction_off([TABLE]) == []
    cql.execute(hold_statements(settings, ())[0].rstrip(";"))
    assert control.autocompaction_off([TABLE]) == [TABLE]
    cql.execute(release_statements(settings, ())[name].rstrip(";"))


def test_rows_are_seen(running: Running, tmp_path: Path) -> None:
    running.cql.execute(f"TRUNCATE TABLE {TABLE}")
    assert not running.cql.has_rows(TABLE)
    running.cql._session.rows(f"INSERT INTO {TABLE} (id) VALUES (1)")
    assert running.cql.has_rows(TABLE)
    running.cql._session.rows(f"DELETE FROM {TABLE} WHERE id = 1")
    assert not running.cql.has_rows(TABLE)
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
        f"CREATE MATERIALIZED VIEW {_VIEW} AS SELECT * FROM {TABLE} "
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
    running.cql.execute(f"TRUNCATE TABLE {TABLE}")
    running.cql._session.rows(f"INSERT INTO {TABLE} (id, size) VALUES (1, 3)")
    found = {i.name: i for i in running.cql.indexes([TABLE, TableName("nowhere", "t")])}
    kinds = {name: (i.kind, i.is_attached, i.is_with_sstables) for name, i in found.items()}
    expected = {"by_size": ("COMPOSITES", False, False)}
    if running.version == CASSANDRA_5_0:
        expected["by_word"] = ("CUSTOM", True, True)
    assert kinds == expected
    assert running.cql.indexes([]) == ()
    control.rebuild_indexes(TABLE, sorted(found))
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

# SPDX-License-Identifier: Apache-2.0
"""Node control by nodetool, for a restore: how it is called and what its answers mean."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.control.nodetool import NodetoolControl
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    Cancelled,
    CassandraUnavailable,
    CommandFailed,
    SSTableRefused,
    UnknownTable,
)
from tests.lab.processes import wait_for
from tests.unit.cassandra.control.fake_nodetool import Answer, FakeNodetool

WHERE = ["-h", "127.0.0.9", "-p", "7199"]
TABLE = TableName("Shop", "order")
REFUSED = "Some directories failed to import, check server logs for details:\n/b c\n"
REPAIR = "[2026-01-01 00:00:00,000] Starting repair command #1, repairing keyspace Shop\n"


@pytest.fixture
def program(tmp_path: Path) -> FakeNodetool:
    return FakeNodetool(tmp_path)


@pytest.fixture
def control(program: FakeNodetool) -> NodetoolControl:
    return NodetoolControl([str(program.path)], host="127.0.0.9", port=7199, repair_timeout=20)


def test_import_moves_and_verifies_but_for_tokens(
    program: FakeNodetool, control: NodetoolControl
) -> None:
    control.import_sstables(TABLE, ["/a", "/b c"])
    assert program.calls() == [
        [*WHERE, "import", "--no-tokens", "--", "Shop", "order", "/a", "/b c"]
    ]


def test_import_of_nothing_asks_nothing(program: FakeNodetool, control: NodetoolControl) -> None:
    control.import_sstables(TABLE, [])
    assert program.calls() == []


def test_refused_directories_are_named(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(Answer(err=REFUSED, code=1))
    with pytest.raises(SSTableRefused, match=r'of /b c for "Shop"."order"; its log'):
        control.import_sstables(TABLE, ["/a", "/b c"])


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ("couldn't find that bean", UnknownTable),
        ("error: Directory /a does not exist", CommandFailed),
        ("nodetool: Failed to connect to '127.0.0.9:7199' - ConnectException: 'Connection refused'",
         CassandraUnavailable),
    ],
)  # fmt: skip
def test_other_failures_of_an_import(
    program: FakeNodetool, control: NodetoolControl, told: str, error: type[Exception]
) -> None:
    program.answer(Answer(err=told, code=1))
    with pytest.raises(error):
        control.import_sstables(TABLE, ["/a"])


def test_import_that_takes_longer_than_other_commands(program: FakeNodetool) -> None:
    program.answer(Answer(seconds=0.5))
    control = NodetoolControl([str(program.path)], host="127.0.0.9", port=7199, timeout=0.05)
    control.import_sstables(TABLE, ["/a"])
    assert len(program.calls()) == 1


def test_import_that_runs_beyond_its_own_time(program: FakeNodetool) -> None:
    program.answer(Answer(seconds=60))
    control = NodetoolControl(
        [str(program.path)], host="127.0.0.9", port=7199, timeout=60, repair_timeout=0.5
    )
    with pytest.raises(
        CommandFailed,
        match=r'into "Shop"."order" still runs after 0.5 s \(\[nodetool\] repair_timeout',
    ):
        control.import_sstables(TABLE, ["/a"])


def test_cancelled_import(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(Answer(seconds=60))

    def cancelled() -> None:
        if program.calls():
            raise Cancelled("on request")

    with pytest.raises(Cancelled):
        control.import_sstables(TABLE, ["/a"], cancelled)
    wait_for(lambda: not program.processes(), deadline=5, what="the end of nodetool")


def test_nodes_that_join_leave_or_move(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(
        Answer("""\
Datacenter: dc1
===============
Status=Up/Down
|/ State=Normal/Leaving/Joining/Moving
--  Address    Load       Tokens  Owns (effective)  Host ID                               Rack
UN  127.0.0.1  75.2 KiB   16      51.2%             11111111-1111-4111-8111-111111111111  r1
UJ  127.0.0.2  75.2 KiB   16      ?                 22222222-2222-4222-8222-222222222222  r1
DL  127.0.0.3  ?          16      48.8%             33333333-3333-4333-8333-333333333333  r1
UM  ::4        1.1 MiB    16      48.8%             44444444-4444-4444-8444-444444444444  r1

""")
    )
    assert control.unsettled_nodes() == {
        "127.0.0.2": "joining", "127.0.0.3": "leaving", "::4": "moving"
    }  # fmt: skip


def test_repair_is_full(program: FakeNodetool, control: NodetoolControl) -> None:
    control.repair("Shop", ["a", "b"])
    (call,) = program.calls()
    options, names = call[len(WHERE) :][:3], call[-4:]
    assert options == ["repair", "--full", "--ignore-unreplicated-keyspaces"]
    assert names == ["--", "Shop", "a", "b"]


def test_repair_of_primary_ranges(program: FakeNodetool, control: NodetoolControl) -> None:
    control.repair("Shop", ["a"], primary_ranges=True)
    (call,) = program.calls()
    repair = ["repair", "--full", "--ignore-unreplicated-keyspaces", "--partitioner-range"]
    assert call[len(WHERE) :] == [*repair, "--", "Shop", "a"]


def test_replica_that_times_out_is_not_jmx(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(Answer(REPAIR + "Validation timed out", code=2))
    with pytest.raises(CommandFailed, match=r"repair of Shop: .*Validation timed out"):
        control.repair("Shop", ["a"])


def test_repair_without_jmx(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(Answer(err="ConnectException: 'Connection refused'", code=1))
    with pytest.raises(CassandraUnavailable, match="does not reach JMX"):
        control.repair("Shop", ["a"])


def test_repair_has_a_time_of_its_own(program: FakeNodetool) -> None:
    program.answer(Answer(seconds=60))
    control = NodetoolControl(
        [str(program.path)], host="127.0.0.9", port=7199, timeout=60, repair_timeout=0.5
    )
    with pytest.raises(
        CommandFailed, match=r"still runs after 0.5 s \(\[nodetool\] repair_timeout"
    ):
        control.repair("Shop", ["a"])


def test_repair_that_nobody_waits_for_any_more(
    program: FakeNodetool, control: NodetoolControl
) -> None:
    program.answer(Answer(seconds=60))

    def cancelled() -> None:
        if program.calls():
            raise Cancelled("on request")

    with pytest.raises(Cancelled):
        control.repair("Shop", ["a"], cancelled)
    wait_for(lambda: not program.processes(), deadline=5, what="the end of nodetool")


def test_clients_and_batches(program: FakeNodetool, control: NodetoolControl) -> None:
    control.disable_clients()
    control.replay_batches()
    control.enable_clients()
    assert [call[-1] for call in program.calls()] == [
        "disablebinary", "replaybatchlog", "enablebinary",
    ]  # fmt: skip


def test_indexes_are_rebuilt(program: FakeNodetool, control: NodetoolControl) -> None:
    control.rebuild_indexes(TABLE, [])
    control.rebuild_indexes(TABLE, ["a", "b"])
    assert program.calls() == [[*WHERE, "rebuild_index", "--", "Shop", "order", "a", "b"]]


def test_rebuilding_indexes_has_a_time_of_its_own(program: FakeNodetool) -> None:
    program.answer(Answer(seconds=60))
    control = NodetoolControl(
        [str(program.path)], host="127.0.0.9", port=7199, timeout=60, repair_timeout=0.5
    )
    with pytest.raises(CommandFailed, match=r"built after 0\.5 s \(\[nodetool\] repair_timeout"):
        control.rebuild_indexes(TABLE, ["a"])


def test_node_that_starts_is_not_there_yet(program: FakeNodetool, control: NodetoolControl) -> None:
    told = "IllegalArgumentException: Server is not initialized yet, cannot run nodetool."
    program.answer(Answer(err=told, code=1))
    with pytest.raises(CassandraUnavailable):
        control.operation_mode()


def test_listening_is_seen_without_nodetool(program: FakeNodetool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert NodetoolControl([str(program.path)], host="127.0.0.1", port=port).listens()
    assert not NodetoolControl([str(program.path)], host="127.0.0.1", port=port).listens()
    assert program.calls() == []


def test_drain_and_hints(program: FakeNodetool, control: NodetoolControl) -> None:
    control.drain()
    control.truncate_hints()
    assert program.calls() == [[*WHERE, "drain"], [*WHERE, "truncatehints"]]


def test_tables_that_are_not_compacted(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(Answer("keyspace table status\nShop order not running\nShop Other running\n"))
    tables = [TABLE, TableName("Shop", "Other")]
    assert control.autocompaction_off(tables) == [TABLE]
    assert program.calls()[-1] == [
        *WHERE, "statusautocompaction", "-a", "--", "Shop", "Other", "order",
    ]  # fmt: skip
    program.answer(Answer(""))
    control.disable_autocompaction(tables)
    assert program.calls()[-1] == [*WHERE, "disableautocompaction", "--", "Shop", "Other", "order"]

# SPDX-License-Identifier: Apache-2.0
"""Node control by Jolokia, for a restore: what is posted and what the answers mean."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from magnetodb_backup.cassandra.control.jolokia import JolokiaControl
from magnetodb_backup.cassandra.control.jolokia_agent import LongWaits
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    Cancelled,
    CassandraUnavailable,
    CommandFailed,
    SSTableRefused,
    UnknownTable,
)
from tests.unit.cassandra.control.fake_agent import FakeAgent, fake_agent

TABLE = TableName("Shop", "order")


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    with fake_agent() as agent:
        yield agent


@pytest.fixture
def control(agent: FakeAgent) -> Iterator[JolokiaControl]:
    control = JolokiaControl(agent.url, timeout=30, waits=LongWaits(timeout=30, poll=0.01))
    yield control
    control.close()


def test_import_moves_and_verifies_but_for_tokens(
    agent: FakeAgent, control: JolokiaControl
) -> None:
    agent.first, agent.body = ["NORMAL"], b'{"status": 200, "value": []}'
    control.import_sstables(TABLE, ["/a", "/b"])
    posted = agent.requests[-1]
    assert posted["mbean"] == "org.apache.cassandra.db:type=Tables,keyspace=Shop,table=order"
    assert posted["operation"] == (
        "importNewSSTables(java.util.Set,boolean,boolean,boolean,boolean,boolean,boolean,boolean)"
    )
    directories, *options = posted["arguments"]
    assert directories == ["/a", "/b"]
    assert options == [True, True, True, False, True, False, False]


def test_import_of_nothing_asks_nothing(agent: FakeAgent, control: JolokiaControl) -> None:
    """Without directories Cassandra would load whatever lies in the table's own."""
    control.import_sstables(TABLE, [])
    assert agent.requests == []


def test_refused_directories_are_named(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.first = ["NORMAL", ["/b"]]
    with pytest.raises(SSTableRefused, match=r'of /b for "Shop"."order"; its log'):
        control.import_sstables(TABLE, ["/a", "/b"])


def test_import_that_takes_longer_than_other_requests(agent: FakeAgent) -> None:
    """One request waits for it: more would take all threads of the agent."""
    control = JolokiaControl(agent.url, timeout=0.05, waits=LongWaits(poll=0.2))
    agent.first, agent.slow = ["NORMAL", ["/b"]], "importNewSSTables"
    control_looks: list[int] = []

    def look() -> None:
        control_looks.append(1)
        if len(control_looks) == 2:
            agent.released.set()

    with pytest.raises(SSTableRefused, match="of /b"):
        control.import_sstables(TABLE, ["/a", "/b"], look)
    assert len(control_looks) == 2
    assert len(agent.requests) == 2
    control.close()


def test_import_that_runs_beyond_its_own_time(agent: FakeAgent) -> None:
    control = JolokiaControl(agent.url, waits=LongWaits(timeout=0.2, poll=0.01))
    agent.first, agent.slow = ["NORMAL"], "importNewSSTables"
    with pytest.raises(
        CommandFailed,
        match=r'into "Shop"."order" still runs after 0.2 s \(\[jolokia\] repair_timeout',
    ):
        control.import_sstables(TABLE, ["/a"])
    control.close()


def test_cancelled_import(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.first, agent.slow = ["NORMAL"], "importNewSSTables"

    def cancelled() -> None:
        raise Cancelled("on request")

    with pytest.raises(Cancelled):
        control.import_sstables(TABLE, ["/a"], cancelled)


def test_import_into_an_unknown_table(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.first = ["NORMAL"]
    agent.error(404, "no", "javax.management.InstanceNotFoundException")
    with pytest.raises(UnknownTable, match=r'no table "Shop"."order"'):
        control.import_sstables(TABLE, ["/a"])


def test_import_while_cassandra_starts(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.error(404, "no", "javax.management.InstanceNotFoundException")
    with pytest.raises(CassandraUnavailable, match="still starting"):
        control.import_sstables(TABLE, ["/a"])


def test_nodes_that_join_leave_or_move(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.first = [["127.0.0.2"], [], ["127.0.0.4"]]
    assert control.unsettled_nodes() == {"127.0.0.2": "joining", "127.0.0.4": "moving"}
    assert [r["attribute"] for r in agent.requests] == [
        "JoiningNodes", "LeavingNodes", "MovingNodes"
    ]  # fmt: skip


def test_repair_waits_until_it_is_done(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.first = [7, None, ["IN_PROGRESS"], ["IN_PROGRESS"], ["COMPLETED", "done"]]
    control.repair("Shop", ["a", "b"])
    start, *looks = agent.requests
    assert start["operation"] == "repairAsync(java.lang.String,java.util.Map)"
    keyspace, options = start["arguments"]
    assert keyspace == "Shop"
    assert options["columnFamilies"] == "a,b"
    assert options["incremental"] == options["primaryRange"] == "false"
    assert [look["arguments"] for look in looks] == [[7]] * 4


def test_repair_of_primary_ranges(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.value(0)
    control.repair("Shop", ["a"], primary_ranges=True)
    (start,) = agent.requests
    options = start["arguments"][1]
    assert (options["incremental"], options["primaryRange"]) == ("false", "true")


def test_repair_of_one_replica(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.value(0)
    control.repair("Shop", ["a"])
    assert len(agent.requests) == 1


def test_failed_repair(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.first = [7, ["FAILED", "Endpoint not alive: /10.0.0.3", "finished with error"]]
    with pytest.raises(
        CommandFailed, match=r"repair of Shop failed: Endpoint not alive: /10.0.0.3"
    ):
        control.repair("Shop", ["a"])


def test_repair_that_a_restart_has_ended(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.first = [7, ["IN_PROGRESS"]]
    agent.value(None)
    with pytest.raises(CassandraUnavailable, match="does not know the repair of Shop"):
        control.repair("Shop", ["a"])


def test_repair_is_begun_once_whatever_the_agent_does_meanwhile(
    agent: FakeAgent, control: JolokiaControl
) -> None:
    agent.first = [7]
    agent.value(["COMPLETED"])
    looks = 0

    def silent_for_a_while() -> None:
        nonlocal looks
        looks += 1
        agent.deed = "hang up" if looks < 4 else ""

    control.repair("Shop", ["a"], silent_for_a_while)
    assert looks == 4
    begun = [r for r in agent.requests if r["operation"].startswith("repairAsync")]
    assert len(begun) == 1


def test_repair_of_a_node_that_stays_away(agent: FakeAgent) -> None:
    control = JolokiaControl(agent.url, waits=LongWaits(poll=0.01, silence=0.05))
    agent.first = [7]

    def silent() -> None:
        agent.deed = "hang up"

    with pytest.raises(CassandraUnavailable, match="does not answer"):
        control.repair("Shop", ["a"], silent)
    control.close()


def test_repair_that_nobody_waits_for_any_more(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.first = [7]
    agent.value(["IN_PROGRESS"])

    def cancelled() -> None:
        if len(agent.requests) > 3:
            raise Cancelled("on request")

    with pytest.raises(Cancelled):
        control.repair("Shop", ["a"], cancelled)


def test_repair_that_takes_too_long(agent: FakeAgent) -> None:
    control = JolokiaControl(agent.url, waits=LongWaits(timeout=0.05, poll=0.01))
    agent.first = [7]
    agent.value(["IN_PROGRESS"])
    with pytest.raises(
        CommandFailed, match=r"still runs after 0.05 s \(\[jolokia\] repair_timeout"
    ):
        control.repair("Shop", ["a"])
    control.close()


def test_clients_and_batches(agent: FakeAgent, control: JolokiaControl) -> None:
    control.disable_clients()
    control.replay_batches()
    control.enable_clients()
    assert [(r["mbean"], r["operation"]) for r in agent.requests] == [
        ("org.apache.cassandra.db:type=StorageService", "stopNativeTransport()"),
        ("org.apache.cassandra.db:type=BatchlogManager", "forceBatchlogReplay()"),
        ("org.apache.cassandra.db:type=StorageService", "startNativeTransport()"),
    ]


def test_indexes_are_rebuilt(agent: FakeAgent, control: JolokiaControl) -> None:
    control.rebuild_indexes(TABLE, [])
    control.rebuild_indexes(TABLE, ["a", "b"])
    (request,) = agent.requests
    assert request["operation"].startswith("rebuildSecondaryIndex(java.lang.String,")
    assert request["arguments"] == ["Shop", "order", ["a", "b"]]


def test_rebuilding_indexes_has_a_time_of_its_own(agent: FakeAgent) -> None:
    agent.deed = "silence"
    control = JolokiaControl(agent.url, timeout=60, waits=LongWaits(timeout=0.2))
    with pytest.raises(CommandFailed, match=r"built after 0\.2 s \(\[jolokia\] repair_timeout"):
        control.rebuild_indexes(TABLE, ["a"])
    control.close()


def test_listening_is_seen_without_a_request(agent: FakeAgent, control: JolokiaControl) -> None:
    assert control.listens()
    assert agent.requests == []
    assert not JolokiaControl("http://127.0.0.1:1/jolokia").listens()


def test_drain_and_hints(agent: FakeAgent, control: JolokiaControl) -> None:
    control.drain()
    control.truncate_hints()
    assert [(r["mbean"], r["operation"]) for r in agent.requests] == [
        ("org.apache.cassandra.db:type=StorageService", "drain()"),
        ("org.apache.cassandra.hints:type=HintsService", "deleteAllHints()"),
    ]

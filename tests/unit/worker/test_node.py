# SPDX-License-Identifier: Apache-2.0
"""The local node is the one that it should be, over both ways to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from magnetodb_backup.errors import CassandraUnavailable, DataDirectoryProblem, WrongNode
from magnetodb_backup.worker.node import LocalNode
from tests.unit.worker.fake_control import FakeControl
from tests.unit.worker.fake_cql import FakeCql
from tests.unit.worker.fake_node import HOST, FakeNode, member

OTHER = member(2).host_id


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def test_connection_is_made_once(node: FakeNode) -> None:
    local = node.local()
    assert local.member() == local.prove(HOST) == node.me
    assert node.connections == 1


def test_connection_is_made_again_after_an_outage(node: FakeNode) -> None:
    local = node.local()
    local.member()
    node.cql_down = True
    for _ in range(2):
        with pytest.raises(CassandraUnavailable):
            local.member()
    node.cql_down = False
    local.member()
    assert (node.connections, node.closed) == (3, 2)


def test_connection_that_cannot_be_made(node: FakeNode) -> None:
    attempts: list[int] = []

    def connect() -> FakeCql:
        attempts.append(1)
        if len(attempts) == 1:
            raise CassandraUnavailable("not yet")
        return node.connect()

    local = LocalNode(connect, FakeControl(node), expected_host_id="", configured_directories=())
    with pytest.raises(CassandraUnavailable, match="not yet"):
        local.member()
    assert local.member() == node.me


def test_configured_host_id_is_insisted_on(node: FakeNode) -> None:
    with pytest.raises(WrongNode) as failure:
        node.local(expected=OTHER).member()
    told = str(failure.value)
    assert f"Cassandra at 127.0.0.1 has the host ID {HOST}" in told
    assert f"belongs to {OTHER}" in told
    assert "check [cassandra] address and host_id" in told


def test_first_host_id_is_kept(node: FakeNode) -> None:
    """A node that was replaced meanwhile is another one."""
    local = node.local()
    local.member()
    node.me = replace(node.me, host_id=OTHER)
    with pytest.raises(WrongNode, match="restart the worker if the node was replaced on purpose"):
        local.member()


def test_task_for_another_node_is_refused(node: FakeNode) -> None:
    with pytest.raises(WrongNode, match=f"node is {HOST}, but the task is for {OTHER}"):
        node.local().prove(OTHER)


def test_node_control_of_another_node_is_refused(node: FakeNode) -> None:
    node.controlled_host_id = OTHER
    with pytest.raises(WrongNode) as failure:
        node.local().prove(HOST)
    assert f"CQL reaches host ID {HOST}, but node control reaches {OTHER}" in str(failure.value)
    assert "[nodetool] or [jolokia]" in str(failure.value)


def test_node_control_is_asked_once_per_start_of_cassandra(node: FakeNode) -> None:
    """With nodetool each question starts a JVM."""
    local = node.local()
    for _ in range(3):
        local.prove(HOST)
    assert node.log == ["host_id"]
    node.boots = 2
    node.controlled_host_id = OTHER
    for _ in range(2):
        with pytest.raises(WrongNode, match=f"node control reaches {OTHER}"):
            local.prove(HOST)
    node.controlled_host_id = HOST
    local.prove(HOST)
    assert node.log == ["host_id"] * 4


def test_node_control_is_asked_each_time_while_the_start_is_not_known(node: FakeNode) -> None:
    node.boots = None
    local = node.local()
    for _ in range(2):
        local.prove(HOST)
    assert node.log == ["host_id"] * 2


@pytest.mark.parametrize(("shows", "asked"), [(True, []), (False, ["operation_mode"])])
def test_operation_mode_is_read_by_cql_where_possible(
    node: FakeNode, shows: bool, asked: list[str]
) -> None:
    """Cassandra 4.0 does not show it."""
    node.mode, node.shows_gossip = "LEAVING", shows
    assert node.local().operation_mode() == "LEAVING"
    assert node.log == asked


def test_data_directories_are_asked_for(node: FakeNode) -> None:
    assert node.local().data_directories() == node.data.names


def test_configured_data_directories_may_be_in_another_order(node: FakeNode) -> None:
    configured = [name + "/" for name in reversed(node.data.names)]
    assert node.local(directories=configured).data_directories() == tuple(configured)


@pytest.mark.parametrize("wrong", ["missing", "additional", "other"])
def test_configured_data_directories_must_be_those(node: FakeNode, wrong: str) -> None:
    """A directory that is left out would be data that no backup has."""
    first, second = node.data.names
    configured = {
        "missing": [first],
        "additional": [first, second, "/more"],
        "other": [first, "/other"],
    }[wrong]
    with pytest.raises(DataDirectoryProblem, match="correct the option or leave it") as failure:
        node.local(directories=configured).data_directories()
    assert ", ".join(configured) in str(failure.value)
    assert f"uses {first}, {second}" in str(failure.value)

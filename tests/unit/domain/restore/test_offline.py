# SPDX-License-Identifier: Apache-2.0
"""Which node backup goes back to which stopped node, and what is said where none can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magnetodb_backup.domain.backup.manifest import MissingNode, NodeShare, StoredObject
from magnetodb_backup.domain.restore.offline import (
    choose_places,
    down_problems,
    exchange_state,
    is_everything,
)
from magnetodb_backup.domain.restore.routing import Assignment, Method
from magnetodb_backup.domain.restore.source_ring import SourceRing
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import KeyspaceDescription, TableName
from tests.unit.worker.fake_node import member

RING = [member(n) for n in (1, 2, 3)]
TWO = {"class": "NetworkTopologyStrategy", "dc1": "2"}
KEYSPACES = [KeyspaceDescription("shop", TWO), KeyspaceDescription("system_auth", TWO)]


def share(number: int, host: int) -> NodeShare:
    """Return the node backup of the node with this number, when it had another host ID."""
    m = member(number)
    return NodeShare(
        member(host).host_id, m.address, m.dc, m.rack, m.version, m.tokens,
        StoredObject("n", 1, "0" * 64), 1, 1, 0, "", "",
    )  # fmt: skip


GONE = MissingNode("gone", RING[2].dc, RING[2].rack, RING[2].tokens)
SOURCES = [share(1, 5), share(2, 6), share(3, 7)]


def test_each_node_takes_the_files_of_its_tokens() -> None:
    ways, problems = choose_places(SourceRing(SOURCES), RING, KEYSPACES, {"shop": TWO}, None)
    assert problems == []
    names = ("shop", "system_auth")
    assert ways.methods == dict.fromkeys(names, Method.PLACE)
    assert set(ways.assignments) == {
        Assignment(source.host_id, target.host_id, names, Method.PLACE)
        for source, target in zip(SOURCES, RING, strict=True)
    }
    assert ways.incomplete == ()


def test_node_that_a_partial_backup_lacks() -> None:
    """It takes nothing, and a repair brings its rows."""
    ways, problems = choose_places(SourceRing(SOURCES[:2], [GONE]), RING, KEYSPACES, {}, None)
    assert problems == []
    assert len(ways.assignments) == 2
    assert ways.incomplete == ("shop", "system_auth")


@pytest.mark.parametrize(
    "node", [replace(RING[2], tokens=(7,)), replace(RING[2], rack="r9")], ids=["tokens", "rack"]
)
def test_node_that_has_replaced_a_missing_one_elsewhere(node: RingMember) -> None:
    """It owns other ranges, and so do its neighbours: their files lack rows that they own now."""
    _, (problem,) = choose_places(
        SourceRing(SOURCES[:2], [GONE]), [*RING[:2], node], KEYSPACES, {}, None
    )
    assert "the backup has no node with the tokens, data centre and rack of 127.0.0.3" in problem


def test_missing_node_whose_tokens_an_older_release_did_not_keep() -> None:
    """It is known by its host ID only."""
    for host_id, count in ((RING[2].host_id, 0), ("gone", 1)):
        missing = [MissingNode(host_id)]
        _, problems = choose_places(SourceRing(SOURCES[:2], missing), RING, KEYSPACES, {}, None)
        assert len(problems) == count


@pytest.mark.parametrize(
    ("sources", "missing", "ring", "told"),
    [
        (SOURCES, [], RING[:2], ["no node has the tokens, data centre and rack of 127.0.0.3. F"]),
        (
            SOURCES[:2],
            [],
            RING,
            ["the backup has no node with the tokens, data centre and rack of 127.0.0.3. F"],
        ),
        (
            SOURCES,
            [],
            [*RING[:2], replace(RING[2], rack="r9")],
            ["no node has", "of 127.0.0.3; the backup has no node"],
        ),
        (SOURCES, [GONE], RING, ["the backup is of 4 nodes"]),
    ],
)
def test_ring_that_is_not_the_backups(
    sources: list[NodeShare], missing: list[MissingNode], ring: list[RingMember], told: list[str]
) -> None:
    _, (problem,) = choose_places(SourceRing(sources, missing), ring, KEYSPACES, {}, None)
    assert problem.startswith("the ring is not the backup's: ")
    assert all(text in problem for text in told)
    assert problem.endswith("streamed to the nodes that own them")


def test_one_node() -> None:
    ways, problems = choose_places(SourceRing(SOURCES), RING[1:], KEYSPACES, {}, RING[1])
    assert problems == []
    assert [(a.source, a.target) for a in ways.assignments] == [
        (SOURCES[1].host_id, RING[1].host_id)
    ]
    _, (problem,) = choose_places(
        SourceRing(SOURCES), RING, KEYSPACES, {}, member(4, address="new")
    )
    assert "no node backup has the tokens, data centre and rack of node new" in problem
    assert "127.0.0.1, 127.0.0.2, 127.0.0.3. Restore without --offline" in problem


def test_other_replication() -> None:
    now = {"shop": {**TWO, "dc1": "3"}, "system_auth": {**TWO, "class": "x.y.SimpleStrategy"}}
    _, (shop, auth) = choose_places(SourceRing(SOURCES), RING, KEYSPACES, now, None)
    assert "ALTER KEYSPACE shop to the backup's first, or restore without --offline" in shop
    assert auth.endswith("ALTER KEYSPACE system_auth to the backup's first")


def test_what_everything_is() -> None:
    shop, roles = TableName("shop", "t"), TableName("system_auth", "roles")
    history = TableName("system_distributed", "repair_history")
    assert is_everything([shop, roles], [shop, roles, history])
    assert not is_everything([shop], [shop, roles])
    assert not is_everything([roles], [shop, roles])


@pytest.mark.parametrize(
    ("changes_schema", "everything", "single", "told"),
    [
        (True, True, True, "but tables have to be made"),
        (False, False, False, "its commit log may have newer writes"),
        (False, True, False, ""),
        (False, False, True, ""),
    ],
)
def test_nodes_that_are_down(
    changes_schema: bool, everything: bool, single: bool, told: str
) -> None:
    problems = down_problems(
        {RING[0].address: "refused"},
        changes_schema=changes_schema,
        everything=everything,
        single=single,
    )
    assert len(problems) == bool(told)
    assert all(
        "127.0.0.1 does not answer its worker (refused)" in p and told in p for p in problems
    )
    assert not down_problems({}, changes_schema=True, everything=False, single=False)


@pytest.mark.parametrize(
    ("started", "errors", "told"),
    [
        (False, {}, ["has its rows: all nodes have their original files, and run"]),
        (False, {"b": "no", "a": "off"}, ["CASSANDRA MAY BE STOPPED (a: off; b: no): if its"]),
        (
            True,
            {},
            ["has the backup's files; ", " files are in .magnetodb-backup/aside-the-id of each"],
        ),
        (True, {"a": "off"}, ["CASSANDRA MAY BE STOPPED, start it (a: off)"]),
    ],
)
def test_states(started: bool, errors: dict[str, str], told: list[str]) -> None:
    state = exchange_state("the-id", started=started, errors=errors)
    assert all(part in state for part in told)
    assert ("STOPPED" in state) is bool(errors)

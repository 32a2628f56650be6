# SPDX-License-Identifier: Apache-2.0
"""node list, node forget, status check: who is there, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.views import node_view
from magnetodb_backup.errors import DatabaseUnavailable
from tests.lab.catalogue import Clock, catalogue
from tests.lab.deployment import Outcome
from tests.unit.cli.conftest import Shell
from tests.unit.domain.samples import HOST_ID, MEMBER, REPORT


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    """A database without any report."""
    with catalogue(tmp_path, clock) as database:
        yield database


def test_nodes_have_the_values_of_the_rest_api(shell: Shell, database: Database) -> None:
    database.nodes.report(REPORT)
    database.nodes.report(replace(REPORT, worker_id="w2", cluster="other", member=None))
    listed = shell("node", "list", "-f", "json").json
    for shown, node in zip(listed, database.nodes.list(live_within=30), strict=True):
        view = node_view(node)
        assert shown == {name: view[name] for name in shown}
    assert [node["host_id"] for node in listed] == [HOST_ID, None]
    (other,) = shell("node", "list", "--cluster", "other", "-f", "json").json
    assert other["worker_id"] == "w2"


def test_node_that_is_silent(shell: Shell, database: Database, clock: Clock) -> None:
    database.nodes.report(REPORT)
    clock.now += 31
    (node,) = shell("node", "list", "-f", "json").json
    assert (node["live"], node["last_seen"]) == (False, "2027-01-15T08:00:00.125Z")


def check(shell: Shell) -> tuple[Outcome, dict[str, tuple[str, str]]]:
    """Run the check; return result and detail by what was checked."""
    outcome = shell("status", "check", "-f", "json")
    return outcome, {row["check"]: (row["result"], row["detail"]) for row in outcome.json}


def test_all_is_well(shell: Shell, database: Database) -> None:
    database.nodes.conductor_seen("host:1")
    database.nodes.report(REPORT)
    outcome, found = check(shell)
    assert (outcome.code, outcome.err) == (0, "")
    assert found == {
        "database": ("ok", f"version {database.version()}"),
        "conductor": ("ok", "host:1"),
        "worker w1 on node1": ("ok", ""),
    }


def test_nobody_is_there(shell: Shell) -> None:
    outcome, found = check(shell)
    assert outcome.code == 1
    assert found["conductor"] == ("FAILED", "none is running; start magnetodb-backup-conductor")
    assert found["worker"] == ("FAILED", "none has reported; start magnetodb-backup-worker")


def test_silence(shell: Shell, database: Database, clock: Clock) -> None:
    database.nodes.conductor_seen("host:1")
    database.nodes.report(REPORT)
    clock.now += 31
    outcome, found = check(shell)
    assert outcome.code == 1
    assert found["conductor"][0] == "FAILED"
    result, detail = found["worker w1 on node1"]
    assert result == "FAILED"
    assert detail.startswith("silent since 2027-01-15 08:00:00 UTC; start it, or see node forget")


def test_worker_of_a_node_that_has_left_is_forgotten(
    shell: Shell, database: Database, clock: Clock
) -> None:
    database.nodes.conductor_seen("host:1")
    for worker in ("w1", "w2"):
        database.nodes.report(replace(REPORT, worker_id=worker))
    clock.now += 31
    database.nodes.conductor_seen("host:1")
    database.nodes.report(replace(REPORT, worker_id="w2"))
    outcome = shell("node", "forget", "w1")
    assert (outcome.code, outcome.out, outcome.err) == (0, "worker w1 is forgotten\n", "")
    assert [node["worker_id"] for node in shell("node", "list", "-f", "json").json] == ["w2"]
    assert check(shell)[0].code == 0


def test_only_what_is_away_is_forgotten(shell: Shell, database: Database) -> None:
    database.nodes.report(REPORT)
    assert shell.refused(5, "node", "forget", "w1") == "worker w1 on node1 is live; stop it first"
    assert shell.refused(4, "node", "forget", "w9") == "there is no worker 'w9'; see node list"
    assert len(database.nodes.list(live_within=30)) == 1


def test_what_a_worker_says_of_its_node(shell: Shell, database: Database) -> None:
    database.nodes.conductor_seen("host:1")
    database.nodes.report(replace(REPORT, problem="Cassandra does not answer"))
    outcome, found = check(shell)
    assert outcome.code == 1
    assert found["worker w1 on node1"] == ("FAILED", "Cassandra does not answer")


def test_two_workers_of_one_node(shell: Shell, database: Database) -> None:
    database.nodes.conductor_seen("host:1")
    other = replace(MEMBER, host_id="another")
    for worker, member in (("w1", MEMBER), ("w2", MEMBER), ("w3", other)):
        database.nodes.report(replace(REPORT, worker_id=worker, member=member))
    outcome, found = check(shell)
    assert outcome.code == 1
    twice = ("FAILED", f"another live worker reports host ID {HOST_ID}; stop one")
    assert found["worker w1 on node1"] == found["worker w2 on node1"] == twice
    assert found["worker w3 on node1"] == ("ok", "")


def test_database_that_is_away_is_a_finding(shell: Shell) -> None:
    def away() -> Database:
        raise DatabaseUnavailable("the database does not answer")

    services = replace(shell.services, database=away, unchecked_database=away)
    outcome = shell("status", "check", "-f", "json", services=services)
    assert outcome.code == 1
    row = {"check": "database", "result": "FAILED", "detail": "the database does not answer"}
    assert outcome.json == [row]

# SPDX-License-Identifier: Apache-2.0
"""Offline restores: nodes are stopped, their files exchanged, and started again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from cassandra import InvalidRequest, Unauthorized
from cassandra.cluster import NoHostAvailable

from tests.functional.depot import Depot, all_rows, run
from tests.functional.runbook import follow
from tests.lab.cassandra import CassandraCluster
from tests.lab.cassandra_flags import Shape
from tests.lab.deployment import Deployment, Outcome
from tests.lab.fault_proxy import FaultProxy
from tests.lab.keystone import Keystone
from tests.lab.operating import Operator
from tests.lab.ports import LoopbackBlock
from tests.lab.processes import wait_for
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.reader import Reader
from tests.lab.rig import PREFIX, Rig, demo_store, keystone_options
from tests.lab.swift import Swift

_ROLES = "system_auth.roles"
_LOGIN = ("cassandra", "cassandra")
_CHANGED = ("reader", "after")
_ALL_NODES = "{'class': 'NetworkTopologyStrategy', 'dc1': 3}"
DEPOT = Depot("offline")


@dataclass(frozen=True)
class Seen:
    """All that clients see of the sample on each node, at consistency ONE."""

    rows: Sequence[Mapping[str, Sequence[str]]]
    found: Sequence[Sequence[Sequence[str]]]
    roles: Sequence[Sequence[str]]


pytestmark = pytest.mark.timeout(1800)  # a start of three nodes may take minutes


class Stopping:
    """A cluster whose workers may stop and start it, with a sample and a backup of all of it."""

    def __init__(self, rig: Rig, operator: Operator) -> None:
        self.rig, self.operator = rig, operator
        # The role that logs in here must be on all nodes before the next login asks for a quorum.
        with rig.cluster.session() as session:
            session.execute(f"ALTER KEYSPACE system_auth WITH replication = {_ALL_NODES}")
            for node in rig.cluster.nodes:
                node.nodetool("repair", "--full", "system_auth")
        rig.execute(
            *(f"INSERT INTO {_ROLES} (role, can_login, is_superuser, salted_hash) "
              f"VALUES ('role{i}', true, false, 'x{i}')" for i in range(20)),
            "CREATE ROLE reader WITH LOGIN = true AND PASSWORD = 'before'",
        )  # fmt: skip
        DEPOT.make(rig)
        rig.execute(f"GRANT SELECT ON KEYSPACE {DEPOT.keyspace} TO reader")
        self.before = self.seen(consistency="ALL")
        self.identities = self.identity()
        self.backup = str(rig.created("--all-keyspaces", "--figures")["id"])

    def seen(self, consistency: str = "ONE") -> Seen:
        nodes = range(len(self.rig.cluster.nodes))
        cluster = self.rig.cluster
        queries = ["people WHERE name = 'n3'", "parts WHERE text = 'p7'"]
        return Seen(
            [DEPOT.rows(cluster, n, consistency=consistency) for n in nodes],
            [[run(cluster, f"SELECT id FROM {DEPOT.keyspace}.{q}", n, consistency)
              for q in queries] for n in nodes],
            [all_rows(cluster, _ROLES, n, consistency) for n in nodes],
        )  # fmt: skip

    def identity(self) -> list[tuple[str, list[str]]]:
        """Return each node's host ID and tokens."""
        return [
            (n.host_id, sorted(n.jolokia(type="read", attribute="Tokens")))
            for n in self.rig.cluster.nodes
        ]

    def change(self) -> None:
        """Write, delete and drop what the backup has, and make what it does not have."""
        rig, k = self.rig, DEPOT.keyspace
        DEPOT.write(rig, range(100, 320), mark=" newer")
        rig.execute(
            *(f"DELETE FROM {k}.people WHERE id = {i}" for i in range(50)),
            *(f"DELETE FROM {k}.visits WHERE id = {i}" for i in range(20)),
            *(f"DELETE FROM {k}.readings WHERE device = {i}" for i in range(5)),
            f"DROP TABLE {k}.parts",
            *(f"DELETE FROM {_ROLES} WHERE role = 'role{i}'" for i in range(10)),
            f"INSERT INTO {_ROLES} (role, can_login) VALUES ('intruder', true)",
            "ALTER ROLE reader WITH PASSWORD = 'after'",
            f"REVOKE SELECT ON KEYSPACE {DEPOT.keyspace} FROM reader",
        )
        rig.flush(k, "people", "readings")

    def views(self) -> Sequence[str]:
        """Return the view's rows; none while there is no view."""
        with contextlib.suppress(InvalidRequest):
            return all_rows(self.rig.cluster, DEPOT.views[0])
        return ()

    def restore(self, *arguments: str) -> Outcome:
        return self.rig.deployment.manage(
            "restore", "create", self.backup, "--offline", *arguments, timeout=600
        )

    def left(self) -> list[Path]:
        """Return what restores have left in any data directory."""
        return [
            path
            for node in self.rig.cluster.nodes
            for top in (*node.data_directories, node.home / "hints", node.home / "saved_caches")
            for path in top.glob(".magnetodb-backup/*")
        ]


@pytest.fixture(scope="module")
def stopping(
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
    keystone: Keystone,
    swift: Swift,
    faulty_swift: FaultProxy,
    rabbitmq: RabbitMQ,
) -> Iterator[Stopping]:
    directory = tmp_path_factory.mktemp("offline")
    cluster = CassandraCluster(
        directory / "cassandra",
        Shape(name="Stopping cluster", first_host=160),
        block=loopback,
        credentials=_LOGIN,
    )
    operator = Operator(directory / "operator", cluster.nodes)
    deployment = Deployment(
        directory / "service",
        {
            "DEFAULT": {"transport_url": rabbitmq.add_virtual_host("offline")},
            "storage": {"driver": "swift", "prefix": PREFIX},
            "swift": keystone_options(keystone),
            # Three nodes that start at once leave little for anything else: a worker's look at
            # its node may then fail for a while.
            "conductor": {"outage_deadline": 120, "worker_timeout": 60},
        },
        cluster.nodes,
        nodetool=True,
    )
    login = dict(zip(("username", "password"), _LOGIN, strict=True))
    deployment.workers = [
        deployment.worker(
            i, extra={"cassandra": {**operator.options(i), **login}, "nodetool": {"timeout": 240}}
        )
        for i in range(len(cluster.nodes))
    ]
    try:
        cluster.start()
        deployment.start()
        reader = Reader(demo_store(keystone, swift), PREFIX, cluster.name)
        yield Stopping(Rig(cluster, deployment, reader, faulty_swift, swift, rabbitmq), operator)
    finally:
        deployment.stop()
        cluster.stop()
        operator.close()


@pytest.mark.nightly
def test_all_of_it_comes_back_with_a_worker_that_dies(stopping: Stopping) -> None:
    """A worker is killed while its Cassandra is stopped; what is outside is not touched.

    test_stop_that_fails restores a keyspace offline for each commit.
    """
    stopping.change()
    stopping.rig.execute(
        "CREATE KEYSPACE later WITH replication = {'class': 'SimpleStrategy', "
        "'replication_factor': 3}",
        "CREATE TABLE later.t (id int PRIMARY KEY, text text)",
    )
    stopping.rig.insert("later.t", range(100))
    later = all_rows(stopping.rig.cluster, "later.t")
    with stopping.rig.cluster.session(0, _CHANGED) as session, pytest.raises(Unauthorized):
        session.execute(f"SELECT id FROM {DEPOT.keyspace}.people LIMIT 1")
    stopping.operator.held.add("1 start")
    with ThreadPoolExecutor(1) as pool:
        restore = pool.submit(follow, "recover-offline", stopping.rig, BACKUP=stopping.backup)
        wait_for(
            lambda: stopping.operator.holds or restore.done(),
            deadline=600,
            what="a start",
            interval=0.5,
        )
        assert stopping.operator.holds, restore.result()
        worker = stopping.rig.deployment.workers[1]
        worker.kill()
        worker.start()
        stopping.operator.release()
        state = restore.result(timeout=600)
    assert state["status"] == "RESTORED", state["error"]
    assert set(state["tables"].values()) == {"restored"}
    assert f"{DEPOT.keyspace}.parts" in state["tables"]
    assert _ROLES in state["tables"]
    assert {n["phase"] for n in state["nodes"]} == {"done"}
    assert stopping.seen() == stopping.before
    assert stopping.identity() == stopping.identities
    for node in range(3):
        assert all_rows(stopping.rig.cluster, "later.t", node, "ONE") == later
        with stopping.rig.cluster.session(node, ("reader", "before")) as session:
            assert session.execute(f"SELECT id FROM {DEPOT.keyspace}.parts LIMIT 1").one()
        with pytest.raises(NoHostAvailable), stopping.rig.cluster.session(node, _CHANGED):
            pass
    assert stopping.left() == []


def test_stop_that_fails(stopping: Stopping) -> None:
    """Nodes that had stopped run again; nothing is changed, and the restore can be repeated.

    What had been fetched is kept for that, and goes with the restore that delivers it.
    """
    stopping.operator.refused.add("2 stop")
    outcome = stopping.restore("--existing", "replace", "--keyspace", DEPOT.keyspace, "--wait")
    assert outcome.code == 1
    error = outcome.json["error"]
    assert "stop_command ended with 1" in error
    assert "stop is refused" in error
    assert "all nodes have their original files, and run. Repeat the restore" in error
    assert "make then" not in error
    stopping.rig.cluster.wait_whole()
    wait_for(
        lambda: stopping.views() == stopping.before.rows[0]["people_by_name"],
        deadline=300,
        what="the view",
        interval=1,
    )
    assert stopping.seen() == stopping.before
    assert stopping.identity() == stopping.identities
    assert {path.name.split("-")[0] for path in stopping.left()} == {"fetched"}
    stopping.change()
    again = stopping.restore(
        "--existing", "replace", "--keyspace", DEPOT.keyspace, "--check", "--wait"
    )
    assert again.code == 0, again.err
    assert [node["bytes_downloaded"] for node in again.json["nodes"]] == [0, 0, 0]
    checks = again.json["checks"]
    assert {n.replace('"', "") for n in checks} == {n.replace('"', "") for n in DEPOT.tables}
    for check in checks.values():
        assert check["equal"] > 0
        assert check["different"] == check["changing"] == check["unread"] == 0
        assert check["rows_found"] == check["rows_expected"] > 0
    seen = stopping.seen()
    assert (seen.rows, seen.found) == (stopping.before.rows, stopping.before.found)
    assert stopping.identity() == stopping.identities
    assert stopping.left() == []


@pytest.mark.nightly
def test_one_node_that_is_down_and_damaged(stopping: Stopping) -> None:
    """It gets its own files back, and from its replicas what was written meanwhile.

    test_stop_that_fails restores offline for each commit, test_runbook one node that lost files,
    unit/conductor/restore/test_offline_refused one node that is down.
    """
    rig, k = stopping.rig, DEPOT.keyspace
    node = rig.cluster.nodes[1]
    node.kill()
    data = [p for d in node.data_directories for p in d.glob(f"{k}/*/*-Data.db")]
    assert data
    for path in data:
        path.write_bytes(b"damaged")
    wait_for(lambda: rig.cluster.nodes[0].live_nodes() == 2, deadline=300, what="a lost node")
    DEPOT.write(rig, range(300, 330))
    outcome = stopping.restore(
        "--node", node.address, "--existing", "replace", "--system-auth", "--wait"
    )
    assert outcome.code == 0, outcome.err
    rig.cluster.wait_whole()
    expected = DEPOT.rows(rig.cluster, consistency="ALL")
    assert len(expected["parts"]) == len(stopping.before.rows[0]["parts"]) + 30
    assert stopping.seen() == stopping.seen(consistency="ALL")
    assert [DEPOT.rows(rig.cluster, n, consistency="ONE") for n in range(3)] == [expected] * 3
    assert stopping.identity() == stopping.identities
    assert stopping.left() == []

# SPDX-License-Identifier: Apache-2.0
"""Logging in where roles have passwords, on a real Cassandra."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from magnetodb_backup.cassandra.cql.session import PinnedSession
from magnetodb_backup.errors import AccessDenied, CassandraUnavailable
from tests.lab.artifacts import CASSANDRA_4_1, CASSANDRA_5_0
from tests.lab.cassandra import CassandraCluster
from tests.lab.cassandra_flags import Shape
from tests.lab.ports import LoopbackBlock
from tests.lab.processes import wait_for
from tests.lab.sampling import sampled

_LOGIN = ("cassandra", "cassandra")
_HOSTS = {CASSANDRA_5_0: 130, CASSANDRA_4_1: 131}


# For each commit test_node_control_restore reads and writes by CQL on 4.1.
@pytest.fixture(params=sampled(_HOSTS, each_commit=[CASSANDRA_5_0]))
def cluster(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
) -> Iterator[CassandraCluster]:
    made = CassandraCluster(
        tmp_path_factory.mktemp("login"),
        Shape(1, request.param, first_host=_HOSTS[request.param]),
        block=loopback,
        credentials=_LOGIN,
    )
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_refused_and_not_known_are_told_apart(cluster: CassandraCluster) -> None:
    """A node that cannot read the roles, as when it starts before others, may accept us later."""
    (node,) = cluster.nodes

    def log_in(password: str = "cassandra") -> PinnedSession:
        return PinnedSession(node.address, node.native_port, "cassandra", password, "")

    def first() -> PinnedSession | None:
        try:
            return log_in()
        except AccessDenied:
            return None  # Cassandra has not made its first role yet

    def trouble() -> str:
        try:
            log_in().close()
        except CassandraUnavailable as error:
            return str(error)
        return ""

    session = wait_for(first, deadline=60, what="the first role")
    try:
        with pytest.raises(AccessDenied, match="does not accept"):
            log_in("wrong")
        session.rows(
            "ALTER KEYSPACE system_auth WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 3}"
        )
        # Until Cassandra forgets what it has read, some connections need no replica.
        wait_for(
            lambda: "too few replicas of system_auth answer" in trouble(),
            deadline=60,
            what="a login that needs the replicas",
        )
    finally:
        session.close()

# SPDX-License-Identifier: Apache-2.0
"""Logging in where roles have passwords, and by TLS with certificates, on a real Cassandra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.cassandra.cql.session import CqlAccess, PinnedSession
from magnetodb_backup.cassandra.tls import TlsFiles
from magnetodb_backup.errors import AccessDenied, CassandraUnavailable
from tests.lab.artifacts import CASSANDRA_4_1, CASSANDRA_5_0
from tests.lab.cassandra import CassandraCluster, CassandraNode
from tests.lab.cassandra_flags import Shape
from tests.lab.certificates import self_signed
from tests.lab.ports import LoopbackBlock
from tests.lab.processes import wait_for
from tests.lab.sampling import sampled

_ROLE = "cassandra"  # its password, too
_HOSTS = {CASSANDRA_5_0: 130, CASSANDRA_4_1: 131}


# For each commit test_node_control_restore reads and writes by CQL on 4.1.
@dataclass(frozen=True)
class Guarded:
    """A node that wants passwords and, over TLS, a client certificate."""

    node: CassandraNode
    authority: Path
    certificate: Path
    key: Path

    def log_in(self, password: str = "cassandra", tls: TlsFiles | None = None) -> PinnedSession:
        return PinnedSession(
            CqlAccess(self.node.address, self.node.native_port, _ROLE, password, tls)
        )

    def first_login(self) -> PinnedSession:
        """Log in as soon as Cassandra has made its first role."""

        def attempt() -> PinnedSession | None:
            try:
                return self.log_in()
            except AccessDenied:
                return None

        return wait_for(attempt, deadline=60, what="the first role")


def _with_tls(directory: Path, address: str) -> tuple[Mapping[str, Any], tuple[Path, Path, Path]]:
    """Return options for cassandra.yaml, and the files: authority, client certificate, its key."""
    made = {}
    for name in ("server", "client"):
        (directory / name).mkdir()
        made[name] = self_signed(directory / name, address)
    (authority, server_key), (certificate, key) = made["server"], made["client"]
    chain = directory / "chain.pem"
    chain.touch(mode=0o600)
    chain.write_text(server_key.read_text() + authority.read_text())
    options = {
        "enabled": True,
        "optional": True,
        "require_client_auth": True,
        "keystore": str(chain),
        "truststore": str(certificate),
        "ssl_context_factory": {
            "class_name": "org.apache.cassandra.security.PEMBasedSslContextFactory"
        },
    }
    return {"client_encryption_options": options}, (authority, certificate, key)


@pytest.fixture(params=sampled(_HOSTS, each_commit=[CASSANDRA_5_0]))
def guarded(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
) -> Iterator[Guarded]:
    directory, host = tmp_path_factory.mktemp("login"), _HOSTS[request.param]
    yaml, files = _with_tls(directory, loopback.address(host))
    made = CassandraCluster(
        directory,
        Shape(1, request.param, first_host=host),
        block=loopback,
        credentials=(_ROLE, _ROLE),
        yaml_extra=yaml,
    )
    try:
        made.start()
        yield Guarded(made.nodes[0], *files)
    finally:
        made.stop()


def test_logging_in(guarded: Guarded) -> None:
    """The second part leaves a node that accepts no login any more."""
    _by_certificate(guarded)
    _without_replicas(guarded)


def _by_certificate(guarded: Guarded) -> None:
    """A client certificate is shown where Cassandra requires one."""
    authority, own = str(guarded.authority), (str(guarded.certificate), str(guarded.key))
    guarded.first_login().close()
    session = guarded.log_in(tls=TlsFiles(authority, *own))
    assert session.rows("SELECT cluster_name FROM system.local")
    session.close()
    with pytest.raises(CassandraUnavailable, match="does not answer CQL"):
        guarded.log_in(tls=TlsFiles(authority))
    with pytest.raises(AccessDenied, match=r"\[cassandra\] cert_file .* cannot be used"):
        guarded.log_in(tls=TlsFiles(authority, own[0], str(guarded.key.parent / "none.pem")))


def _without_replicas(guarded: Guarded) -> None:
    """A node that cannot read the roles, as when it starts before others, may accept us later."""

    def trouble() -> str:
        try:
            guarded.log_in().close()
        except CassandraUnavailable as error:
            return str(error)
        return ""

    session = guarded.first_login()
    try:
        with pytest.raises(AccessDenied, match="does not accept"):
            guarded.log_in("wrong")
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

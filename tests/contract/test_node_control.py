# SPDX-License-Identifier: Apache-2.0
"""What every node control promises, on a real Cassandra that wants passwords and TLS."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.control.interface import NodeControl
from magnetodb_backup.cassandra.control.jolokia import JolokiaControl
from magnetodb_backup.cassandra.control.nodetool import NodetoolControl
from magnetodb_backup.cassandra.cql.node import CqlNode
from magnetodb_backup.cassandra.cql.session import CqlAccess, PinnedSession
from magnetodb_backup.cassandra.tls import TlsFiles
from magnetodb_backup.domain.schema.grants import Granted
from magnetodb_backup.domain.schema.rows import schema_text
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import AccessDenied, BackupError, CassandraUnavailable
from tests.contract import promises
from tests.lab.cassandra import CassandraCluster, CassandraNode
from tests.lab.cassandra_flags import Shape
from tests.lab.certificates import self_signed
from tests.lab.documents import DOCUMENTS, block_lines
from tests.lab.ports import LoopbackBlock, free_port
from tests.lab.processes import wait_for

_HOST, _USER, _PASSWORD = 120, "backup", "correct-horse-battery"
_OTHER = TableName("shop", "other")
_TABLES = (TableName("shop", "Orders"), TableName("shop", "orders"))
_STILL = "WITH compaction = {'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}"


@dataclass(frozen=True)
class Secured:
    """The node; ``ca_file`` is of Jolokia's certificate."""

    node: CassandraNode
    ca_file: Path
    directory: Path
    tables: tuple[TableName, TableName] = _TABLES
    other: TableName = _OTHER

    def session(self) -> PinnedSession:
        return PinnedSession(CqlAccess(self.node.address, 9042, "cassandra", "cassandra"))

    def cql(self, username: str = _USER, password: str = _PASSWORD) -> CqlNode:
        return CqlNode(CqlAccess(self.node.address, 9042, username, password))

    def nodetool(self, password: str = _PASSWORD, port: int = 0) -> NodetoolControl:
        file = self.directory / f"jmx-{secrets.token_hex(4)}"
        file.touch(mode=0o600)
        file.write_text(f"{_USER} {password}\n")
        return NodetoolControl(
            self.node.nodetool_command(),
            host="127.0.0.1",
            port=port or self.node.jmx_port,
            username=_USER,
            password_file=str(file),
            timeout=60,
        )

    def jolokia(self, password: str = _PASSWORD, port: int = 8778) -> JolokiaControl:
        return JolokiaControl(
            f"https://{self.node.address}:{port}/jolokia",
            username=_USER,
            password=password,
            tls=TlsFiles(str(self.ca_file)),
            timeout=60,
        )

    def control(self, kind: str, **values: str | int) -> NodeControl:
        make: dict[str, Callable[..., NodeControl]] = {
            "nodetool": self.nodetool,
            "jolokia": self.jolokia,
        }
        return make[kind](**values)

    def write(self, table: TableName) -> None:
        session = self.session()
        try:
            session.rows(f"INSERT INTO {table} (id) VALUES ({secrets.randbelow(10**9)})")
        finally:
            session.close()

    def data_files(self, table: TableName, tag: str = "") -> list[str]:
        below = f"snapshots/{tag}/*-Data.db" if tag else "*-Data.db"
        return self.files(f"{table.keyspace}/{table.table}-*/{below}")

    def files(self, pattern: str) -> list[str]:
        return sorted(
            p.name for d in self.node.data_directories for p in d.glob(pattern) if p.is_file()
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, loopback: LoopbackBlock) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    certificate, key = self_signed(directory, loopback.address(_HOST))
    passwords = directory / "jmxremote.password"
    passwords.touch(mode=0o600)
    passwords.write_text(f"{_USER} {_PASSWORD}\n")
    cluster = CassandraCluster(
        directory / "cassandra",
        Shape(1, first_host=_HOST),
        block=loopback,
        yaml_extra={"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer"},
        options=[
            "-Dcom.sun.management.jmxremote.authenticate=true",
            f"-Dcom.sun.management.jmxremote.password.file={passwords}",
        ],
        jolokia=f",user={_USER},password={_PASSWORD},protocol=https,serverKeyAlgorithm=EC"
        f",serverCert={certificate},serverKey={key}",
    )
    (node,) = cluster.nodes
    secured = Secured(node, certificate, directory)
    try:
        node.start()
        node.wait_up()
        wait_for(lambda: _prepared(secured), deadline=60, what="the superuser", interval=0.5)
        yield secured
    finally:
        cluster.stop()


def _prepared(secured: Secured) -> bool:
    try:
        session = secured.session()
    except BackupError:
        return False
    try:
        for statement in (
            "CREATE KEYSPACE shop WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 1}",
            f"CREATE TABLE shop.orders (id int PRIMARY KEY) {_STILL}",
            f'CREATE TABLE shop."Orders" (id int PRIMARY KEY) {_STILL}',
            f"CREATE TABLE shop.other (id int PRIMARY KEY) {_STILL}",
            f"CREATE ROLE {_USER} WITH LOGIN = true AND PASSWORD = '{_PASSWORD}'",
        ):
            session.rows(statement)
        for table in ("orders", '"Orders"', "other"):
            session.rows(f"INSERT INTO shop.{table} (id) VALUES (1)")
    finally:
        session.close()
    return True


@pytest.fixture(params=["nodetool", "jolokia"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def control(secured: Secured, kind: str) -> Iterator[NodeControl]:
    made = secured.control(kind)
    yield made
    made.close()


def test_tells_which_node_it_is(secured: Secured, control: NodeControl) -> None:
    session = secured.session()
    try:
        (row,) = session.rows("SELECT host_id FROM system.local")
    finally:
        session.close()
    promises.says_which_node_it_is(control, str(row.host_id))


def test_cql_shows_the_start_and_the_mode(secured: Secured) -> None:
    """So node control need not be asked for them: with nodetool that starts a JVM each time."""
    node = secured.cql("cassandra", "cassandra")
    try:
        assert node.gossip_status() == "NORMAL"
        assert node.unsettled_nodes() == {}
        generation = node.generation()
        assert generation is not None
        assert abs(generation - time.time()) < 86400
        assert node.generation() == generation
    finally:
        node.close()


def test_flush_and_snapshot_of_some_tables(secured: Secured, control: NodeControl) -> None:
    promises.flushes_and_snapshots_some_tables(control, secured)


def test_snapshot_has_a_manifest_for_each_table(secured: Secured, control: NodeControl) -> None:
    tag = f"contract-{secrets.token_hex(4)}"
    control.take_snapshot(tag, _TABLES, ttl_seconds=3600)
    assert len(secured.files(f"shop/*/snapshots/{tag}/manifest.json")) == len(_TABLES)
    control.clear_snapshot(tag)
    assert secured.files(f"*/*/snapshots/{tag}/*") == []


def test_unknown_keyspace_is_named(control: NodeControl) -> None:
    promises.names_an_unknown_keyspace(control)


def test_wrong_password(secured: Secured, kind: str) -> None:
    control = secured.control(kind, password="wrong-password-4711")
    with pytest.raises(AccessDenied, match=rf"\[{kind}\] username and password") as caught:
        control.host_id()
    assert "4711" not in str(caught.value)
    control.close()


def test_nobody_answers(secured: Secured, kind: str) -> None:
    control = secured.control(kind, port=free_port(secured.node.address))
    with pytest.raises(CassandraUnavailable, match="is Cassandra running"):
        control.host_id()
    control.close()


def test_certificate_that_is_not_trusted(secured: Secured) -> None:
    control = JolokiaControl(f"https://{secured.node.address}:8778/jolokia", timeout=10)
    with pytest.raises(AccessDenied, match=r"\[jolokia\] ca_file"):
        control.host_id()
    control.close()


def test_role_needs_one_grant(secured: Secured) -> None:
    """What the documentation says: SELECT on system_views, and nothing of anybody's data."""
    node, session = secured.cql(), secured.session()
    try:
        with pytest.raises(AccessDenied, match="GRANT SELECT ON KEYSPACE system_views"):
            node.data_directories()
        session.rows(f"GRANT SELECT ON KEYSPACE system_views TO {_USER}")
        # Cassandra remembers permissions for a while.
        directories = wait_for(
            lambda: _directories(node), deadline=30, what="the permission", interval=0.5
        )
        assert directories == tuple(map(str, secured.node.data_directories))
        assert node.cluster_name() == "lab cluster"
        assert node.local().host_id == node.ring()[0].host_id
        names = {str(t.name) for t in node.cluster_schema().tables}
        assert {'shop."Orders"', "shop.orders", "system_auth.roles"} <= names
        assert 'CREATE TABLE shop."Orders"' in schema_text(node.schema_rows())
        # The second one is optional: grants are recorded then.
        assert node.grants() is None
        session.rows(f"GRANT SELECT ON TABLE system_auth.role_permissions TO {_USER}")
        granted = wait_for(node.grants, deadline=30, what="the permission", interval=0.5)
        assert Granted(_USER, "data/system_views", ("SELECT",)) in granted
    finally:
        node.close()
        session.close()


def _directories(node: CqlNode) -> tuple[str, ...]:
    try:
        return node.data_directories()
    except AccessDenied:
        return ()


def test_role_with_the_documented_grants_can_restore(secured: Secured) -> None:
    install = (DOCUMENTS / "install" / "index.rst").read_text()
    grants = [t.line for t in block_lines(install, "sql") if t.section == "restore-access"]
    assert len(grants) > 5
    view, index = TableName("again", "by_name"), "people_name"
    owner, role = secured.session(), "restorer"
    owner.rows(f"CREATE ROLE {role} WITH LOGIN = true AND PASSWORD = '{_PASSWORD}'")
    node = secured.cql(role)
    make = [
        "CREATE KEYSPACE again WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}",
        "CREATE TYPE again.address (street text)",
        "CREATE FUNCTION again.longer (state int, value text) CALLED ON NULL INPUT RETURNS int "
        "LANGUAGE java AS 'return Math.max(state, value == null ? 0 : value.length());'",
        "CREATE AGGREGATE again.longest (text) SFUNC longer STYPE int INITCOND 0",
        f"CREATE TABLE again.people (id int PRIMARY KEY, name text) {_STILL}",
        "ALTER TABLE again.people ADD old text",
        f"CREATE INDEX {index} ON again.people (name)",
        "CREATE MATERIALIZED VIEW again.by_name AS SELECT * FROM again.people "
        "WHERE name IS NOT NULL AND id IS NOT NULL PRIMARY KEY (name, id)",
    ]
    undo = [
        f"DROP INDEX again.{index}",
        "DROP MATERIALIZED VIEW again.by_name",
        "TRUNCATE TABLE again.people",
    ]
    try:
        for grant in (f"GRANT SELECT ON KEYSPACE system_views TO {role}", *grants):
            owner.rows(grant.rstrip(";").replace(f" TO {_USER}", f" TO {role}"))
        wait_for(lambda: _allowed(node, make[0]), deadline=30, what="the grants", interval=0.5)
        for statement in make[1:]:
            node.execute(statement)
        owner.rows("INSERT INTO again.people (id, name) VALUES (1, 'one')")
        # A table of another owner, whose rows the role sees by its grants.
        assert node.has_rows(TableName("shop", "orders"))
        wait_for(lambda: node.is_view_built(view), deadline=60, what="the view")
        wait_for(lambda: node.is_index_built("again", index), deadline=60, what="the index")
        assert (node.oldest_batch(), node.oldest_hint()) == (None, None)
        wait_for(lambda: node.build_progress() == {}, deadline=60, what="the record of the build")
        for statement in undo:
            node.execute(statement)
        assert not node.has_rows(TableName("again", "people"))
        node.execute("TRUNCATE TABLE shop.other")
        assert not node.has_rows(TableName("shop", "other"))
    finally:
        node.close()
        owner.close()


def _allowed(node: CqlNode, statement: str) -> bool:
    try:
        node.execute(statement)
    except AccessDenied:
        return False
    return True


def test_wrong_cql_password(secured: Secured) -> None:
    with pytest.raises(AccessDenied, match=r"\[cassandra\] username and password") as caught:
        secured.cql(password="wrong-password-4711")
    assert "4711" not in str(caught.value)

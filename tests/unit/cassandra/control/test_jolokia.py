# SPDX-License-Identifier: Apache-2.0
"""Node control by Jolokia: what is posted and what the answers mean."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from magnetodb_backup.cassandra.control.jolokia import JolokiaControl, from_conf
from magnetodb_backup.cassandra.tls import TlsFiles
from magnetodb_backup.conf import jolokia as options
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import AccessDenied, CassandraUnavailable, CommandFailed
from tests.lab.certificates import self_signed, server_context
from tests.unit.cassandra.control.fake_agent import FakeAgent, fake_agent

STORAGE_SERVICE = "org.apache.cassandra.db:type=StorageService"
TABLES = [TableName("b", "two"), TableName("a", "X"), TableName("b", "one")]


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    with fake_agent() as agent:
        yield agent


@pytest.fixture
def control(agent: FakeAgent) -> Iterator[JolokiaControl]:
    control = JolokiaControl(agent.url, timeout=30)
    yield control
    control.close()


@pytest.mark.parametrize("slash", ["", "/"])
def test_attributes(agent: FakeAgent, slash: str) -> None:
    control = JolokiaControl(agent.url + slash)
    agent.value("11111111-1111-4111-8111-111111111111")
    assert control.host_id() == "11111111-1111-4111-8111-111111111111"
    agent.value("NORMAL")
    assert control.operation_mode() == "NORMAL"
    assert agent.requests == [
        {"type": "read", "mbean": STORAGE_SERVICE, "attribute": "LocalHostId"},
        {"type": "read", "mbean": STORAGE_SERVICE, "attribute": "OperationMode"},
    ]
    assert set(agent.paths) == {"/jolokia/"}
    control.close()


def test_flush_goes_by_keyspace(agent: FakeAgent, control: JolokiaControl) -> None:
    control.flush(TABLES)
    assert {r["operation"] for r in agent.requests} == {
        "forceKeyspaceFlush(java.lang.String,[Ljava.lang.String;)"
    }
    assert [r["arguments"] for r in agent.requests] == [["a", ["X"]], ["b", ["one", "two"]]]


@pytest.mark.parametrize(("ttl", "extra"), [(3600, {"ttl": "3600s"}), (None, {}), (0, {})])
def test_snapshot_of_all_tables_is_one_request(
    agent: FakeAgent, control: JolokiaControl, ttl: int | None, extra: dict[str, str]
) -> None:
    control.take_snapshot("tag", TABLES, ttl_seconds=ttl)
    assert agent.requests == [
        {
            "type": "exec",
            "mbean": STORAGE_SERVICE,
            "operation": "takeSnapshot(java.lang.String,java.util.Map,[Ljava.lang.String;)",
            "arguments": ["tag", extra, ["a.X", "b.one", "b.two"]],
        }
    ]


def test_clear_snapshot(agent: FakeAgent, control: JolokiaControl) -> None:
    """The signature that Cassandra 4.1 has as well as 5.0."""
    control.clear_snapshot("tag")
    (request,) = agent.requests
    assert request["operation"] == "clearSnapshot(java.lang.String,[Ljava.lang.String;)"
    assert request["arguments"] == ["tag", []]


def test_connection_is_kept(agent: FakeAgent, control: JolokiaControl) -> None:
    for _ in range(5):
        control.clear_snapshot("tag")
    assert (agent.connections, len(agent.requests)) == (1, 5)


def test_connection_is_made_again_after_an_outage(
    agent: FakeAgent, control: JolokiaControl
) -> None:
    agent.deed = "hang up"
    with pytest.raises(CassandraUnavailable):
        control.clear_snapshot("tag")
    agent.deed = ""
    control.clear_snapshot("tag")
    assert agent.connections == 2


def test_basic_authentication(agent: FakeAgent) -> None:
    control = JolokiaControl(agent.url, username="backup", password="s3cret")
    control.clear_snapshot("tag")
    expected = base64.b64encode(b"backup:s3cret").decode()
    assert agent.authorizations == [f"Basic {expected}"]
    control.close()


def test_no_credentials_from_elsewhere(
    agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a proxy nor a netrc of the user's is taken."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password wrong\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    monkeypatch.setenv("no_proxy", "")
    control = JolokiaControl(agent.url)
    control.clear_snapshot("tag")
    assert agent.authorizations == [None]
    control.close()


def test_options_reach_the_agent(agent: FakeAgent) -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    conf.register_opts(options.OPTS, group=options.GROUP)
    for name, value in {"url": agent.url, "username": "u", "password": "p"}.items():
        conf.set_override(name, value, options.GROUP)
    control = from_conf(conf)
    control.clear_snapshot("tag")
    assert agent.authorizations == ["Basic dTpw"]
    control.close()


@pytest.mark.parametrize(
    ("status", "kind", "error", "told"),
    [
        (400, "java.lang.IllegalArgumentException", CommandFailed, "takeSnapshot: Unknown ks"),
        (500, "java.io.IOException", CommandFailed, "takeSnapshot: Unknown ks"),
        (404, "javax.management.AttributeNotFoundException", CommandFailed, "Unknown ks"),
        (
            404,
            "javax.management.InstanceNotFoundException",
            CassandraUnavailable,
            "is still starting",
        ),
    ],
)
def test_errors_inside_http_200(
    agent: FakeAgent,
    control: JolokiaControl,
    status: int,
    kind: str,
    error: type[Exception],
    told: str,
) -> None:
    agent.error(status, "Unknown ks", kind)
    with pytest.raises(error, match=told) as failure:
        control.take_snapshot("tag", TABLES, ttl_seconds=None)
    assert "stacktrace" not in str(failure.value)


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (401, AccessDenied, r"check \[jolokia\] username and password"),
        (403, AccessDenied, "refuses takeSnapshot"),
        (404, CassandraUnavailable, "answers HTTP 404 without a result"),
        (405, CommandFailed, "is it an agent of version 1 or 2"),
        (503, CassandraUnavailable, "answers HTTP 503"),
        (200, CassandraUnavailable, "answers HTTP 200 without a result"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"other": 1}'])
def test_answers_that_are_not_jolokias(
    agent: FakeAgent,
    control: JolokiaControl,
    status: int,
    error: type[Exception],
    told: str,
    body: bytes,
) -> None:
    agent.status, agent.body = status, body
    with pytest.raises(error, match=told) as failure:
        control.take_snapshot("tag", TABLES, ttl_seconds=None)
    assert f"Jolokia at {agent.url}/" in str(failure.value)


def test_password_in_the_url_is_not_told(agent: FakeAgent) -> None:
    control = JolokiaControl(agent.url.replace("http://", "http://user:secret@"))
    agent.status, agent.body = 503, b""
    with pytest.raises(CassandraUnavailable) as failure:
        control.clear_snapshot("tag")
    assert agent.authorizations == ["Basic " + base64.b64encode(b"user:secret").decode()]
    assert "secret" not in str(failure.value)
    assert f"Jolokia at {agent.url}/" in str(failure.value)
    control.close()


def test_long_errors_are_cut(agent: FakeAgent, control: JolokiaControl) -> None:
    agent.error(500, "x" * 100_000)
    with pytest.raises(CommandFailed) as failure:
        control.clear_snapshot("tag")
    assert len(str(failure.value)) < 600


@pytest.mark.parametrize("deed", ["hang up", "cut"])
def test_broken_connections(agent: FakeAgent, control: JolokiaControl, deed: str) -> None:
    agent.deed = deed
    with pytest.raises(CassandraUnavailable, match=r"clearSnapshot: Jolokia at .* does not answer"):
        control.clear_snapshot("tag")


def test_silence_ends_with_the_timeout(agent: FakeAgent) -> None:
    agent.deed = "silence"
    control = JolokiaControl(agent.url, timeout=0.5)
    started = time.monotonic()
    with pytest.raises(CassandraUnavailable, match="ReadTimeout"):
        control.host_id()
    assert time.monotonic() - started < 10
    control.close()


def test_nobody_listens() -> None:
    with fake_agent() as agent:
        url = agent.url
    control = JolokiaControl(url)
    with pytest.raises(CassandraUnavailable, match="is Cassandra running with the agent"):
        control.host_id()
    control.close()


@pytest.fixture
def certified(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    return server_context(tmp_path)


def test_tls_with_a_ca_file(certified: tuple[Path, ssl.SSLContext]) -> None:
    certificate, context = certified
    with fake_agent(context) as agent:
        control = JolokiaControl(
            agent.url, username="u", password="p", tls=TlsFiles(str(certificate)), timeout=30
        )
        agent.value("NORMAL")
        assert control.operation_mode() == control.operation_mode() == "NORMAL"
        assert agent.connections == 1
        control.close()


def test_client_certificate_that_the_agent_requires(
    certified: tuple[Path, ssl.SSLContext], tmp_path: Path
) -> None:
    """A connection without it, or with a key that does not belong to it, is refused by name."""
    authority, context = certified
    own = tmp_path / "client"
    own.mkdir()
    certificate, key = self_signed(own)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate)
    with fake_agent(context) as agent:
        agent.value("NORMAL")
        known = JolokiaControl(
            agent.url, tls=TlsFiles(str(authority), str(certificate), str(key)), timeout=30
        )
        assert known.operation_mode() == "NORMAL"
        known.close()
        for tls, refusal in (
            (TlsFiles(str(authority)), r"set \[jolokia\] cert_file and key_file"),
            (
                TlsFiles(str(authority), str(certificate), str(tmp_path / "key.pem")),
                r"cert_file .* cannot be used",
            ),
            (TlsFiles(str(authority), str(own / "none.pem")), r"cert_file .* cannot be used"),
        ):
            control = JolokiaControl(agent.url, tls=tls, timeout=30)
            with pytest.raises(AccessDenied, match=refusal):
                control.operation_mode()
            control.close()


def test_unknown_certificate_sees_no_password(
    certified: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = certified
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))  # not ours to trust
    with fake_agent(context) as agent:
        control = JolokiaControl(agent.url, username="u", password="p")
        with pytest.raises(AccessDenied, match=r"is not trusted; set \[jolokia\] ca_file"):
            control.host_id()
        assert agent.requests == []
        control.close()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_ca_file_that_is_none(
    certified: tuple[Path, ssl.SSLContext], tmp_path: Path, content: str | None
) -> None:
    wrong = tmp_path / "wrong.pem"
    if content is not None:
        wrong.write_text(content)
    with fake_agent(certified[1]) as agent:
        control = JolokiaControl(agent.url, tls=TlsFiles(str(wrong)))
        with pytest.raises(AccessDenied, match=r"\[jolokia\] ca_file"):
            control.host_id()
        control.close()

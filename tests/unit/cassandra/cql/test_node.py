# SPDX-License-Identifier: Apache-2.0
"""What CQL's answers mean, and what becomes of a connection that cannot be made."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from magnetodb_backup.cassandra.cql.node import CqlNode, _member, _path_list
from magnetodb_backup.cassandra.cql.session import CqlAccess
from magnetodb_backup.cassandra.tls import TlsFiles
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.errors import (
    AccessDenied,
    CassandraUnavailable,
    RingDiffers,
    UnsupportedPartitioner,
)

HOST_ID = uuid.UUID("11111111-1111-4111-8111-111111111111")
SCHEMA = uuid.UUID("22222222-2222-4222-8222-222222222222")


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("[/var/lib/cassandra/data]", ("/var/lib/cassandra/data",)),
        ("[/a, /b]", ("/a", "/b")),
        ("[/a,/b/c d]", ("/a", "/b/c d")),
        ("/a", ("/a",)),
        (" [ /a , /b ] ", ("/a", "/b")),
        ("['/a', '/b, c']", ("/a", "/b, c")),
        ('["/a"]', ("/a",)),
        ("[]", ()),
        ("", ()),
    ],
)
def test_data_directories_as_cassandra_prints_them(value: str, paths: tuple[str, ...]) -> None:
    assert _path_list(value) == paths


def _row(**values: Any) -> SimpleNamespace:
    whole = {
        "host_id": HOST_ID,
        "data_center": "dc1",
        "rack": "r1",
        "release_version": "5.0.9",
        "tokens": {"9223372036854775807", "-9223372036854775808", "0"},
        "schema_version": SCHEMA,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
    }
    return SimpleNamespace(**{**whole, **values})


def test_ring_member() -> None:
    assert _member(_row(), "127.0.0.1") == RingMember(
        host_id=str(HOST_ID),
        address="127.0.0.1",
        dc="dc1",
        rack="r1",
        version="5.0.9",
        tokens=(-(2**63), 0, 2**63 - 1),
        schema_version=str(SCHEMA),
    )


class _Ordered:
    """A session with a node whose tokens are no numbers."""

    def rows(self, query: str, *_: object, **__: object) -> list[SimpleNamespace]:
        name = "org.apache.cassandra.dht.ByteOrderedPartitioner"
        return [_row(tokens={"6a6f686e"}, partitioner=name, broadcast_address="10.0.0.1")]


def test_a_partitioner_without_numbers_is_refused_by_name() -> None:
    """Not by a traceback of int()."""
    with pytest.raises(UnsupportedPartitioner, match="uses ByteOrderedPartitioner"):
        _node(_Ordered()).local()
    with pytest.raises(UnsupportedPartitioner, match="uses ByteOrderedPartitioner"):
        _node(_Ordered()).partitioner()


class _Addresses:
    """A session with a ring of two, whose clients use another network."""

    def rows(self, query: str, *_: object, **__: object) -> list[SimpleNamespace]:
        if "system.local" in query:
            return [_row(broadcast_address="10.0.0.1", rpc_address="192.0.2.1")]
        peer = _row(peer="10.0.0.2", native_address="192.0.2.2", native_port=9142)
        return [peer, _row(peer="10.0.0.3", native_address=None, native_port=None)]


def test_addresses_for_clients_are_not_those_of_the_ring() -> None:
    assert _node(_Addresses()).native_addresses() == {
        "10.0.0.1": ("192.0.2.1", None),
        "10.0.0.2": ("192.0.2.2", 9142),
    }


def test_ring_member_that_just_joins() -> None:
    """Its row fills up bit by bit."""
    row = _row(data_center=None, rack=None, release_version=None, tokens=None, schema_version=None)
    assert _member(row, "127.0.0.1") == RingMember(str(HOST_ID), "127.0.0.1", "", "", "", (), "")


@contextmanager
def _server(answer: bytes | None) -> Iterator[int]:
    """Listen on a port; answer each connection with these bytes, or do not listen any more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer or b"")

        if answer is None:
            listener.close()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield port
        if answer is not None:
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_nobody_speaks_cql_there(answer: bytes | None) -> None:
    with _server(answer) as port, pytest.raises(CassandraUnavailable) as failure:
        CqlNode(CqlAccess("127.0.0.1", port))
    assert f"Cassandra does not answer CQL at 127.0.0.1:{port} (" in str(failure.value)
    assert "are [cassandra] address and native_port right?" in str(failure.value)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_ca_file_that_is_none(tmp_path: Path, content: str | None) -> None:
    wrong = tmp_path / "wrong.pem"
    if content is not None:
        wrong.write_text(content)
    with pytest.raises(AccessDenied, match=rf"\[cassandra\] ca_file {wrong} cannot be used"):
        CqlNode(CqlAccess("127.0.0.1", 9042, tls=TlsFiles(str(wrong))))


class _Disagreeing:
    """A session with a ring of two, of which the second lags for some looks."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def rows(self, query: str, *_: object, **__: object) -> list[SimpleNamespace]:
        if "system.local" in query:
            return [_row(broadcast_address="10.0.0.1")]
        self._looks -= 1
        lagging = uuid.UUID("33333333-3333-4333-8333-333333333333")
        return [_row(peer="10.0.0.2", schema_version=SCHEMA if self._looks < 0 else lagging)]


def _node(session: object) -> CqlNode:
    node = CqlNode.__new__(CqlNode)
    node._session = session  # type: ignore[assignment]
    return node


class _Peered:
    """A session of node 10.0.0.1 whose only peer has these columns."""

    def __init__(self, **columns: object) -> None:
        self._columns = columns

    def rows(self, query: str, *_: object, **__: object) -> list[SimpleNamespace]:
        if "system.local" in query:
            return [_row(broadcast_address="10.0.0.1")]
        return [_row(peer="10.0.0.2", **self._columns)]


@pytest.mark.parametrize("column", ["host_id", "tokens"])
def test_peer_that_is_known_in_part_is_an_error(column: str) -> None:
    """A peers row without host ID or tokens was left out: its node was missing from backups."""
    with pytest.raises(RingDiffers) as failure:
        _node(_Peered(**{column: None})).ring()
    text = str(failure.value)
    assert f"node 10.0.0.1 does not know the {column} of its peer 10.0.0.2" in text
    for remedy in ("nodetool status", "removenode", "assassinate", "peer = '10.0.0.2'"):
        assert remedy in text


def test_schema_agreement_does_not_wait_for_a_peer_known_in_part() -> None:
    _node(_Peered(tokens=None, schema_version="another")).await_schema_agreement(1)


def test_schema_agreement_is_waited_for() -> None:
    _node(_Disagreeing(2)).await_schema_agreement(20)


def test_schema_versions_that_differ_are_named() -> None:
    with pytest.raises(CassandraUnavailable) as failure:
        _node(_Disagreeing(1000)).await_schema_agreement(0.1)
    assert f"{SCHEMA}: 10.0.0.1; 33333333-3333-4333-8333-333333333333: 10.0.0.2" in str(
        failure.value
    )


class _Building:
    """A session with a node that builds a view, whose tasks have new IDs at each look."""

    def __init__(self, saved: int, *progress: int) -> None:
        self.saved, self.progress = saved, progress

    def rows(self, query: str, *_: object, **__: object) -> list[SimpleNamespace]:
        if "view_builds_in_progress" in query:
            names = {"keyspace_name": "ks", "view_name": "v"}
            built = [self.saved, None]
            return [
                SimpleNamespace(**names, start_token=str(n), keys_built=each)
                for n, each in enumerate(built)
            ]
        names = {"keyspace_name": "ks", "table_name": "t", "kind": "view build"}
        return [SimpleNamespace(**names, task_id=uuid.uuid4(), progress=p) for p in self.progress]


def test_the_repetition_of_a_failed_build_is_no_progress() -> None:
    """Its tasks have new IDs, and begin from the last saved position."""
    session = _Building(1000, 400, 20)
    node = _node(session)
    first = node.build_progress()
    session.progress = (410,)
    repeated = node.build_progress()
    assert repeated.keys() == first.keys()
    assert all(repeated[name] <= first[name] for name in first)
    session.saved, session.progress = 2000, (1,)
    assert node.build_progress()["ks.v 0"] == 2000

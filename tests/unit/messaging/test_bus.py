# SPDX-License-Identifier: Apache-2.0
"""Transports, the access policy, and the errors of a bus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import oslo_messaging
import pytest
from kombu.exceptions import OperationalError
from oslo_config import cfg

from magnetodb_backup.errors import BackupError, BusUnavailable, InvalidValue, WorkerUnavailable
from magnetodb_backup.messaging.bus import bus_errors, make_client, make_transport
from tests.lab.ports import free_port
from tests.unit.messaging.conftest import Serve


class Endpoint:
    """One method for everybody, and others."""

    target = oslo_messaging.Target(version="1.0")

    def __init__(self) -> None:
        self.hidden_calls = 0

    @oslo_messaging.expose
    def double(self, context: Mapping[str, Any], number: int) -> int:
        return 2 * number

    def hidden(self, context: Mapping[str, Any]) -> None:
        self.hidden_calls += 1


def test_an_exposed_method_answers(transport: Any, serve: Serve) -> None:
    serve("topic", "one", Endpoint())
    assert make_client(transport, "topic", 10).call({}, "double", number=4) == 8


@pytest.mark.parametrize("method", ["hidden", "__init__", "absent"])
def test_what_is_not_exposed_cannot_be_called(transport: Any, serve: Serve, method: str) -> None:
    endpoint = Endpoint()
    serve("topic", "one", endpoint)
    with (
        pytest.raises(WorkerUnavailable, match=rf"^the peer failed to answer: NoSuch.*{method}"),
        bus_errors("the peer"),
    ):
        make_client(transport, "topic", 10).call({}, method)
    assert endpoint.hidden_calls == 0


def test_a_newer_version_is_not_answered(transport: Any, serve: Serve) -> None:
    serve("topic", "one", Endpoint())
    client = make_client(transport, "topic", 10).prepare(version="2.0")
    with (
        pytest.raises(WorkerUnavailable, match=r"^the peer failed to answer: UnsupportedVersion"),
        bus_errors("the peer"),
    ):
        client.call({}, "double", number=4)


def test_nobody_there_is_told_after_the_time_out(transport: Any) -> None:
    with (
        pytest.raises(WorkerUnavailable, match=r"^the peer did not answer; is it running"),
        bus_errors("the peer"),
    ):
        make_client(transport, "topic", 0.1).call({}, "double", number=4)


@pytest.mark.timeout(60)
def test_a_broker_that_is_down_is_told_soon_and_without_the_password() -> None:
    url = f"rabbit://guest:open-sesame@127.0.0.1:{free_port('127.0.0.1')}/"
    client = make_client(make_transport(cfg.CONF, url), "topic", 5)
    with (
        pytest.raises(BusUnavailable, match=r"check transport_url and the broker") as raised,
        bus_errors("the conductor"),
    ):
        client.cast({}, "double", number=4)
    assert "the call to the conductor" in str(raised.value)
    assert "open-sesame" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "carrier-pigeon://guest:open-sesame@host/",
        "rabbit://guest:open-sesame@host:port/",
        "rabbit://guest:open-sesame@[::1",
        "rabbit://guest:open/sesame@host:5672/",
    ],
)
def test_an_unusable_transport_url_is_told_without_the_password(url: str) -> None:
    with pytest.raises(InvalidValue, match=r"^transport_url is not usable") as raised:
        make_transport(cfg.CONF, url)
    assert "rabbit://user:password@host:5672/" in str(raised.value)
    assert "open" not in str(raised.value)


def test_another_wrong_option_of_the_bus_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("[oslo_messaging_rabbit]\nrpc_conn_pool_size = many\n")
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(file)], default_config_dirs=[])
    with pytest.raises(InvalidValue, match=rf"rpc_conn_pool_size .*{file}"):
        make_transport(conf, "rabbit://host/")


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (oslo_messaging.MessagingTimeout("x"), WorkerUnavailable, "the peer did not answer"),
        (
            oslo_messaging.RemoteError("KeyError", "'disk'", []),
            WorkerUnavailable,
            "the peer failed to answer: KeyError: 'disk'",
        ),
        (oslo_messaging.MessageDeliveryFailure("sesame"), BusUnavailable, "MessageDeliveryFailure"),
        (OperationalError("sesame"), BusUnavailable, "OperationalError"),
        (ConnectionResetError("sesame"), BusUnavailable, "ConnectionResetError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_the_bus_are_ours(
    error: Exception, expected: type[BackupError], text: str
) -> None:
    with pytest.raises(expected) as raised, bus_errors("the peer"):
        raise error
    assert text in str(raised.value)
    assert "the peer" in str(raised.value)
    assert "sesame" not in str(raised.value)


def test_our_own_errors_and_others_pass() -> None:
    for error in (InvalidValue("x"), ZeroDivisionError()):
        with pytest.raises(type(error)) as raised, bus_errors("the peer"):
            raise error
        assert raised.value is error

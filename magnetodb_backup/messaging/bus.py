# SPDX-License-Identifier: Apache-2.0
"""The bus: topics, the transport and RPC servers with an explicit access policy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import oslo_messaging
from kombu.exceptions import KombuError
from oslo_config import cfg
from oslo_messaging.rpc import dispatcher

from magnetodb_backup.errors import BusUnavailable, InvalidValue, WorkerUnavailable

CONDUCTOR_TOPIC = "magnetodb-backup-conductor"
WORKER_TOPIC = "magnetodb-backup-worker"
VERSION = "1.0"
_NO_SERVER, _FIRST_CALL = "magnetodb-backup-unserved", 0.1  # a topic without server; seconds


def make_transport(conf: cfg.ConfigOpts, url: str | None = None) -> Any:
    """Return the RPC transport that ``transport_url`` (or ``url``) names.

    :raises InvalidValue: if the URL is malformed (the message leaves out any password), or
        another option of the bus is wrong.
    """
    try:
        return oslo_messaging.get_rpc_transport(conf, url=url)
    except cfg.ConfigFileValueError as error:
        raise InvalidValue(f"bad configuration: {error}") from None
    except (
        oslo_messaging.InvalidTransportURL,
        oslo_messaging.DriverLoadFailure,
        ValueError,  # of a malformed host or port
    ) as error:
        raise InvalidValue(
            "transport_url is not usable "
            f"({type(error).__name__}); write for example rabbit://user:password@host:5672/"
        ) from None


class Server:
    """An RPC server and the queue of replies of this process."""

    def __init__(self, transport: Any, server: Any) -> None:
        self._transport, self._server = transport, server

    def start(self) -> None:
        """Connect and serve; blocks until the broker is reachable."""
        # The first call of a process creates the queue of replies and waits for the broker without
        # a time-out; later calls honour theirs. Hence this first call to a topic without a server.
        target = oslo_messaging.Target(topic=_NO_SERVER, version=VERSION)
        client = oslo_messaging.get_rpc_client(self._transport, target, timeout=_FIRST_CALL)
        with contextlib.suppress(oslo_messaging.MessagingException):
            client.call({}, "anybody")
        self._server.start()

    def stop(self) -> None:
        """Accept no more requests."""
        self._server.stop()

    def wait(self) -> None:
        """Wait until all accepted requests are answered."""
        self._server.wait()


def make_server(transport: Any, topic: str, server: str, endpoint: object) -> Server:
    """Return an RPC server, not started, that offers the exposed methods of ``endpoint``."""
    made = oslo_messaging.get_rpc_server(
        transport,
        oslo_messaging.Target(topic=topic, server=server, version=VERSION),
        [endpoint],
        executor="threading",
        access_policy=dispatcher.ExplicitRPCAccessPolicy,
    )
    return Server(transport, made)


def make_client(transport: Any, topic: str, timeout: float) -> Any:
    """Return an RPC client whose calls end after ``timeout`` seconds."""
    target = oslo_messaging.Target(topic=topic, version=VERSION)
    return oslo_messaging.get_rpc_client(transport, target, timeout=timeout, retry=1)


@contextlib.contextmanager
def bus_errors(peer: str) -> Iterator[None]:
    """Turn oslo.messaging's errors into the project's; ``peer`` names the called process."""
    try:
        yield
    except oslo_messaging.MessagingTimeout:
        raise WorkerUnavailable(
            f"{peer} did not answer; is it running, and does it reach the message bus?"
        ) from None
    except oslo_messaging.RemoteError as error:
        raise WorkerUnavailable(
            f"{peer} failed to answer: {error.exc_type}: {error.value}"
        ) from None
    except oslo_messaging.RPCDispatcherError as error:
        # The in-memory bus returns errors unchanged.
        raise WorkerUnavailable(
            f"{peer} failed to answer: {type(error).__name__}: {error}"
        ) from None
    except (oslo_messaging.MessagingException, KombuError, OSError) as error:
        # kombu's own errors appear where no first connection can be made
        raise BusUnavailable(
            f"the message bus does not accept the call to {peer} ({type(error).__name__}); "
            "check transport_url and the broker"
        ) from None

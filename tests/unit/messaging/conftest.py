# SPDX-License-Identifier: Apache-2.0
"""The in-memory bus, each test on an exchange of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from oslo_config import cfg

from magnetodb_backup.messaging.bus import make_server, make_transport

Serve = Callable[[str, str, object], None]


@pytest.fixture
def transport() -> Iterator[Any]:
    """A transport whose messages nobody else sees, and none of which outlives the test."""
    make_transport(cfg.CONF, "fake://")  # registers the option that follows
    cfg.CONF.set_override("control_exchange", str(uuid.uuid4()))
    try:
        yield make_transport(cfg.CONF, "fake://")
    finally:
        cfg.CONF.clear_override("control_exchange")


@pytest.fixture
def serve(transport: Any) -> Iterator[Serve]:
    """Start RPC servers: by topic, name and endpoint."""
    with ExitStack() as servers:

        def start(topic: str, name: str, endpoint: object) -> None:
            server = make_server(transport, topic, name, endpoint)
            server.start()
            servers.callback(server.stop)  # wait() takes a second for an idle thread to end

        yield start

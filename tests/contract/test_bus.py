# SPDX-License-Identifier: Apache-2.0
"""The bus over a real RabbitMQ that goes away and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg

from magnetodb_backup.errors import BusUnavailable, Transient, WorkerUnavailable
from magnetodb_backup.messaging.bus import (
    CONDUCTOR_TOPIC,
    WORKER_TOPIC,
    Server,
    make_server,
    make_transport,
)
from magnetodb_backup.messaging.conductor import ConductorClient, ConductorEndpoint
from magnetodb_backup.messaging.endings import Listener, TaskEndings
from magnetodb_backup.messaging.worker import WorkerClient, WorkerEndpoint
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus
from tests.lab.processes import wait_for
from tests.lab.rabbitmq import RabbitMQ

_TIMEOUT = 3.0


class Tasks:
    """Remembers what was asked."""

    def __init__(self) -> None:
        self.started: dict[str, Mapping[str, Any]] = {}

    def start(
        self, task_id: str, kind: TaskKind, arguments: Mapping[str, Any], conductor: str = ""
    ) -> TaskStatus:
        self.started[task_id] = arguments
        self.conductor = conductor
        return self.status(task_id)

    def status(self, task_id: str) -> TaskStatus:
        known = task_id in self.started
        return TaskStatus(TaskState.RUNNING if known else TaskState.UNKNOWN)

    def cancel(self, task_id: str) -> None:
        self.started.pop(task_id, None)


def _client(transport: Any, *, timeout: float = _TIMEOUT) -> WorkerClient:
    return WorkerClient(transport, "conductor-1", TaskEndings(), timeout=timeout)


@pytest.fixture
def transport(rabbitmq: RabbitMQ) -> Iterator[Any]:
    rabbitmq.heal()
    conf = cfg.CONF  # the driver for RabbitMQ reads some options from this one only
    conf([], project="magnetodb-backup", default_config_files=[], default_config_dirs=[])
    made = make_transport(conf, rabbitmq.transport_url)
    yield made
    rabbitmq.heal()
    made.cleanup()
    conf.reset()


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


@pytest.fixture
def server(transport: Any, tasks: Tasks) -> Iterator[Server]:
    made = make_server(transport, WORKER_TOPIC, "worker-1", WorkerEndpoint(tasks))
    made.start()
    yield made
    made.stop()
    made.wait()


def test_task_is_started_and_followed(transport: Any, server: Server, tasks: Tasks) -> None:
    client = _client(transport, timeout=10)
    assert client.status("worker-1", "t").state is TaskState.UNKNOWN
    started = client.start("worker-1", "t", TaskKind.PREPARE, {"tag": "x"})
    assert started is not None
    assert (started.state, tasks.conductor) == (TaskState.RUNNING, "conductor-1")
    assert tasks.started == {"t": {"tag": "x"}}
    assert client.status("worker-1", "t").state is TaskState.RUNNING


def test_end_of_a_task_reaches_its_conductor(transport: Any) -> None:
    """And none of the other conductors; a message to one that is gone is lost without error."""
    endings = {name: TaskEndings() for name in ("conductor-1", "conductor-2")}
    heard: list[tuple[str, str]] = []

    def listener(name: str) -> Listener:
        return lambda worker_id, task_id, status: heard.append((name, task_id))

    with ExitStack() as stack:
        for name, each in endings.items():
            endpoint = ConductorEndpoint(lambda report: (), lambda ids: {}, lambda: None, each)
            server = make_server(transport, CONDUCTOR_TOPIC, name, endpoint)
            server.start()
            stack.callback(server.wait)
            stack.callback(server.stop)
            stack.enter_context(each.listening(listener(name)))
        client = ConductorClient(transport)
        client.task_ended("gone", "worker-1", "t0", TaskStatus(TaskState.DONE))
        client.task_ended("conductor-2", "worker-1", "t1", TaskStatus(TaskState.DONE))
        wait_for(lambda: bool(heard), deadline=20, what="the message", interval=0.01)
    assert heard == [("conductor-2", "t1")]


def test_worker_that_does_not_run(transport: Any, server: Server) -> None:
    with pytest.raises(WorkerUnavailable, match="worker worker-2 did not answer; is it running"):
        _client(transport).status("worker-2", "t")


def test_first_call_without_broker_ends_in_time(
    transport: Any, server: Server, rabbitmq: RabbitMQ
) -> None:
    """And when the broker is back, calls work again."""
    rabbitmq.kill()
    started = time.monotonic()
    with pytest.raises(Transient, match=r"did not answer|does not accept the call"):
        _client(transport).status("worker-1", "t")
    assert time.monotonic() - started < 10 * _TIMEOUT, "a call without time-out lasts for ever"
    rabbitmq.start()
    client = _client(transport)

    def answered() -> bool:
        try:
            return client.status("worker-1", "t").state is TaskState.UNKNOWN
        except (BusUnavailable, WorkerUnavailable):
            return False

    wait_for(answered, deadline=60, what="an answer after the broker's return")


def test_endpoint_shows_nothing_else(transport: Any, server: Server) -> None:
    target = oslo_messaging.Target(topic=WORKER_TOPIC, server="worker-1", version="1.0")
    client = oslo_messaging.get_rpc_client(transport, target, timeout=10)
    with pytest.raises(oslo_messaging.RemoteError, match=r"UnsupportedVersion|NoSuchMethod"):
        client.call({}, "_tasks")

# SPDX-License-Identifier: Apache-2.0
"""The bus over a real RabbitMQ that goes away and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg

from magnetodb_backup.errors import BusUnavailable, Transient, WorkerUnavailable
from magnetodb_backup.messaging.bus import WORKER_TOPIC, Server, make_server, make_transport
from magnetodb_backup.messaging.worker import WorkerClient, WorkerEndpoint
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus
from tests.lab.processes import wait_for
from tests.lab.rabbitmq import RabbitMQ

_TIMEOUT = 3.0


class Tasks:
    """Remembers what was asked."""

    def __init__(self) -> None:
        self.started: dict[str, Mapping[str, Any]] = {}

    def start(self, task_id: str, kind: TaskKind, arguments: Mapping[str, Any]) -> None:
        self.started[task_id] = arguments

    def status(self, task_id: str) -> TaskStatus:
        known = task_id in self.started
        return TaskStatus(TaskState.RUNNING if known else TaskState.UNKNOWN)

    def cancel(self, task_id: str) -> None:
        self.started.pop(task_id, None)


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
    client = WorkerClient(transport, timeout=10)
    assert client.status("worker-1", "t").state is TaskState.UNKNOWN
    client.start("worker-1", "t", TaskKind.PREPARE, {"tag": "x"})
    assert tasks.started == {"t": {"tag": "x"}}
    assert client.status("worker-1", "t").state is TaskState.RUNNING


def test_worker_that_does_not_run(transport: Any, server: Server) -> None:
    with pytest.raises(WorkerUnavailable, match="worker worker-2 did not answer; is it running"):
        WorkerClient(transport, timeout=_TIMEOUT).status("worker-2", "t")


def test_first_call_without_broker_ends_in_time(
    transport: Any, server: Server, rabbitmq: RabbitMQ
) -> None:
    """And when the broker is back, calls work again."""
    rabbitmq.kill()
    started = time.monotonic()
    with pytest.raises(Transient, match=r"did not answer|does not accept the call"):
        WorkerClient(transport, timeout=_TIMEOUT).status("worker-1", "t")
    assert time.monotonic() - started < 10 * _TIMEOUT, "a call without time-out lasts for ever"
    rabbitmq.start()
    client = WorkerClient(transport, timeout=_TIMEOUT)

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

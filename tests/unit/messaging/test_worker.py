# SPDX-License-Identifier: Apache-2.0
"""A worker's tasks over the bus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import oslo_messaging
import pytest

from magnetodb_backup.errors import NoSpace, UnknownTask, WorkerUnavailable
from magnetodb_backup.messaging.bus import WORKER_TOPIC, make_client
from magnetodb_backup.messaging.endings import TaskEndings
from magnetodb_backup.messaging.worker import WorkerClient, WorkerEndpoint, _unknown_kind
from magnetodb_backup.tasks.kinds import TaskKind, TaskState, TaskStatus
from tests.unit.messaging.conftest import Serve

FAILED = TaskStatus(TaskState.FAILED, {"files_done": 3}, error=NoSpace("disk full").as_record())


class Table:
    """Tasks that do nothing; the state of each is what the test says."""

    def __init__(self) -> None:
        self.started: list[tuple[str, TaskKind, Mapping[str, Any]]] = []
        self.conductors: list[str] = []
        self.cancelled: list[str] = []
        self.statuses: dict[str, TaskStatus] = {}

    def start(
        self, task_id: str, kind: TaskKind, arguments: Mapping[str, Any], conductor: str = ""
    ) -> TaskStatus:
        self.started.append((task_id, kind, arguments))
        self.conductors.append(conductor)
        return self.statuses.get(task_id, TaskStatus(TaskState.RUNNING))

    def status(self, task_id: str) -> TaskStatus:
        return self.statuses.get(task_id, TaskStatus(TaskState.UNKNOWN))

    def cancel(self, task_id: str) -> None:
        self.cancelled.append(task_id)


class EndpointOfVersion10:
    """A worker of the release before: it knows no conductor and answers a start with nothing."""

    target = oslo_messaging.Target(version="1.0")

    def __init__(self, table: Table) -> None:
        self._table = table

    @oslo_messaging.expose
    def start_task(
        self, context: Mapping[str, Any], task_id: str, kind: str, arguments: dict[str, Any]
    ) -> None:
        self._table.start(task_id, TaskKind(kind), arguments)

    @oslo_messaging.expose
    def task_status(self, context: Mapping[str, Any], task_id: str) -> dict[str, Any]:
        return self._table.status(task_id).as_json()


def connect(transport: Any, *, timeout: float = 10.0) -> WorkerClient:
    return WorkerClient(transport, "c1", TaskEndings(), timeout=timeout)


@pytest.fixture
def tables(serve: Serve) -> dict[str, Table]:
    """Two workers."""
    tables = {"w1": Table(), "w2": Table()}
    for name, table in tables.items():
        serve(WORKER_TOPIC, name, WorkerEndpoint(table))
    return tables


def test_a_task_is_started_on_the_worker_that_was_named(
    transport: Any, tables: dict[str, Table]
) -> None:
    arguments = {"tag": "mdbb-1", "tables": [{"keyspace": "Ks"}], "ttl": None, "size": 1 << 40}
    connect(transport).start("w2", "job-1/snapshot", TaskKind.SNAPSHOT, arguments)
    assert tables["w2"].started == [("job-1/snapshot", TaskKind.SNAPSHOT, arguments)]
    assert tables["w1"].started == []


@pytest.mark.parametrize("kind", TaskKind, ids=lambda kind: kind.value)
def test_every_kind_of_task_can_be_asked_for(
    transport: Any, tables: dict[str, Table], kind: TaskKind
) -> None:
    connect(transport).start("w1", "t", kind, {})
    assert tables["w1"].started == [("t", kind, {})]


def test_a_status_arrives_whole(transport: Any, tables: dict[str, Table]) -> None:
    tables["w1"].statuses["t"] = FAILED
    client = connect(transport)
    assert client.status("w1", "t") == FAILED
    assert client.status("w2", "t").state is TaskState.UNKNOWN


def test_a_task_is_cancelled_where_it_runs(transport: Any, tables: dict[str, Table]) -> None:
    connect(transport).cancel("w1", "t")
    assert (tables["w1"].cancelled, tables["w2"].cancelled) == (["t"], [])


def test_a_worker_that_is_gone_is_named(transport: Any, tables: dict[str, Table]) -> None:
    client = connect(transport, timeout=0.1)
    asks: list[Callable[[], object]] = [
        lambda: client.start("w9", "t", TaskKind.PREPARE, {}),
        lambda: client.status("w9", "t"),
        lambda: client.cancel("w9", "t"),
    ]
    for ask in asks:
        with pytest.raises(WorkerUnavailable, match=r"^worker w9 did not answer; is it running"):
            ask()
    assert not tables["w1"].started


def test_only_the_three_methods_are_offered() -> None:
    exposed = {
        name
        for name in dir(WorkerEndpoint)
        if getattr(getattr(WorkerEndpoint, name), "exposed", False)
    }
    assert exposed == {"start_task", "task_status", "cancel_task"}


def test_a_kind_of_a_newer_version_starts_nothing(transport: Any, tables: dict[str, Table]) -> None:
    client = make_client(transport, WORKER_TOPIC, 10).prepare(server="w1")
    with pytest.raises(ValueError, match="teleport"):
        client.call({}, "start_task", task_id="t", kind="teleport", arguments={})
    assert tables["w1"].started == []


class EndpointOfFewerKinds:
    """A worker of a release that knows fewer kinds of tasks, or that has an error."""

    target = oslo_messaging.Target(version="1.1")

    def __init__(self, message: str) -> None:
        self._message = message

    @oslo_messaging.expose
    def start_task(self, context: Mapping[str, Any], **arguments: Any) -> None:
        raise ValueError(self._message)


def test_a_worker_that_does_not_know_the_kind_is_recognised(transport: Any, serve: Serve) -> None:
    serve(WORKER_TOPIC, "old", EndpointOfFewerKinds("'verify_read' is not a valid TaskKind"))
    with pytest.raises(UnknownTask, match=r"worker old does not know the task verify_read"):
        connect(transport).start("old", "t", TaskKind.VERIFY_READ, {})


@pytest.mark.parametrize(
    "value", ["'verify_read' is not a valid TaskKind", "'upload' is not a valid TaskKind", "x"]
)
def test_only_the_missing_kind_is_taken_for_that(value: str) -> None:
    """The broker brings errors as texts."""
    error = oslo_messaging.RemoteError("ValueError", value, [])
    expected = UnknownTask if "verify_read" in value else oslo_messaging.RemoteError
    with pytest.raises(expected), _unknown_kind("w", TaskKind.VERIFY_READ):
        raise error
    with (
        pytest.raises(oslo_messaging.RemoteError),
        _unknown_kind("w", TaskKind.VERIFY_READ),
    ):
        raise oslo_messaging.RemoteError("KeyError", value, [])


def test_a_start_returns_the_status_and_names_the_conductor(
    transport: Any, tables: dict[str, Table]
) -> None:
    tables["w1"].statuses["t"] = FAILED
    assert connect(transport).start("w1", "t", TaskKind.UPLOAD, {}) == FAILED
    assert tables["w1"].conductors == ["c1"]


def test_a_worker_of_the_release_before_starts_the_task(transport: Any, serve: Serve) -> None:
    table = Table()
    serve(WORKER_TOPIC, "old", EndpointOfVersion10(table))
    client = connect(transport)
    assert client.start("old", "t", TaskKind.UPLOAD, {"a": 1}) is None
    assert table.started == [("t", TaskKind.UPLOAD, {"a": 1})]
    assert client.status("old", "t").state is TaskState.UNKNOWN


def test_a_conductor_of_the_release_before_gets_no_messages(
    transport: Any, tables: dict[str, Table]
) -> None:
    """It sends an empty context."""
    client = make_client(transport, WORKER_TOPIC, 10).prepare(server="w1")
    client.call({}, "start_task", task_id="t", kind="upload", arguments={})
    assert tables["w1"].conductors == [""]

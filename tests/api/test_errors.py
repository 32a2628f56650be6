# SPDX-License-Identifier: Apache-2.0
"""What a client is told when a request cannot be served."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
from falcon import testing
from oslo_config import cfg
from oslo_policy import policy

from magnetodb_backup.api.app import create_app
from magnetodb_backup.api.policies import list_rules
from magnetodb_backup.database import Database
from magnetodb_backup.database.retention import Plan
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.domain.restore.records import Restore, RestoreRequest
from magnetodb_backup.domain.retention.policy import ClusterPolicy
from magnetodb_backup.domain.retention.policy import Policy as RetentionPolicy
from magnetodb_backup.domain.schedule.records import Schedule, ScheduleRequest, ScheduleRun
from magnetodb_backup.errors import (
    BackupError,
    BusUnavailable,
    Conflict,
    DatabaseUnavailable,
    InvalidValue,
    NotFound,
)
from tests.api.conftest import Api, as_json
from tests.lab.catalogue import MISSING

BACKUPS = "/v1/backups"
MiB = 1024 * 1024


class Refusing:
    """Takes no request: raises an error instead."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def create_backup(self, request: BackupRequest) -> Backup:
        raise self._error

    def cancel_backup(self, backup_id: str) -> Backup:
        raise self._error

    def delete_backup(self, backup_id: str, *, allow_loss: bool = False) -> Backup:
        raise self._error

    def keep_backup(self, backup_id: str, reason: str) -> Backup:
        raise self._error

    def unkeep_backup(self, backup_id: str) -> Backup:
        raise self._error

    def known_clusters(self) -> tuple[str, ...]:
        raise self._error

    def set_retention(self, cluster: str | None, policy: RetentionPolicy) -> ClusterPolicy:
        raise self._error

    def clear_retention(self, cluster: str | None) -> ClusterPolicy:
        raise self._error

    def plan_retention(self, cluster: str | None) -> Plan:
        raise self._error

    def apply_retention(self, cluster: str | None) -> Job:
        raise self._error

    def undelete_backup(self, backup_id: str) -> Backup:
        raise self._error

    def verify_backup(
        self,
        backup_id: str,
        *,
        read_data: bool = False,
        rungs: Sequence[str] = (),
        sample: float | None = None,
        seed: int | None = None,
        as_of: datetime | None = None,
    ) -> Job:
        raise self._error

    def create_collection(
        self,
        cluster: str | None,
        *,
        dry_run: bool = False,
        grace: float | None = None,
        repack: int | None = None,
        repack_minimum: int | None = None,
    ) -> Job:
        raise self._error

    def create_survey(self, cluster: str | None, together: Sequence[str] = ()) -> Job:
        raise self._error

    def create_restore(self, request: RestoreRequest) -> Restore:
        raise self._error

    def cancel_restore(self, restore_id: str) -> Restore:
        raise self._error

    def create_schedule(self, request: ScheduleRequest) -> Schedule:
        raise self._error

    def change_schedule(self, schedule_id: str, changes: Mapping[str, Any]) -> Schedule:
        raise self._error

    def delete_schedule(self, schedule_id: str) -> None:
        raise self._error

    def pause_schedule(self, schedule_id: str) -> Schedule:
        raise self._error

    def resume_schedule(self, schedule_id: str) -> Schedule:
        raise self._error

    def run_schedule(self, schedule_id: str) -> ScheduleRun:
        raise self._error


@pytest.fixture
def refusing(database: Database) -> Callable[[Exception], Api]:
    def refusing(error: Exception) -> Api:
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        enforcer = policy.Enforcer(conf)
        enforcer.register_defaults(list_rules())
        application = create_app(
            database=database,
            requests=Refusing(error),
            enforcer=enforcer,
            version="1",
            max_limit=10,
        )
        return Api(testing.TestClient(application), database)

    return refusing


REQUESTS = [
    ("POST", BACKUPS, as_json({"scope": {"type": "all"}})),
    ("DELETE", f"{BACKUPS}/{MISSING}", {}),
    ("POST", f"{BACKUPS}/{MISSING}/cancel", {}),
    ("POST", f"{BACKUPS}/{MISSING}/undelete", {}),
    ("POST", f"{BACKUPS}/{MISSING}/verify", {}),
]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidValue("why"), 400),
        (NotFound("why"), 404),
        (Conflict("why"), 409),
        (DatabaseUnavailable("why"), 503),
        (BusUnavailable("why"), 503),
    ],
)
def test_codes_of_errors(
    refusing: Callable[[Exception], Api], error: BackupError, code: int
) -> None:
    api = refusing(error)
    for method, path, arguments in REQUESTS:
        assert api.refused(code, method, path, **arguments) == "why"
        answer = api.call(method, path, **arguments)
        assert answer.headers.get("retry-after") == ("10" if code == 503 else None)


def test_unexpected_error_tells_only_where_to_look(
    refusing: Callable[[Exception], Api], caplog: pytest.LogCaptureFixture
) -> None:
    api = refusing(RuntimeError("secret detail"))
    caplog.set_level(logging.INFO)
    for method, path, arguments in REQUESTS:
        caplog.clear()
        answer = api.call(method, path, **arguments)
        assert answer.status_code == 500
        assert "secret detail" not in answer.text
        assert "the service's log has it under this request's ID" in answer.json["error"]["message"]
        assert answer.json["error"]["request_id"] in caplog.text
        assert "secret detail" in caplog.text


def test_every_error_can_be_found_in_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answer = api.call("GET", f"{BACKUPS}/{MISSING}")
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("magnetodb_backup.api")]
    request_id = answer.json["error"]["request_id"]
    assert f"{request_id} GET {BACKUPS}/{MISSING}: 404 Not Found" in lines
    assert api.call("GET", "/").headers["x-openstack-request-id"] != request_id


def test_database_that_goes_away_and_comes_back(api: Api, tmp_path: Path) -> None:
    backup = api.backup(BackupStatus.CREATED)
    api.database.close()
    path, aside = tmp_path / "catalogue.sqlite", tmp_path / "aside"
    path.rename(aside)
    path.mkdir()
    for where in (BACKUPS, f"{BACKUPS}/{backup.id}", f"{BACKUPS}/{backup.id}/nodes", "/v1/nodes"):
        assert "the database does not answer" in api.refused(503, "GET", where)
        assert api.call("GET", where).headers["retry-after"] == "10"
    body = as_json({"scope": {"type": "all"}})
    assert "the database does not answer" in api.refused(503, "POST", BACKUPS, **body)
    path.rmdir()
    aside.rename(path)
    assert api.get(f"{BACKUPS}/{backup.id}")["status"] == "CREATED"


@pytest.mark.parametrize("path", ["/nothing", "/v2/backups", "/healthcheck/x", f"{BACKUPS}/a/b"])
def test_nothing_is_there(api: Api, path: str) -> None:
    message = api.refused(404, "GET", path)
    assert message == f"there is nothing at {path}; see /v1/openapi.json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", BACKUPS, "GET, POST, OPTIONS"),
        ("DELETE", BACKUPS, "GET, POST, OPTIONS"),
        ("POST", f"{BACKUPS}/{MISSING}", "DELETE, GET, OPTIONS"),
        ("GET", f"{BACKUPS}/{MISSING}/cancel", "POST, OPTIONS"),
        ("POST", "/v1/nodes", "GET, OPTIONS"),
        ("POST", "/", "GET, OPTIONS"),
    ],
)
def test_methods_that_are_not_possible(api: Api, method: str, path: str, allowed: str) -> None:
    message = api.refused(405, method, path)
    assert message == f"{method} is not possible at {path}; possible: {allowed}"
    assert api.call(method, path).headers["allow"] == allowed


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "the body is not JSON"),
        (b"{", "line 1 column 2"),
        (b'{"scope": {"type": "all"}} x', "Extra data"),
        (b'{"name": "\xff"}', "utf-8"),
        (b"[" * 100_000, "recursion"),
        (b'{"limit": ' + b"9" * 10_000 + b"}", "digits"),
    ],
)
def test_bodies_that_are_no_json(api: Api, body: bytes, named: str) -> None:
    headers = {"Content-Type": "application/json"}
    message = api.refused(400, "POST", BACKUPS, body=body, headers=headers)
    assert message.startswith("the body is not JSON")
    assert named in message


@pytest.mark.parametrize("path", [BACKUPS, f"{BACKUPS}/{MISSING}/verify"])
class TestBodies:
    """What every request with a body checks first."""

    def test_too_large(self, api: Api, path: str) -> None:
        headers = {"Content-Type": "application/json"}
        body = b" " * MiB + b"x"
        message = api.refused(413, "POST", path, body=body, headers=headers)
        assert message == f"at most {MiB} bytes"

    def test_wrong_type(self, api: Api, path: str) -> None:
        for media_type in (
            "application/x-www-form-urlencoded",
            "text/plain",
            "multipart/form-data",
        ):
            headers = {"Content-Type": media_type}
            message = api.refused(415, "POST", path, body="x=y", headers=headers)
            assert media_type in message
            assert "send the body with Content-Type: application/json" in message

    def test_no_type(self, api: Api, path: str) -> None:
        """A web page may send a body without a type to any site."""
        message = api.refused(415, "POST", path, body='{"scope": {"type": "all"}}')
        assert message.startswith("Content-Type is missing")

    def test_without_a_length(self, api: Api, path: str) -> None:
        headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
        assert "Content-Length" in api.refused(411, "POST", path, headers=headers)


def test_type_may_name_a_character_set(api: Api) -> None:
    arguments = as_json({"scope": {"type": "all"}})
    arguments["headers"] = {"Content-Type": "application/json; charset=utf-8"}
    assert api.call("POST", BACKUPS, **arguments).status_code == 202


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example"]
)
def test_other_host_names_are_refused(api: Api, host: str) -> None:
    """A name that resolves to the API's address lets a foreign page read answers."""
    for method, path in (("GET", BACKUPS), ("DELETE", f"{BACKUPS}/{MISSING}")):
        message = api.refused(403, method, path, host=host)
        assert f"Host '{host}' is not a name of this API" in message
        assert "[api] host_names" in message


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST", "192.0.2.7", "::1", gethostname()])
def test_addresses_and_own_names_are_hosts(api: Api, host: str) -> None:
    assert api.call("GET", BACKUPS, host=host).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:8080", "null"])
def test_requests_of_foreign_pages_are_refused(api: Api, origin: str) -> None:
    arguments = as_json({"scope": {"type": "all"}})
    arguments["headers"] = {**arguments["headers"], "Origin": origin}
    message = api.refused(403, "POST", BACKUPS, **arguments)
    assert f"Origin '{origin}' is another site" in message
    assert api.get(BACKUPS)["backups"] == []

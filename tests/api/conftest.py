# SPDX-License-Identifier: Apache-2.0
"""The whole WSGI application, composed as the process does it, on SQLite."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from jsonschema import Draft202012Validator, FormatChecker
from oslo_config import cfg

from magnetodb_backup.api.schemas.document import document
from magnetodb_backup.cmd import configuration
from magnetodb_backup.cmd.api import make_application
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobKind
from magnetodb_backup.messaging.bus import make_transport
from tests.lab.catalogue import job_of, recorded
from tests.lab.deployment import write_configuration
from tests.unit.domain.samples import REPORT

CLUSTER = REPORT.cluster


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """Return what the document says of a request, None where it says nothing."""
    for template, item in document()["paths"].items():
        if re.fullmatch(re.sub(r"{[a-z]+}", "[^/]+", template.replace(".", r"\.")), path):
            found: dict[str, Any] | None = item.get(method.lower())
            return found
    return None


def check_against_document(method: str, path: str, answer: testing.Result) -> None:
    """Compare an answer's status, type and body with what the document promises."""
    responses = (operation_of(method, path) or {}).get("responses", {})
    code = str(answer.status_code)
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    if answer.status_code == 204:
        assert ("content" in responses[code], answer.text) == (False, "")
        return
    if answer.status_code < 400 or code in responses:
        content = responses[code]["content"]
    else:
        content = responses.get("default", {"content": error})["content"]
    media_type = answer.headers["content-type"].partition(";")[0]
    schema = content[media_type]["schema"]
    if media_type == "application/json":
        whole = {**schema, "components": document()["components"]}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(answer.json)


@dataclass(frozen=True)
class Api:
    """Calls the application; every answer is checked against the OpenAPI document."""

    client: testing.TestClient
    database: Database

    def call(self, method: str, path: str, **arguments: Any) -> testing.Result:
        arguments.setdefault("host", "127.0.0.1")
        answer = self.client.simulate_request(method, path, **arguments)
        check_against_document(method, path.partition("?")[0].rstrip("/") or "/", answer)
        return answer

    def get(self, path: str, **arguments: Any) -> Any:
        """Return the body of a successful GET."""
        answer = self.call("GET", path, **arguments)
        assert answer.status_code == 200, answer.text
        return answer.json

    def refused(self, code: int, method: str, path: str, **arguments: Any) -> str:
        """Return the message of a request that must fail with ``code``."""
        answer = self.call(method, path, **arguments)
        assert answer.status_code == code, answer.text
        error = answer.json["error"]
        assert error["code"] == code
        assert error["title"] == answer.status.partition(" ")[2]
        assert error["request_id"] == answer.headers["x-openstack-request-id"]
        return str(error["message"])

    def backup(self, status: BackupStatus = BackupStatus.CREATING, name: str = "") -> Backup:
        """Record a backup of this status; its job is finished unless it is CREATING."""
        return recorded(self.database, CLUSTER, status, name)

    def job(self, backup: Backup, kind: str = JobKind.BACKUP) -> Job:
        """Return the backup's latest job of a kind."""
        return job_of(self.database, backup.id, kind)


Options = Mapping[str, Mapping[str, Any]]
MakeApi = Callable[..., Api]


@pytest.fixture
def make_api(tmp_path: Path, database: Database) -> Iterator[MakeApi]:
    """Composes the application from options, in the global configuration as a process does."""

    def make_api(options: Options | None = None) -> Api:
        config = write_configuration(
            tmp_path / "service.conf",
            {"DEFAULT": {"state_dir": tmp_path, "transport_url": "fake://"}},
            options or {},
        )
        cfg.CONF.reset()
        conf = configuration.load(["--config-file", str(config)])
        application = make_application(conf, database, make_transport(conf))
        return Api(testing.TestClient(application), database)

    yield make_api
    cfg.CONF.reset()


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    return make_api()


def as_json(value: Any) -> dict[str, Any]:
    """Return the arguments of a request with this JSON body."""
    return {"body": json.dumps(value), "headers": {"Content-Type": "application/json"}}

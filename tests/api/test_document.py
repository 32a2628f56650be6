# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document and the application say the same."""

from __future__ import annotations

import re
from typing import Any

import pytest
from falcon import inspect
from jsonschema import Draft202012Validator
from oslo_config import cfg
from oslo_policy import policy

from magnetodb_backup.api.app import make_routes
from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.policies import list_rules
from magnetodb_backup.api.schemas.document import document
from magnetodb_backup.domain.backup.growth import growth
from magnetodb_backup.domain.backup.growth_views import growth_view
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import (
    backup_view,
    collection_view,
    finding_view,
    job_view,
    node_backup_view,
    node_view,
)
from magnetodb_backup.domain.jobs import JobKind, JobStatus
from magnetodb_backup.domain.restore.records import Existing, RestoreRequest, RestoreStatus
from magnetodb_backup.domain.restore.views import node_restore_view, restore_view
from magnetodb_backup.domain.retention.candidates import Candidate, State, group_of
from magnetodb_backup.domain.retention.decide import Decision
from magnetodb_backup.domain.retention.policies import SchedulePolicy
from magnetodb_backup.domain.retention.policy import ClusterPolicy, Policy
from magnetodb_backup.domain.retention.views import decision_view, policy_view, schedule_policy_view
from magnetodb_backup.domain.schedule.actions import Action
from magnetodb_backup.domain.schedule.records import (
    BACKUP_FIELDS,
    Missed,
    Overlap,
    RunStatus,
    ScheduleStatus,
    Timing,
)
from magnetodb_backup.domain.schedule.views import run_view, schedule_view
from tests.api.conftest import Api
from tests.api.test_errors import Refusing
from tests.unit.domain.samples import (
    BACKUP,
    FINDING,
    JOB,
    NODE,
    NODE_BACKUP,
    NODE_RESTORE,
    PROOF,
    RESTORE,
    SCHEDULE_RUN,
    SCHEDULE_STATE,
    TIME,
)

OPEN = {("GET", "/"), ("GET", "/healthcheck"), ("GET", "/v1"), ("GET", "/v1/openapi.json")}
CANDIDATE = Candidate(BACKUP.id, group_of(BACKUP.scope), State.RESTORABLE, TIME)
SCHEMAS: dict[str, Any] = document()["components"]["schemas"]


def bare(path: str) -> str:
    """Return a template without its parameters' names."""
    return re.sub(r"{[^}]*}", "{}", path)


def described() -> set[tuple[str, str]]:
    """Return method and path of each operation of the document."""
    return {
        (method.upper(), bare(path))
        for path, item in document()["paths"].items()
        for method in item
        if method != "parameters"
    }


def test_document_is_served_as_it_is(api: Api) -> None:
    assert api.get("/v1/openapi.json") == document()


def test_routes_are_the_operations(api: Api) -> None:
    enforcer = policy.Enforcer(cfg.CONF)
    tools = Tools(api.database, Refusing(RuntimeError()), enforcer, version="1", max_limit=1)
    routed = {
        (method.method, bare(route.path))
        for route in inspect.inspect_routes(make_routes(tools))
        for method in route.methods
        if not method.internal
    }
    assert routed == described() - {("GET", "/healthcheck")}


def test_every_operation_but_the_open_ones_has_one_policy_rule() -> None:
    ruled = [
        (operation["method"], bare(operation["path"]))
        for rule in list_rules()
        for operation in rule.operations
    ]
    assert sorted(ruled) == sorted(described() - OPEN)


def test_health(api: Api) -> None:
    answer = api.call("GET", "/healthcheck")
    assert (answer.status_code, answer.text) == (200, "")


def test_versions(api: Api) -> None:
    versions = api.get("/")
    assert versions["name"] == "magnetodb-backup"
    assert versions["version"] == "0.1.0"
    (version,) = versions["versions"]
    assert version["status"] == "CURRENT"
    links = {link["rel"]: link["href"].partition("/v1")[1:] for link in version["links"]}
    assert api.get("".join(links["self"])) == {"version": version}
    assert api.get("".join(links["describedby"])) == document()


def test_lists_end_with_or_without_a_slash(api: Api) -> None:
    assert api.get("/v1/backups/") == api.get("/v1/backups")


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*(_references(v) for v in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(v) for v in value))
    return set()


def test_schemas_are_schemas_and_all_are_used() -> None:
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
    assert _references(document()) == {f"#/components/schemas/{name}" for name in SCHEMAS}


@pytest.mark.parametrize(
    ("schema", "view"),
    [
        ("Backup", backup_view(BACKUP)),
        ("BackupDetails", backup_view(BACKUP, proofs=[PROOF], findings=[FINDING])),
        ("ProofGroup", backup_view(BACKUP, proofs=[PROOF])["proofs"][0]),
        ("NodeBackup", node_backup_view(NODE_BACKUP)),
        ("Node", node_view(NODE)),
        ("Finding", finding_view(FINDING)),
        ("Growth", growth_view(growth("c", TIME, [], None))),
        ("Job", job_view(JOB)),
        ("Collection", collection_view(JOB)),
        ("Restore", restore_view(RESTORE)),
        ("RestoreDetails", restore_view(RESTORE, [NODE_RESTORE])),
        ("NodeRestore", node_restore_view(NODE_RESTORE)),
        ("Schedule", schedule_view(SCHEDULE_STATE)),
        ("ScheduleDetails", schedule_view(SCHEDULE_STATE, with_runs=True)),
        ("ScheduleRun", run_view(SCHEDULE_RUN)),
        ("RetentionPolicy", policy_view(ClusterPolicy("c", Policy(), TIME, TIME))),
        ("RetentionDecision", decision_view(Decision(CANDIDATE))),
        ("ScheduleRetention", schedule_policy_view(SchedulePolicy("s", "n", Policy()))),
    ],
)
def test_every_field_is_described(schema: str, view: dict[str, Any]) -> None:
    assert set(view) == set(SCHEMAS[schema]["properties"]) == set(SCHEMAS[schema]["required"])


def test_every_state_is_described() -> None:
    for statuses, path, schemas in (
        (BackupStatus, "/v1/backups", ["Backup", "BackupDetails"]),
        (RestoreStatus, "/v1/restores", ["Restore", "RestoreDetails"]),
        (ScheduleStatus, "/v1/schedules", ["Schedule", "ScheduleDetails"]),
    ):
        names = [status.value for status in statuses]
        for schema in schemas:
            assert SCHEMAS[schema]["properties"]["status"]["enum"] == names
        parameters = document()["paths"][path]["get"]["parameters"]
        (parameter,) = (p for p in parameters if p["name"] == "status")
        assert parameter["schema"]["enum"] == names
    state = SCHEMAS["RetentionDecision"]["properties"]["state"]
    assert state["enum"] == [state.value for state in State]
    job = SCHEMAS["Job"]["properties"]
    assert job["kind"]["enum"] == [kind for name, kind in vars(JobKind).items() if name.isupper()]
    assert job["status"]["enum"] == [status.value for status in JobStatus]


def test_every_field_of_a_request_is_described() -> None:
    assert set(SCHEMAS["BackupRequest"]["properties"]) == set(BackupRequest.__dataclass_fields__)
    assert set(SCHEMAS["RetentionRequest"]["properties"]) == set(Policy.__dataclass_fields__)
    request = SCHEMAS["RestoreRequest"]["properties"]
    assert set(request) == set(RestoreRequest.__dataclass_fields__)
    assert request["existing"]["enum"] == [existing.value for existing in Existing]


def test_every_field_of_a_schedule_is_described() -> None:
    changes = SCHEMAS["ScheduleChanges"]["properties"]
    verifying = {"verify", "sample", "each_in"}
    assert set(changes) == {
        "name", "retention", *verifying, *Timing.__dataclass_fields__, *BACKUP_FIELDS
    }  # fmt: skip
    request = SCHEMAS["ScheduleRequest"]["properties"]
    assert set(request) == {*changes, "action", "cluster", "paused"}
    assert request["action"]["enum"] == [action.value for action in Action]
    own = changes["retention"]["properties"]
    assert own == SCHEMAS["RetentionRequest"]["properties"]
    for enum_, field in ((Overlap, "overlap"), (Missed, "missed")):
        assert changes[field]["enum"] == request[field]["enum"] == [e.value for e in enum_]
    run = SCHEMAS["ScheduleRun"]["properties"]
    assert run["status"]["enum"] == [status.value for status in RunStatus]

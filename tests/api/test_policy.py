# SPDX-License-Identifier: Apache-2.0
"""The operator's policy file decides who may do what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.api.policies import list_rules
from magnetodb_backup.domain.backup.status import BackupStatus
from tests.api.conftest import Api, MakeApi, as_json
from tests.lab.catalogue import MISSING
from tests.lab.schedules import BODY

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/backups"): {"scope": {"type": "all"}},
    ("POST", "/v1/restores"): {"backup_id": MISSING},
    ("POST", "/v1/schedules"): BODY,
    ("PATCH", f"/v1/schedules/{MISSING}"): {"jitter": 1},
    ("PUT", f"/v1/retention/{MISSING}"): {"redundancy": 1},
    ("POST", f"/v1/backups/{MISSING}/keep"): {"reason": "audit"},
}
Operation = tuple[str, str]


def operations(rule: Any) -> list[Operation]:
    return [(o["method"], re.sub("{[a-z]+}", MISSING, o["path"])) for o in rule.operations]


def arguments_of(operation: Operation) -> dict[str, Any]:
    return as_json(BODIES[operation]) if operation in BODIES else {}


def with_policy(make_api: MakeApi, tmp_path: Path, text: str) -> Api:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return make_api({"oslo_policy": {"policy_file": path}})


@pytest.mark.parametrize("forbidden", [rule.name for rule in list_rules()])
def test_each_rule_can_be_taken_away(make_api: MakeApi, tmp_path: Path, forbidden: str) -> None:
    api = with_policy(make_api, tmp_path, f'"{forbidden}": "!"\n')
    for rule in list_rules():
        for operation in operations(rule):
            answer = api.call(*operation, **arguments_of(operation))
            if rule.name == forbidden:
                assert answer.status_code == 403
                assert answer.json["error"]["message"] == f"the policy forbids {forbidden}"
                assert answer.json["error"]["title"] == "Forbidden"
            else:
                assert answer.status_code in (200, 201, 202, 404)
    recorded = api.database.backups.list()
    assert len(recorded) == (0 if forbidden == "backups:create" else 1)


def test_everything_else_than_the_versions_is_the_administrators(
    make_api: MakeApi, tmp_path: Path
) -> None:
    text = "".join(f'"{rule.name}": "role:operator"\n' for rule in list_rules())
    api = with_policy(make_api, tmp_path, text)
    backup = api.backup(BackupStatus.CREATED)
    for rule in list_rules():
        assert rule.check_str == "role:admin"
        for operation in operations(rule):
            api.refused(403, *operation, **arguments_of(operation))
    for path in ("/", "/v1", "/v1/openapi.json"):
        assert api.get(path)
    assert api.call("GET", "/healthcheck").status_code == 200
    assert api.database.backups.get(backup.id) == backup


def test_refusal_comes_before_the_body_is_looked_at(make_api: MakeApi, tmp_path: Path) -> None:
    api = with_policy(
        make_api, tmp_path, '"backups:create": "!"\n"backups:verify": "!"\n"restores:create": "!"\n'
    )
    headers = {"Content-Type": "text/plain"}
    for path in ("/v1/backups", f"/v1/backups/{MISSING}/verify", "/v1/restores"):
        api.refused(403, "POST", path, body="x", headers=headers)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"action": "verify"}, "backups:verify"),
        ({"action": "collect"}, "collections:create"),
        ({"action": "expire"}, "retention:apply"),
        ({"scope": {"type": "all"}, "verify": ["exists"]}, "backups:verify"),
        ({"scope": {"type": "all"}, "retention": {"daily": 7}}, "retention:set"),
    ],
)
def test_a_schedule_is_no_way_around_a_rule(
    make_api: MakeApi, tmp_path: Path, fields: dict[str, Any], rule: str
) -> None:
    api = with_policy(make_api, tmp_path, f'"{rule}": "!"\n')
    body = {"name": "n", "cron": "0 2 * * *", **fields}
    message = api.refused(403, "POST", "/v1/schedules", **as_json(body))
    assert message == f"the policy forbids {rule}"
    assert api.database.schedules.list() == ()
    changes = {name: value for name, value in fields.items() if name not in ("action", "scope")}
    if changes:
        made = api.call("POST", "/v1/schedules", **as_json(BODY)).json
        path = f"/v1/schedules/{made['id']}"
        assert rule in api.refused(403, "PATCH", path, **as_json(changes))

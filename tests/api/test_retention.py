# SPDX-License-Identifier: Apache-2.0
"""/v1/retention, marks, and deletions that lose something."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, Subject
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.retention.views import policy_view
from tests.api.conftest import CLUSTER, Api, as_json
from tests.lab.catalogue import MISSING

PATH = f"/v1/retention/{quote(CLUSTER)}"
S = BackupStatus


def put(api: Api, **policy: Any) -> Any:
    answer = api.call("PUT", PATH, **as_json(policy))
    assert answer.status_code == 200, answer.text
    return answer.json


def test_a_policy_is_set_shown_and_removed(api: Api) -> None:
    assert api.get("/v1/retention") == {"policies": []}
    made = put(api, redundancy=3, window_days=7, time_zone="Europe/Berlin")
    assert made == policy_view(api.database.retention.get(CLUSTER))
    assert (made["cluster"], made["floor"], made["daily"]) == (CLUSTER, 1, 0)
    assert api.get(PATH) == made
    assert api.get("/v1/retention") == {"policies": [made]}
    # What a policy leaves out has its default again.
    assert put(api, daily=7)["redundancy"] == 0
    answer = api.call("DELETE", PATH)
    assert (answer.status_code, answer.json["daily"]) == (200, 7)
    for method in ("GET", "DELETE"):
        assert "retention policy" in api.refused(404, method, PATH)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "the policy keeps nothing"),
        ({"redundancy": "3"}, "'3' is not of type 'integer'"),
        ({"redundancy": -1}, "-1 is less than the minimum"),
        ({"daily": 1, "floor": 0}, "0 is less than the minimum"),
        ({"hourly": 1}, "'hourly' was unexpected"),
        ({"daily": 1, "time_zone": "Mars"}, "no time zone 'Mars'"),
    ],
)
def test_wrong_policies(api: Api, body: dict[str, Any], named: str) -> None:
    assert named in api.refused(400, "PUT", PATH, **as_json(body))
    assert api.database.retention.list() == ()


def test_an_unknown_cluster(api: Api) -> None:
    message = api.refused(404, "PUT", "/v1/retention/other", **as_json({"daily": 1}))
    assert "no cluster 'other'" in message
    for method, path in (("GET", "plan"), ("POST", "apply"), ("GET", "apply")):
        api.refused(404, method, f"/v1/retention/other/{path}")


def test_a_plan_deletes_nothing(api: Api) -> None:
    put(api, redundancy=1)
    old, new = api.backup(S.CREATED, "old"), api.backup(S.CREATED)
    plan = api.get(f"{PATH}/plan")
    assert plan["policy"] == api.get(PATH)
    assert [(d["backup_id"], d["kept"]) for d in plan["decisions"]] == [
        (new.id, True),
        (old.id, False),
    ]
    assert plan["decisions"][1]["reasons"] == ["no rule of the policy keeps it"]
    assert plan["decisions"][1]["name"] == "old"
    assert api.database.jobs.unfinished() == ()


def test_applying(api: Api) -> None:
    put(api, redundancy=1)
    assert "POST to its apply" in api.refused(404, "GET", f"{PATH}/apply")
    answer = api.call("POST", f"{PATH}/apply")
    assert answer.status_code == 202
    job = api.database.jobs.latest(Subject.cluster(CLUSTER), JobKind.RETENTION)
    assert job is not None
    assert (answer.json["id"], answer.json["kind"], answer.json["backup_id"]) == (
        job.id, "retention", "",
    )  # fmt: skip
    assert api.get(f"{PATH}/apply") == answer.json
    assert "is PENDING; wait" in api.refused(409, "POST", f"{PATH}/apply")


def test_marks(api: Api) -> None:
    backup = api.backup(S.CREATED)
    path = f"/v1/backups/{backup.id}"
    answer = api.call("POST", f"{path}/keep", **as_json({"reason": "audit 2026"}))
    assert (answer.status_code, answer.json["kept_reason"]) == (200, "audit 2026")
    assert api.get(path)["kept_at"] == answer.json["kept_at"] is not None
    assert "is to be kept: audit 2026" in api.refused(409, "DELETE", path)
    answer = api.call("POST", f"{path}/unkeep")
    assert (answer.status_code, answer.json["kept_reason"], answer.json["kept_at"]) == (
        200, "", None,
    )  # fmt: skip
    for body in ({}, {"reason": ""}, {"reason": "x" * 1001}, {"reason": " "}, {"why": "x"}):
        api.refused(400, "POST", f"{path}/keep", **as_json(body))
    api.refused(404, "POST", f"/v1/backups/{MISSING}/keep", **as_json({"reason": "x"}))
    failed = api.backup(S.CREATE_FAILED)
    api.refused(409, "POST", f"/v1/backups/{failed.id}/keep", **as_json({"reason": "x"}))


def test_a_deletion_that_loses_something_needs_a_word(api: Api) -> None:
    api.database.retention.put(CLUSTER, Policy(redundancy=1))
    path = f"/v1/backups/{api.backup(S.CREATED).id}"
    for query in ("", "?allow_loss=false"):
        message = api.refused(409, "DELETE", path + query)
        assert "0 of 1 restorable backups of all keyspaces would remain" in message
        assert "allow_loss=true" in message
    assert "allow_loss" in api.refused(400, "DELETE", f"{path}?allow_loss=yes")
    assert "unknown query parameter" in api.refused(400, "DELETE", f"{path}?force=true")
    answer = api.call("DELETE", f"{path}?allow_loss=true")
    assert (answer.status_code, answer.json["status"]) == (202, "DELETING")

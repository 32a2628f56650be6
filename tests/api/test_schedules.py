# SPDX-License-Identifier: Apache-2.0
"""/v1/schedules."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus
from tests.api.conftest import CLUSTER, Api, as_json
from tests.lab.catalogue import MISSING
from tests.lab.schedules import BODY

ALL = "/v1/schedules"


def create(api: Api, **fields: Any) -> Any:
    answer = api.call("POST", ALL, **as_json({**BODY, **fields}))
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{ALL}/{answer.json['id']}"
    return answer.json


def test_create_and_get(api: Api) -> None:
    whole = {
        "cron": "30 2 * * *", "zone": "Europe/Berlin", "jitter": 60, "begin_within": 7200,
        "finish_within": 14400, "overlap": "skip", "missed": "skip", "type": "full",
        "scope": {"type": "keyspaces", "keyspaces": ["k"]}, "allow_partial": True,
        "on_corrupt": "mark", "figures": True, "data_centers": ["dc1"],
    }  # fmt: skip
    made = create(api, **whole, cluster=CLUSTER)
    assert {name: made[name] for name in whole} == whole
    assert (made["name"], made["cluster"], made["status"]) == ("nightly", CLUSTER, "ACTIVE")
    assert made["next_run_local"][10:16] in ("T02:30", "T02:31")
    assert made["next_run_local"][-6:] in ("+01:00", "+02:00")
    assert made["next_run_at"].endswith("Z")
    assert (made["last_run"], made["runs"], made["due_since"]) == (None, [], None)
    assert api.get(f"{ALL}/{made['id']}") == made


def test_defaults(api: Api) -> None:
    made = create(api, paused=True)
    assert (made["zone"], made["jitter"], made["begin_within"]) == ("UTC", 0, 3600)
    assert (made["finish_within"], made["overlap"], made["missed"]) == (None, "queue", "run")
    assert (made["status"], made["next_run_at"], made["next_run_local"]) == ("PAUSED", None, None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cron": "0 2 * *"}, "cron is '0 2 * *' (wrong number of fields); write five fields"),
        ({"zone": "Nowhere"}, "zone is 'Nowhere', which is no time zone; use a name of the IANA"),
        ({"scope": {"type": "x"}}, "'x'"),
        ({"jitter": "5"}, "body['jitter']: '5' is not of type 'integer'"),
        ({"overlap": "never"}, "body['overlap']: 'never' is not one of ['queue', 'skip']"),
        ({"retention": 5}, "body['retention']: 5 is not of type 'object', 'null'"),
        ({"retention": {"hourly": 1}}, "'hourly' was unexpected"),
        ({"color": 5}, "'color' was unexpected"),
        ({"name": ""}, "body['name']"),
    ],
)
def test_refused(api: Api, fields: dict[str, Any], message: str) -> None:
    assert message in api.refused(400, "POST", ALL, **as_json({**BODY, **fields}))
    assert api.get(ALL)["schedules"] == []


def test_a_taken_name(api: Api) -> None:
    create(api)
    assert "already has the name" in api.refused(409, "POST", ALL, **as_json(BODY))


def test_list(api: Api) -> None:
    ids = {create(api, name=f"s{n}", paused=n == 1)["id"] for n in range(3)}
    found = api.get(ALL)["schedules"]
    assert {schedule["id"] for schedule in found} == ids
    assert all("runs" not in schedule for schedule in found)
    page = api.get(f"{ALL}?limit=2")
    (link,) = page["links"]
    rest = api.get(link["href"])["schedules"]
    assert {s["id"] for s in page["schedules"] + rest} == ids
    assert [s["name"] for s in api.get(f"{ALL}?status=PAUSED")["schedules"]] == ["s1"]
    assert api.get(f"{ALL}?cluster=other")["schedules"] == []
    api.refused(400, "GET", f"{ALL}?status=RUNNING")


def test_patch(api: Api) -> None:
    made = create(api, finish_within=600)
    path = f"{ALL}/{made['id']}"
    changes = {"name": "weekly", "cron": "0 3 * * SUN", "finish_within": None, "figures": True}
    answer = api.call("PATCH", path, **as_json(changes))
    assert answer.status_code == 200
    assert {name: answer.json[name] for name in changes} == changes
    assert answer.json["zone"] == "UTC"
    assert api.get(path) == answer.json
    api.refused(400, "PATCH", path, **as_json({}))
    api.refused(400, "PATCH", path, **as_json({"cluster": "other"}))
    assert "bad minute" in api.refused(400, "PATCH", path, **as_json({"cron": "x 2 * * *"}))
    api.refused(404, "PATCH", f"{ALL}/{MISSING}", **as_json(changes))


def test_pause_and_resume(api: Api) -> None:
    path = f"{ALL}/{create(api)['id']}"
    paused = api.call("POST", f"{path}/pause")
    assert (paused.status_code, paused.json["status"]) == (200, "PAUSED")
    assert "already PAUSED" in api.refused(409, "POST", f"{path}/pause")
    resumed = api.call("POST", f"{path}/resume")
    assert (resumed.status_code, resumed.json["status"]) == (200, "ACTIVE")
    for verb in ("pause", "resume", "run"):
        assert "see schedule list" in api.refused(404, "POST", f"{ALL}/{MISSING}/{verb}")


def test_run(api: Api) -> None:
    path = f"{ALL}/{create(api)['id']}"
    answer = api.call("POST", f"{path}/run")
    assert answer.status_code == 202
    backup = answer.json
    assert (backup["status"], backup["cluster"]) == ("CREATING", CLUSTER)
    assert backup["name"].startswith("nightly-")
    assert api.get(answer.headers["location"])["id"] == backup["id"]
    (run,) = api.get(path)["runs"]
    assert (run["status"], run["backup_id"], run["manual"]) == ("RUNNING", backup["id"], True)
    api.database.backups.set_status(backup["id"], BackupStatus.CREATE_FAILED, error="why")
    found = api.get(path)
    assert (found["last_run"]["status"], found["last_run"]["reason"]) == ("CREATE_FAILED", "why")
    assert found["runs"] == [found["last_run"]]
    assert api.get(ALL)["schedules"][0]["last_run"] == found["last_run"]


def test_delete(api: Api) -> None:
    path = f"{ALL}/{create(api)['id']}"
    api.call("POST", f"{path}/run")
    assert api.call("DELETE", path).status_code == 204
    api.refused(404, "GET", path)
    api.refused(404, "DELETE", path)
    assert len(api.get("/v1/backups")["backups"]) == 1


def test_other_actions(api: Api) -> None:
    fields = {"cron": "0 3 * * *", "each_in": 30}
    answer = api.call("POST", ALL, **as_json({"name": "scrub", "action": "verify", **fields}))
    assert answer.status_code == 201, answer.text
    made = answer.json
    assert (made["action"], made["verify"], made["sample"], made["each_in"]) == (
        "verify", ["read-data"], 3.34, 30,
    )  # fmt: skip
    path = f"{ALL}/{made['id']}"
    changed = api.call("PATCH", path, **as_json({"sample": 5, "verify": ["read-data", "parse"]}))
    assert (changed.json["verify"], changed.json["sample"], changed.json["each_in"]) == (
        ["read-data", "parse"], 5, None,
    )  # fmt: skip
    assert "no CREATED backup" in api.refused(409, "POST", f"{path}/run")
    backup = api.backup(BackupStatus.CREATED)
    answer = api.call("POST", f"{path}/run")
    assert (answer.status_code, answer.json["kind"]) == (202, "verification")
    assert answer.json["backup_id"] == backup.id
    assert api.get(answer.headers["location"])["runs"][0]["jobs"] == [answer.json["id"]]
    assert [schedule["action"] for schedule in api.get(ALL)["schedules"]] == ["verify"]


def test_wrong_combinations(api: Api) -> None:
    body = {"name": "n", "cron": "0 3 * * *"}
    assert "needs a scope" in api.refused(400, "POST", ALL, **as_json(body))
    wrong = {**body, "action": "collect", "verify": ["exists"]}
    message = api.refused(400, "POST", ALL, **as_json(wrong))
    assert "verify cannot be used for a schedule whose action is collect" in message
    both = {**body, "action": "verify", "sample": 5, "each_in": 7}
    assert "exclude each other" in api.refused(400, "POST", ALL, **as_json(both))
    assert "'action' was unexpected" in api.refused(
        400, "PATCH", f"{ALL}/{create(api)['id']}", **as_json({"action": "collect"})
    )


def test_the_own_policy_of_a_schedule(api: Api) -> None:
    made = create(api, retention={"redundancy": 2, "window_days": 7}, verify=["exists"])
    assert (made["retention"]["redundancy"], made["retention"]["floor"]) == (2, 1)
    plan = api.get(f"/v1/retention/{quote(CLUSTER)}/plan")
    assert (plan["policy"], plan["decisions"]) == (None, [])
    (own,) = plan["schedules"]
    assert own == {"schedule_id": made["id"], "schedule": "nightly", **made["retention"]}
    path = f"{ALL}/{made['id']}"
    changed = api.call("PATCH", path, **as_json({"retention": None, "verify": []})).json
    assert (changed["retention"], changed["verify"]) == (None, [])
    assert "'rule' was unexpected" in api.refused(
        400, "PATCH", path, **as_json({"retention": {"rule": 1}})
    )

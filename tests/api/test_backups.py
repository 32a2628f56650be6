# SPDX-License-Identifier: Apache-2.0
"""Backups over REST: what is accepted, what it does, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view, time_view
from magnetodb_backup.domain.jobs import JobKind, JobStatus
from magnetodb_backup.domain.restore.records import RestoreRequest
from tests.api.conftest import CLUSTER, Api, as_json
from tests.lab.catalogue import MISSING
from tests.unit.domain.samples import NODE_BACKUP, REPORT

S = BackupStatus
ALL = {"scope": {"type": "all"}}


def test_creating(api: Api) -> None:
    scope = {"type": "tables", "tables": ["shop.orders", 'shop."Orders"']}
    body = {"name": "nightly ß", "scope": scope, "allow_partial": True, "on_corrupt": "mark"}
    body["data_centers"] = ["dc1"]
    answer = api.call("POST", "/v1/backups", **as_json(body))
    assert answer.status_code == 202
    record = answer.json
    assert {name: record[name] for name in body} == body
    assert (record["status"], record["cluster"]) == ("CREATING", CLUSTER)
    assert answer.headers["location"] == f"/v1/backups/{record['id']}"
    assert api.get(answer.headers["location"]) == {**record, "proofs": [], "findings": []}
    backup = api.database.backups.get(record["id"])
    assert backup_view(backup) == record
    assert api.job(backup).status is JobStatus.PENDING


def test_defaults_of_a_new_backup(api: Api) -> None:
    record = api.call("POST", "/v1/backups", **as_json(ALL)).json
    chosen = {"name": "", "type": "full", "allow_partial": False, "on_corrupt": "fail"}
    chosen["data_centers"] = []
    assert {name: record[name] for name in chosen} == chosen
    assert (record["finished_at"], record["coverage"], record["error"]) == (None, None, "")


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({}, 400, "'scope' is a required property"),
        ([], 400, "body: [] is not of type 'object'"),
        (None, 400, "body: None is not of type 'object'"),
        ({"scope": "all"}, 400, "body['scope']: 'all' is not of type 'object'"),
        ({"scope": {}}, 400, "body['scope']: 'type' is a required property"),
        ({"scope": {"type": "galaxy"}}, 400, "'galaxy' is not a scope type; installed: all"),
        ({"scope": {"type": "keyspaces"}}, 400, "needs 'keyspaces'"),
        ({"scope": {"type": "tables", "tables": ["shop"]}}, 400, "'shop' is not a table"),
        ({**ALL, "name": 5}, 400, "body['name']: 5 is not of type 'string'"),
        ({**ALL, "name": "x" * 256}, 400, "is too long"),
        ({**ALL, "name": "a\0b"}, 400, "control characters"),
        ({**ALL, "name": "\ud800"}, 400, "control characters"),
        ({**ALL, "type": "differential"}, 400, "'differential' is not one of ['full']"),
        ({**ALL, "type": "incremental"}, 400, "'incremental' is not one of ['full']"),
        ({**ALL, "on_corrupt": "ignore"}, 400, "body['on_corrupt']"),
        ({**ALL, "allow_partial": "yes"}, 400, "body['allow_partial']"),
        ({**ALL, "data_centers": "dc1"}, 400, "body['data_centers']: 'dc1' is not of type"),
        ({**ALL, "data_centers": [""]}, 400, "body['data_centers'][0]: ''"),
        ({**ALL, "data_centers": [" dc1"]}, 400, "is not the name of a data centre"),
        ({**ALL, "data_centers": ["dc9"]}, 404, "in data centre dc9; known: dc1"),
        ({**ALL, "color": "red"}, 400, "'color' was unexpected"),
        ({**ALL, "cluster": ""}, 400, "body['cluster']"),
        ({**ALL, "cluster": "other"}, 404, f"reports a cluster 'other'; known: '{CLUSTER}"),
    ],
)  # fmt: skip
def test_wrong_requests_record_nothing(api: Api, body: Any, code: int, named: str) -> None:
    assert named in api.refused(code, "POST", "/v1/backups", **as_json(body))
    assert api.get("/v1/backups")["backups"] == []


def test_name_that_is_taken(api: Api) -> None:
    taken = api.backup(S.CREATED, "nightly")
    message = api.refused(409, "POST", "/v1/backups", **as_json({**ALL, "name": "nightly"}))
    assert taken.id in message


def test_several_clusters_need_a_name(api: Api) -> None:
    api.database.nodes.report(replace(REPORT, worker_id="w2", cluster="other"))
    message = api.refused(400, "POST", "/v1/backups", **as_json(ALL))
    assert f"name one: '{CLUSTER}', 'other'" in message
    answer = api.call("POST", "/v1/backups", **as_json({**ALL, "cluster": "other"}))
    assert answer.json["cluster"] == "other"


def test_no_cluster_yet(api: Api) -> None:
    api.database.nodes.forget(REPORT.worker_id)
    message = api.refused(404, "POST", "/v1/backups", **as_json(ALL))
    assert "start magnetodb-backup-worker" in message


def test_node_backups(api: Api) -> None:
    backup = api.backup()
    path = f"/v1/backups/{backup.id}/nodes"
    assert api.get(path) == {"nodes": []}
    api.database.backups.put_node_backup(replace(NODE_BACKUP, backup_id=backup.id))
    (node,) = api.get(path)["nodes"]
    assert (node["host_id"], node["files_done"]) == (NODE_BACKUP.host_id, 3)
    assert node["corrupt_files"] == list(NODE_BACKUP.corrupt_files)


def test_cancelling(api: Api) -> None:
    backup = api.backup()
    answer = api.call("POST", f"/v1/backups/{backup.id}/cancel")
    assert (answer.status_code, answer.json["status"]) == (202, "CREATING")
    assert api.job(backup).cancel_requested


@pytest.mark.parametrize("status", sorted(set(S) - {S.CREATING}))
def test_only_a_running_backup_can_be_cancelled(api: Api, status: S) -> None:
    backup = api.backup(status)
    message = api.refused(409, "POST", f"/v1/backups/{backup.id}/cancel")
    assert f"{backup.id} is {status.value}; only" in message


@pytest.mark.parametrize("status", [S.CREATED, S.PARTIAL, S.CREATE_FAILED, S.CANCELLED])
def test_deleting(api: Api, status: S) -> None:
    backup = api.backup(status)
    path = f"/v1/backups/{backup.id}"
    answer = api.call("DELETE", path)
    assert (answer.status_code, answer.json["status"]) == (202, "DELETING")
    assert api.get(path) == {**answer.json, "proofs": [], "findings": []}
    assert api.job(backup, JobKind.DELETION).status is JobStatus.PENDING
    assert "a deletion" in api.refused(409, "DELETE", path)


def test_deleting_what_runs_cancels_it(api: Api) -> None:
    backup = api.backup()
    answer = api.call("DELETE", f"/v1/backups/{backup.id}")
    assert (answer.status_code, answer.json["status"]) == (202, "CREATING")
    assert api.job(backup).cancel_requested
    assert api.job(backup, JobKind.DELETION).status is JobStatus.PENDING


def test_deleting_twice(api: Api) -> None:
    backup = api.backup(S.DELETED)
    assert "already DELETED" in api.refused(409, "DELETE", f"/v1/backups/{backup.id}")
    again = api.backup(S.DELETE_FAILED)
    assert api.call("DELETE", f"/v1/backups/{again.id}").json["status"] == "DELETING"


def test_deleting_what_is_read_names_the_reader(api: Api) -> None:
    backup = api.backup(S.CREATED)
    job = api.call("POST", f"/v1/backups/{backup.id}/verify").json
    message = api.refused(409, "DELETE", f"/v1/backups/{backup.id}")
    assert f"backup {backup.id} is read by verification {job['id']}; wait for the end" in message
    restore = api.database.restores.create(RestoreRequest(backup.id), MISSING, "c", "c")
    message = api.refused(409, "DELETE", f"/v1/backups/{backup.id}")
    assert f"is read by restore {restore.id}, verification {job['id']}; " in message
    assert api.get(f"/v1/backups/{backup.id}")["status"] == "CREATED"


def test_undeleting(api: Api) -> None:
    backup = api.backup(S.DELETING)
    path = f"/v1/backups/{backup.id}"
    now = api.database.deletions.now()
    until = now + timedelta(seconds=1000)
    api.database.deletions.record(backup.id, now, undelete_until=until)
    shown = api.get(path)
    assert (shown["status"], shown["purged_at"]) == ("DELETED", None)
    assert shown["deleted_at"] == time_view(now)
    assert shown["undelete_until"] == time_view(until)
    (listed,) = api.get("/v1/backups?status=DELETED")["backups"]
    assert listed["undelete_until"] == time_view(until)
    answer = api.call("POST", f"{path}/undelete")
    assert (answer.status_code, answer.json["status"]) == (202, "DELETED")
    assert api.job(backup, JobKind.UNDELETION).status is JobStatus.PENDING
    assert "an undeletion of backup" in api.refused(409, "POST", f"{path}/undelete")


def test_undeleting_what_cannot_be_undeleted(api: Api) -> None:
    for status in sorted(set(S) - {S.DELETED}):
        path = f"/v1/backups/{api.backup(status).id}/undelete"
        assert f"is {status.value}; only a backup that is DELETED" in api.refused(409, "POST", path)
    older = api.backup(S.DELETED)
    message = api.refused(409, "POST", f"/v1/backups/{older.id}/undelete")
    assert "an older release deleted it" in message
    over, now = api.backup(S.DELETING), api.database.deletions.now()
    api.database.deletions.record(over.id, now, undelete_until=now)
    message = api.refused(409, "POST", f"/v1/backups/{over.id}/undelete")
    assert "its undelete period ended at" in message
    api.database.deletions.purged(over.id)
    message = api.refused(409, "POST", f"/v1/backups/{over.id}/undelete")
    assert "its manifests were purged at" in message
    api.refused(404, "POST", f"/v1/backups/{MISSING}/undelete")


@pytest.mark.parametrize(
    ("body", "rungs"),
    [
        (None, ["exists"]),
        ({}, ["exists"]),
        ({"read_data": False}, ["exists"]),
        ({"read_data": True}, ["read-data"]),
        ({"rungs": ["parse"], "read_data": True}, ["read-data", "parse"]),
        ({"rungs": ["schema", "parse"]}, ["exists", "parse", "schema"]),
    ],
)
def test_verifying(api: Api, body: Any, rungs: list[str]) -> None:
    backup = api.backup(S.PARTIAL)
    path = f"/v1/backups/{backup.id}"
    assert "never verified" in api.refused(404, "GET", f"{path}/verification")
    arguments = {} if body is None else as_json(body)
    answer = api.call("POST", f"{path}/verify", **arguments)
    assert answer.status_code == 202
    parameters = {"read_data": "read-data" in rungs, "rungs": rungs}
    assert answer.json["parameters"] == parameters
    assert (answer.json["kind"], answer.json["status"]) == ("verification", "PENDING")
    assert api.get(f"{path}/verification") == answer.json
    assert "wait for its end" in api.refused(409, "POST", f"{path}/verify")
    result = {"packs": 3, "problems": [{"kind": "missing", "pack": "ab"}]}
    api.database.jobs.finish(answer.json["id"], JobStatus.DONE, result=result)
    assert api.get(f"{path}/verification")["result"] == result


def test_verifying_an_earlier_state(api: Api) -> None:
    path = f"/v1/backups/{api.backup(S.CREATED).id}/verify"
    for wrong in ("noon", 1796096037, "2999-01-01T00:00:00Z"):
        assert api.refused(400, "POST", path, json={"as_of": wrong})
    answer = api.call("POST", path, json={"as_of": "2024-05-06T07:08:09Z"})
    assert answer.status_code == 202
    assert answer.json["parameters"]["as_of"] == "2024-05-06T07:08:09+00:00"


def test_verifying_a_sample(api: Api) -> None:
    path = f"/v1/backups/{api.backup(S.CREATED).id}/verify"
    body = {"rungs": ["read-data"], "sample": 12.5, "seed": 3}
    answer = api.call("POST", path, **as_json(body))
    assert answer.status_code == 202
    sample = answer.json["parameters"]["sample"]
    assert (sample["percent"], sample["seed"]) == (12.5, 3)


@pytest.mark.parametrize("status", sorted(set(S) - {S.CREATED, S.PARTIAL}))
def test_only_complete_backups_can_be_verified(api: Api, status: S) -> None:
    backup = api.backup(status)
    message = api.refused(409, "POST", f"/v1/backups/{backup.id}/verify")
    assert f"{backup.id} is {status.value}; only CREATED and PARTIAL" in message


@pytest.mark.parametrize(
    "body",
    [
        {"read_data": "yes"},
        {"read": True},
        [True],
        {"rungs": ["x"]},
        {"rungs": ["sample"]},
        {"rungs": "parse"},
        {"read_data": True, "sample": 100},
        {"read_data": True, "sample": 5, "seed": -1},
    ],
)
def test_wrong_verifications(api: Api, body: Any) -> None:
    path = f"/v1/backups/{api.backup(S.CREATED).id}/verify"
    assert "body" in api.refused(400, "POST", path, **as_json(body))


@pytest.mark.parametrize(
    ("method", "suffix"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/nodes"),
        ("POST", "/cancel"),
        ("POST", "/verify"),
        ("GET", "/verification"),
    ],
)
@pytest.mark.parametrize("backup_id", [MISSING, "nightly", "%00"])
def test_missing_backup_is_named(api: Api, method: str, suffix: str, backup_id: str) -> None:
    api.backup(S.CREATED, "nightly")  # names are for people: the API wants the ID
    message = api.refused(404, method, f"/v1/backups/{backup_id}{suffix}")
    assert f"there is no backup {unquote(backup_id)!r}" in message

# SPDX-License-Identifier: Apache-2.0
"""Restores over REST: what is accepted, what it does, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.fingerprints import TableCheck
from magnetodb_backup.domain.jobs import JobKind
from magnetodb_backup.domain.restore.records import Restore, RestoreRequest, RestoreStatus
from magnetodb_backup.domain.restore.views import node_restore_view, restore_view
from magnetodb_backup.domain.tables import (
    KeyspaceDescription,
    Selection,
    TableDescription,
    TableName,
)
from tests.api.conftest import CLUSTER, Api, MakeApi, as_json
from tests.lab.catalogue import MISSING
from tests.unit.domain.samples import NODE_RESTORE

R = RestoreStatus
SELECTION = Selection(
    (KeyspaceDescription("shop"),),
    tuple(TableDescription(TableName("shop", t), "0" * 32) for t in ("orders", "users")),
)
# What preflight finds, with every member.
PLAN: dict[str, Any] = {
    "method_by_keyspace": {"shop": "import"},
    "tables": [
        {
            "source": "shop.orders",
            "target": "shop.orders",
            "files": 8,
            "bytes": 2**40,
            "exists": True,
            "has_rows": False,
        }
    ],
    "nodes": [
        {
            "host_id": "h",
            "address": "10.0.0.1",
            "sources": ["s"],
            "files": 8,
            "bytes": 2**40,
            "free": [{"path": "/data1", "free": 10, "needed": 20}],
        }
    ],
    "requests": 5,
    "bytes": 2**40,
    "bytes_sent": 0,
    "amplification": 1.0,
    "expected_seconds": 12.5,
    "schema": {"create": ["CREATE TABLE shop.orders"], "differences": [], "notes": []},
    "problems": ["10.0.0.1: no space"],
    "warnings": [],
}


def complete(api: Api) -> Backup:
    backup = api.backup(BackupStatus.CREATED)
    return api.database.backups.update(backup.id, selection=SELECTION.as_json(), figures=True)


def restoring(api: Api, **values: Any) -> Restore:
    """Record a restore; its backup is another one each time."""
    body = {"backup_id": complete(api).id, **values}
    record = api.call("POST", "/v1/restores", **as_json(body)).json
    return api.database.restores.get(record["id"])


def test_creating(api: Api) -> None:
    body = {
        "backup_id": complete(api).id,
        "cluster": CLUSTER,
        "keyspaces": [],
        "tables": ["shop.orders"],
        "to_keyspace": "shop2",
        "to_table": "orders2",
        "existing": "merge",
        "node": "",
        "source_replicas": "one",
        "allow_partial": True,
        "dry_run": True,
        "offline": False,
        "system_auth": False,
        "check": True,
        "skip": ["view=shop.by_name", "function=f"],
        "allow_resurrection": True,
        "as_of": "2024-05-06T07:08:09+00:00",
    }
    answer = api.call("POST", "/v1/restores", **as_json(body))
    assert answer.status_code == 202
    record = answer.json
    assert record["request"] == body
    assert (record["status"], record["cluster"], record["error"]) == ("RESTORING", CLUSTER, "")
    assert record["waiting_for"] == ""
    restore = api.database.restores.get(record["id"])
    assert restore_view(restore) == record
    assert api.database.jobs.get(record["id"]).kind == JobKind.RESTORE
    assert answer.headers["location"] == f"/v1/restores/{record['id']}"
    assert api.get(answer.headers["location"]) == restore_view(restore, [])


def test_defaults_of_a_new_restore(api: Api) -> None:
    restore = restoring(api)
    assert restore.request == RestoreRequest(restore.backup_id)
    assert restore.cluster == CLUSTER


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"backup_id": None}, 400, "body['backup_id']: None is not of type 'string'"),
        ({"backup_id": MISSING}, 404, f"there is no backup '{MISSING}'"),
        ({"tables": "shop.orders"}, 400, "body['tables']: 'shop.orders' is not of type 'array'"),
        ({"tables": ["orders"]}, 400, "'orders' is not a table; write keyspace.table"),
        ({"tables": ["shop.orders", "shop.orders"]}, 400, "non-unique"),
        ({"tables": ["shop.nope"]}, 404, "does not have shop.nope; it has the keyspaces shop"),
        ({"keyspaces": ["system_auth"]}, 400, "keyspace system_auth is Cassandra's own"),
        ({"to_keyspace": "system"}, 400, "keyspace system is Cassandra's own"),
        ({"to_keyspace": "shop"}, 400, "the old one"),
        ({"to_table": "t2"}, 400, "exactly one table"),
        ({"existing": "overwrite"}, 400, "body['existing']: 'overwrite' is not one of ['refuse'"),
        ({"existing": "replace", "node": "10.0.0.1"}, 400, "use merge"),
        ({"source_replicas": "two"}, 400, "body['source_replicas']"),
        ({"dry_run": "yes"}, 400, "body['dry_run']"),
        ({"skip": ["table=shop.orders"]}, 400, "does not say what to skip; write index=NAME"),
        ({"cluster": ""}, 400, "body['cluster']"),
        ({"cluster": "other"}, 404, f"reports a cluster 'other'; known: '{CLUSTER}"),
        ({"speed": 9}, 400, "'speed' was unexpected"),
    ],
    ids=str,
)
def test_wrong_requests_record_nothing(api: Api, change: Any, code: int, named: str) -> None:
    body = {"backup_id": complete(api).id, **change}
    assert named in api.refused(code, "POST", "/v1/restores", **as_json(body))
    assert api.get("/v1/restores")["restores"] == []


def test_a_backup_must_be_named(api: Api) -> None:
    message = api.refused(400, "POST", "/v1/restores", **as_json({}))
    assert "'backup_id' is a required property" in message


def test_backups_that_cannot_be_restored(api: Api) -> None:
    failed, partial = (api.backup(s) for s in (BackupStatus.CREATE_FAILED, BackupStatus.PARTIAL))
    message = api.refused(409, "POST", "/v1/restores", **as_json({"backup_id": failed.id}))
    assert f"{failed.id} is CREATE_FAILED; only CREATED and PARTIAL" in message
    message = api.refused(400, "POST", "/v1/restores", **as_json({"backup_id": partial.id}))
    assert "allow_partial" in message


def test_a_backup_that_is_restored_is_not_deleted(api: Api) -> None:
    restore = restoring(api)
    message = api.refused(409, "DELETE", f"/v1/backups/{restore.backup_id}")
    assert f"is read by restore {restore.id}" in message


def test_details(api: Api) -> None:
    restore = restoring(api)
    checks = {"shop.orders": TableCheck(equal=64, rows_expected=7, rows_found=7).as_json()}
    api.database.restores.update(
        restore.id, plan=PLAN, tables={"shop.orders": "untouched"}, checks=checks
    )
    node = replace(NODE_RESTORE, restore_id=restore.id)
    api.database.restores.put_node_restore(node)
    shown = api.get(f"/v1/restores/{restore.id}")
    assert shown["plan"] == PLAN
    assert shown["tables"] == {"shop.orders": "untouched"}
    assert shown["checks"] == checks
    assert shown["nodes"] == [node_restore_view(node)]


def test_cancelling(api: Api) -> None:
    restore = restoring(api)
    path = f"/v1/restores/{restore.id}/cancel"
    answer = api.call("POST", path)
    assert (answer.status_code, answer.json["status"]) == (202, "RESTORING")
    assert api.database.jobs.get(restore.id).cancel_requested
    api.database.restores.set_status(restore.id, R.CANCELLED)
    assert f"{restore.id} is CANCELLED; only" in api.refused(409, "POST", path)


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("POST", "/cancel")])
def test_missing_restore_is_named(api: Api, method: str, suffix: str) -> None:
    message = api.refused(404, method, f"/v1/restores/{MISSING}{suffix}")
    assert message == f"there is no restore '{MISSING}'; see restore list"


def test_links_lead_through_all_pages(make_api: MakeApi) -> None:
    api = make_api({"api": {"max_limit": 2}})
    made = [restoring(api) for _ in range(3)]
    api.database.restores.set_status(made[0].id, R.RESTORED)
    first = api.get("/v1/restores?cluster=Test%20Cluster")
    (link,) = first["links"]
    second = api.get(link["href"])
    assert first["restores"] == [restore_view(r) for r in (made[2], made[1])]
    assert [r["id"] for r in second["restores"]] == [made[0].id]
    assert second["links"] == []
    (restored,) = api.get("/v1/restores?status=RESTORED")["restores"]
    assert restored["id"] == made[0].id
    assert api.get("/v1/restores?cluster=elsewhere")["restores"] == []


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit: 0 is less than the minimum of 1"),
        ("status=CREATED", "status: 'CREATED' is not one of ['RESTORING'"),
        ("marker=nope", "marker 'nope' is no restore"),
        ("sort=id", "unknown query parameter 'sort'; known: limit, marker, status, cluster"),
    ],
)
def test_wrong_queries_are_named(api: Api, query: str, named: str) -> None:
    assert named in api.refused(400, "GET", f"/v1/restores?{query}")

# SPDX-License-Identifier: Apache-2.0
"""Collections over REST."""

from __future__ import annotations

from typing import Any

import pytest

from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from tests.api.conftest import CLUSTER, Api, as_json
from tests.lab.catalogue import MISSING

PATH = "/v1/repository/collections"


def test_collection_is_recorded_and_shown(api: Api) -> None:
    answer = api.call("POST", PATH, **as_json({"dry_run": True, "grace": 60}))
    assert answer.status_code == 202
    record = answer.json
    assert (record["status"], record["cluster"]) == ("PENDING", CLUSTER)
    assert (record["dry_run"], record["grace"], record["result"]) == (True, 60, None)
    assert answer.headers["location"] == f"{PATH}/{record['id']}"
    assert api.get(f"{PATH}/{record['id']}") == record
    result = {"total": {"packs": 1}, "nodes": {}}
    api.database.jobs.finish(record["id"], JobStatus.DONE, result=result)
    assert api.get(f"{PATH}/{record['id']}")["result"] == result


def test_defaults(api: Api) -> None:
    record = api.call("POST", PATH).json
    assert (record["dry_run"], record["grace"]) == (False, None)
    assert (record["repack"], record["repack_minimum"]) == (None, None)
    refused = api.refused(409, "POST", PATH)
    assert "a collection of cluster" in refused


@pytest.mark.parametrize(("minimum", "recorded"), [(None, 64 << 20), (0, 0)])
def test_repacking_is_recorded(api: Api, minimum: int | None, recorded: int) -> None:
    body = {"repack": 30, "repack_minimum": minimum}
    record = api.call("POST", PATH, **as_json(body)).json
    assert (record["repack"], record["repack_minimum"]) == (30, recorded)
    assert api.database.jobs.get(record["id"]).parameters["repack"] == 30


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({"grace": -1}, 400, "body['grace']: -1 is less than the minimum of 0"),
        ({"repack": 91}, 400, "body['repack']: 91 is greater than the maximum of 90"),
        ({"repack_minimum": 5}, 400, "there is a least amount for repacking, and no percentage"),
        ({"cluster": "x"}, 404, "no worker reports a cluster 'x'"),
        ({"everything": True}, 400, "'everything' was unexpected"),
    ],
)
def test_refused(api: Api, body: Any, code: int, named: str) -> None:
    assert named in api.refused(code, "POST", PATH, **as_json(body))


def test_other_jobs_are_no_collections(api: Api) -> None:
    job = api.database.jobs.create("other", Subject.cluster(CLUSTER), CLUSTER, {})
    assert job.kind != JobKind.COLLECTION
    for id_ in (job.id, MISSING):
        api.refused(404, "GET", f"{PATH}/{id_}")

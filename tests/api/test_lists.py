# SPDX-License-Identifier: Apache-2.0
"""Lists over REST: pages, filters, nodes."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import event

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view
from tests.api.conftest import Api, MakeApi
from tests.unit.domain.samples import BACKUP, HIGHEST_TOKEN, HOST_ID, LOWEST_TOKEN, REPORT

S = BackupStatus


def pages(api: Api, path: str) -> list[list[dict[str, Any]]]:
    """Return all pages' backups, by the links from page to page."""
    found = []
    while path:
        page = api.get(path)
        found.append(page["backups"])
        path = "".join(link["href"] for link in page["links"] if link["rel"] == "next")
    return found


def ids(listed: list[list[dict[str, Any]]]) -> list[str]:
    return [backup["id"] for page in listed for backup in page]


def test_newest_first_in_full(api: Api) -> None:
    made = [api.backup(S.CREATED, f"b{n}") for n in range(3)]
    assert api.get("/v1/backups") == {
        "backups": [backup_view(backup) for backup in reversed(made)],
        "links": [],
    }


@pytest.mark.parametrize(
    ("limit", "sizes"), [(None, [3, 3, 1]), (2, [2, 2, 2, 1]), (7, [3, 3, 1]), (10**30, [3, 3, 1])]
)
def test_links_lead_through_all_pages(
    make_api: MakeApi, limit: int | None, sizes: list[int]
) -> None:
    api = make_api({"api": {"max_limit": 3}})
    made = [api.backup(S.CREATED).id for _ in range(7)]
    query = f"?limit={limit}" if limit else ""
    listed = pages(api, f"/v1/backups{query}")
    assert [len(page) for page in listed] == sizes
    assert ids(listed) == made[::-1]


def test_link_keeps_order_and_filters(api: Api) -> None:
    for name in ("c ß&", "a", "b", "d"):
        api.backup(S.CREATED, name)
    api.backup(S.CREATE_FAILED, "aa")
    path = "/v1/backups?limit=1&sort=name:desc&status=CREATED&cluster=Test%20Cluster"
    (link,) = api.get(path)["links"]
    query = parse_qs(urlsplit(link["href"]).query)
    assert query["cluster"] == ["Test Cluster"]
    assert [b["name"] for page in pages(api, path) for b in page] == ["d", "c ß&", "b", "a"]


def test_links_below_a_prefix(api: Api) -> None:
    first, _ = api.backup(S.CREATED), api.backup(S.CREATED)
    answer = api.call("GET", "/v1/backups?limit=1", root_path="/backup")
    (link,) = answer.json["links"]
    assert link["href"].startswith("/backup/v1/backups?")
    assert ids([api.get(link["href"].removeprefix("/backup"))["backups"]]) == [first.id]


def test_page_that_just_fits_has_no_next(api: Api) -> None:
    for _ in range(2):
        api.backup()
    assert api.get("/v1/backups?limit=2")["links"] == []
    assert len(api.get("/v1/backups?limit=1")["links"]) == 1


def test_list_goes_on_though_the_marker_was_deleted(api: Api) -> None:
    old, marker = api.backup(S.CREATED), api.backup(S.DELETED)
    assert ids([api.get(f"/v1/backups?marker={marker.id}")["backups"]]) == [old.id]


def test_filters(api: Api) -> None:
    made = {status: api.backup(status).id for status in S}
    shown = ids([api.get("/v1/backups")["backups"]])
    assert set(shown) == set(made.values()) - {made[S.DELETED]}
    for status, backup_id in made.items():
        assert ids([api.get(f"/v1/backups?status={status.value}")["backups"]]) == [backup_id]
    assert api.get("/v1/backups?cluster=test cluster")["backups"] == []


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit: 0 is less than the minimum of 1"),
        ("limit=-1", "limit: -1"),
        ("limit=ten", "query parameter 'limit' is 'ten', not a number"),
        ("limit=", "query parameter 'limit' is '', not a number"),
        ("limit=1&limit=2", "'limit' is given more than once"),
        ("status=LOST", "status: 'LOST' is not one of ['CREATING'"),
        ("sort=size", "sort: 'size' does not match"),
        ("sort=name:up", "sort: 'name:up'"),
        ("marker=nope", "marker 'nope' is no backup"),
        ("colour=red", "unknown query parameter 'colour'; known: limit, marker, status"),
    ],
)
def test_wrong_queries_are_named(api: Api, query: str, named: str) -> None:
    assert named in api.refused(400, "GET", f"/v1/backups?{query}")


def test_nodes(api: Api) -> None:
    away = replace(REPORT, worker_id="w2", member=None, problem="Cassandra does not answer")
    api.database.nodes.report(away)
    node, unknown = api.get("/v1/nodes")["nodes"]
    assert node["host_id"] == HOST_ID
    assert node["tokens"] == [str(LOWEST_TOKEN), "0", str(HIGHEST_TOKEN)]
    assert node["live"] is True
    assert node["data_directories"][0] == {"path": "/data1", "free": 10, "total": 100}
    assert (unknown["host_id"], unknown["tokens"]) == (None, [])
    assert unknown["problem"] == "Cassandra does not answer"


def test_trap_7_a_page_has_a_bound_in_bytes(api: Api) -> None:
    """A listing outgrew the limit of a message: large records make a page end early."""
    coverage = {f"keyspace{n}": {"status": "complete", "text": "x" * 1000} for n in range(1500)}
    made = [api.backup(S.CREATED).id for _ in range(5)]
    for id_ in made:
        api.database.backups.update(id_, coverage=coverage)
    path, listed = "/v1/backups?limit=1000", []
    while path:
        answer = api.call("GET", path)
        assert len(answer.text) < 4.5 * 2**20
        listed.append([backup["id"] for backup in answer.json["backups"]])
        path = "".join(link["href"] for link in answer.json["links"])
    assert listed == [made[:2:-1], made[2:0:-1], made[:1]]


def test_trap_7_one_record_is_always_on_a_page(api: Api) -> None:
    coverage = {"ks": {"status": "complete", "text": "x" * 5 * 2**20}}
    first, second = (api.backup(S.CREATED).id for _ in range(2))
    for id_ in (first, second):
        api.database.backups.update(id_, coverage=coverage)
    assert ids(pages(api, "/v1/backups")) == [second, first]


def test_trap_7_a_page_reads_a_few_records_at_once(api: Api) -> None:
    for number in range(3):
        backups = [replace(BACKUP, id=str(uuid.uuid4()), name=f"{number}-{n}") for n in range(100)]
        api.database.backups.learn_all([(backup, []) for backup in backups])
    limits: list[int] = []

    def record(*of_event: Any) -> None:
        if "LIMIT" in of_event[2] and "FROM backups" in of_event[2]:
            limits.append(of_event[3][-2] if "OFFSET" in of_event[2] else of_event[3][-1])

    event.listen(api.database._engine, "before_cursor_execute", record)
    assert len(api.get("/v1/backups?limit=250")["backups"]) == 250
    event.remove(api.database._engine, "before_cursor_execute", record)
    assert max(limits) <= 100
    assert len(limits) == 3
    assert len(ids(pages(api, "/v1/backups?limit=120"))) == 300

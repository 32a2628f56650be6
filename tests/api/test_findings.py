# SPDX-License-Identifier: Apache-2.0
"""/v1/findings."""

from __future__ import annotations

import pytest

from magnetodb_backup.database.findings import FoundBy
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject
from magnetodb_backup.domain.backup.status import BackupStatus
from tests.api.conftest import Api

JOB, BACKUP = "11111111-2222-4333-8444-555555555555", "22222222-2222-4333-8444-555555555555"


def damage(api: Api, cluster: str, *packs: str) -> None:
    found = [Damage(DamagedObject.PACK, "h", pack, "missing", "is gone") for pack in packs]
    api.database.damaged_packs.record(FoundBy(JOB, BACKUP, cluster), found, read_data=False)


def names(api: Api, query: str = "") -> list[str]:
    return [f["name"] for f in api.get(f"/v1/findings{query}")["findings"]]


def test_open_findings_are_listed(api: Api) -> None:
    assert api.get("/v1/findings") == {"findings": []}
    damage(api, "c", "p", "q")
    (finding, _) = api.get("/v1/findings")["findings"]
    assert (finding["object"], finding["name"], finding["problem"]) == ("pack", "p", "missing")
    assert (finding["job_id"], finding["found_in"]) == (JOB, [BACKUP])
    assert (finding["healed_at"], finding["healed_by"]) == (None, "")


def test_findings_by_cluster_status_and_number(api: Api) -> None:
    damage(api, "c", "p", "q")
    api.database.damaged_packs.forget("h", {"p": [JOB]}, BACKUP)
    assert names(api) == ["q"]
    assert names(api, "?status=open") == ["q"]
    assert names(api, "?status=all") == ["p", "q"]
    assert names(api, "?cluster=d") == []
    assert names(api, "?status=all&limit=1&cluster=c") == ["p"]


@pytest.mark.parametrize("query", ["status=healed", "limit=0", "limit=x", "host=h"])
def test_wrong_queries(api: Api, query: str) -> None:
    assert query.partition("=")[0] in api.refused(400, "GET", f"/v1/findings?{query}")


def test_a_backup_has_the_findings_on_what_it_needs(api: Api) -> None:
    first, second = (api.backup(BackupStatus.CREATED) for _ in range(2))
    damage(api, first.cluster, "p")
    api.database.damaged_packs.need(first.cluster, "h", second.id, ["p"])
    (finding,) = api.get(f"/v1/backups/{second.id}")["findings"]
    assert (finding["name"], finding["affected"]) == ("p", [second.id])
    assert api.get(f"/v1/backups/{first.id}")["findings"] == []

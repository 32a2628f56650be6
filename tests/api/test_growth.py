# SPDX-License-Identifier: Apache-2.0
"""/v1/repository/growth/{cluster}."""

from __future__ import annotations

from urllib.parse import quote

from magnetodb_backup.domain.backup.growth import TableBytes
from magnetodb_backup.domain.backup.status import BackupStatus
from tests.api.conftest import Api

PATH = "/v1/repository/growth"


def test_growth_of_a_cluster(api: Api) -> None:
    backup = api.backup(BackupStatus.CREATED)
    api.database.growth.record(backup.id, [TableBytes("ks", "t", 9, 5)])
    found = api.get(f"{PATH}/{quote(backup.cluster)}?capacity=100")
    assert found["tables"] == [
        {"table": "ks.t", "bytes": 9, "backups": 1, "added": 5, "per_day": None}
    ]
    assert (found["backups"], found["stored"], found["forecast"]) == (1, None, None)
    assert found["missing"].startswith("not enough data: 1 backup")


def test_wrong_queries(api: Api) -> None:
    assert "capacity" in api.refused(400, "GET", f"{PATH}/c?capacity=0")
    assert "capacity" in api.refused(400, "GET", f"{PATH}/c?capacity=1TB")

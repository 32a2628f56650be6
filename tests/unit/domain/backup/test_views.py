# SPDX-License-Identifier: Apache-2.0
"""Records as the API shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timezone

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view, job_view, node_backup_view, node_view
from tests.unit.domain.samples import (
    BACKUP,
    BACKUP_ID,
    HOST_ID,
    JOB,
    LOWEST_TOKEN,
    NODE,
    NODE_BACKUP,
    REPORT,
    TIME,
)

UTC_TIME = "2024-05-06T05:30:00.123Z"


def test_times_are_utc_with_milliseconds_and_may_be_open() -> None:
    view = backup_view(BACKUP)
    assert (view["created_at"], view["finished_at"]) == (UTC_TIME, None)
    in_utc = replace(BACKUP, created_at=TIME.astimezone(timezone.utc), finished_at=TIME)
    assert backup_view(in_utc)["created_at"] == UTC_TIME
    assert backup_view(in_utc)["finished_at"] == UTC_TIME


def test_a_backup_shows_its_state_and_sizes() -> None:
    backup = replace(
        BACKUP, status=BackupStatus.PARTIAL, files=7, bytes_uploaded=5, bytes_reused=6, skew_ms=12
    )
    view = backup_view(backup)
    assert (view["id"], view["status"], view["scope"]) == (BACKUP_ID, "PARTIAL", {"type": "all"})
    assert (view["files"], view["bytes_uploaded"], view["bytes_reused"]) == (7, 5, 6)
    assert view["skew_ms"] == 12
    assert "selection" not in view  # thousands of tables; the manifest has them


def test_node_backups_are_shown_where_asked_for() -> None:
    assert "nodes" not in backup_view(BACKUP)
    assert backup_view(BACKUP, [])["nodes"] == []
    (shown,) = backup_view(BACKUP, [NODE_BACKUP])["nodes"]
    assert shown == node_backup_view(NODE_BACKUP)


def test_a_node_backup_shows_its_progress_flat() -> None:
    view = node_backup_view(NODE_BACKUP)
    assert (view["host_id"], view["phase"]) == (HOST_ID, "upload")
    assert (view["files_total"], view["files_done"]) == (7, 3)
    assert view["corrupt_files"] == ["/data1/ks/t/nb-1-big-Data.db"]
    assert "progress" not in view


def test_a_node_shows_its_ring_member() -> None:
    view = node_view(NODE)
    assert (view["host_id"], view["cluster"], view["live"]) == (HOST_ID, "Test Cluster", True)
    assert view["tokens"][0] == str(LOWEST_TOKEN)
    assert view["data_directories"][1] == {"path": "/data2", "free": 20, "total": 200}
    assert view["last_seen"] == UTC_TIME


def test_a_node_without_cassandra_shows_its_problem() -> None:
    view = node_view(replace(NODE, report=replace(REPORT, member=None, problem="down"), live=False))
    assert (view["host_id"], view["tokens"], view["problem"]) == (None, [], "down")
    assert (view["hostname"], view["live"]) == ("node1", False)


def test_a_job_shows_its_result() -> None:
    view = job_view(replace(JOB, result={"problems": []}))
    assert (view["kind"], view["status"], view["backup_id"]) == (
        "verification", "RUNNING", BACKUP_ID,
    )  # fmt: skip
    assert view["parameters"] == {"read_data": True}
    assert view["result"] == {"problems": []}
    assert job_view(JOB)["result"] is None


@pytest.mark.parametrize(
    "view",
    [backup_view(BACKUP, [NODE_BACKUP]), node_view(NODE), job_view(JOB)],
    ids=["backup", "node", "job"],
)
def test_views_are_json(view: dict[str, object]) -> None:
    assert json.loads(json.dumps(view)) == view

# SPDX-License-Identifier: Apache-2.0
"""Restores as the API shows them."""

from __future__ import annotations

import json
from dataclasses import replace

from magnetodb_backup.domain.fingerprints import TableCheck
from magnetodb_backup.domain.restore.views import node_restore_view, restore_view
from tests.unit.domain.samples import HOST_ID, NODE_RESTORE, RESTORE, TIME


def test_a_restore_shows_its_state_and_request() -> None:
    view = restore_view(replace(RESTORE, error="no space", phase="download", finished_at=TIME))
    assert (view["status"], view["phase"], view["error"]) == ("RESTORING", "download", "no space")
    assert (view["source_cluster"], view["cluster"]) == ("Test Cluster", "Other Cluster")
    assert (view["request"]["tables"], view["request"]["existing"]) == (["ks.t"], "refuse")
    assert view["created_at"] == view["finished_at"] == "2024-05-06T05:30:00.123Z"
    assert restore_view(RESTORE)["finished_at"] is None
    waiting = restore_view(replace(RESTORE, waiting_for="waits for backup b"))
    assert (waiting["waiting_for"], waiting["error"]) == ("waits for backup b", RESTORE.error)


def test_plan_tables_and_nodes_are_shown_of_one_restore_only() -> None:
    assert not {"plan", "tables", "nodes"} & set(restore_view(RESTORE))
    view = restore_view(RESTORE, [NODE_RESTORE])
    assert view["plan"] == {"bytes": 7, "problems": []}
    assert view["tables"] == {"ks.t": "untouched"}
    assert view["nodes"] == [node_restore_view(NODE_RESTORE)]
    assert restore_view(replace(RESTORE, plan=None), [])["plan"] is None


def test_checks_are_shown_of_one_restore_only() -> None:
    checked = replace(RESTORE, checks={"ks.t": TableCheck(equal=64).as_json()})
    assert "checks" not in restore_view(checked)
    assert restore_view(checked, [])["checks"]["ks.t"]["equal"] == 64
    assert restore_view(RESTORE, [])["checks"] is None


def test_a_node_shows_its_progress_flat() -> None:
    view = node_restore_view(NODE_RESTORE)
    assert (view["host_id"], view["phase"], view["files_done"]) == (HOST_ID, "download", 3)
    assert "progress" not in view


def test_views_are_json() -> None:
    view = restore_view(RESTORE, [NODE_RESTORE])
    assert json.loads(json.dumps(view)) == view

# SPDX-License-Identifier: Apache-2.0
"""Dry runs: the plan has everything, and nothing is changed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.domain.restore.records import Existing, RestoreStatus
from magnetodb_backup.repository.format.names import (
    cluster_container,
    manifest_name,
)
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring, T, U, manifest_with, nothing_changed
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

CONTAINER = cluster_container(PREFIX, CLUSTER)


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    return Restoring(cluster)


@pytest.fixture(params=[{}, {"existing": Existing.REPLACE}, {"to_keyspace": "beside"}], ids=str)
def dry(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**request.param, "dry_run": True}


def test_dry_run_changes_nothing(restoring: Restoring, dry: dict[str, Any]) -> None:
    before, schema = restoring.rows(), restoring.cluster.nodes[1].schema
    restoring.forget()
    restore = restoring.restore(**dry)
    assert (restore.status, restore.error) == (RestoreStatus.PLANNED, "")
    nothing_changed(restoring, restore)
    assert (restoring.rows(), restoring.cluster.nodes[1].schema) == (before, schema)
    assert restoring.job(restore).status is JobStatus.DONE
    assert restoring.job(restore).result == {"status": "PLANNED"}


def test_dry_run_tells_everything(restoring: Restoring) -> None:
    restoring.truncate(U)
    restore = restoring.restore(dry_run=True)
    plan = restore.plan
    assert plan is not None
    assert plan["method_by_keyspace"] == {"ks": "import"}
    sizes = {
        name: sum(len(r) for rows in restoring.saved_rows(name).values() for r in rows)
        for name in (T, U)
    }
    assert plan["tables"] == [
        {"source": "ks.t", "target": "ks.t", "files": 6, "bytes": sizes[T],
         "exists": True, "has_rows": True},
        {"source": "ks.u", "target": "ks.u", "files": 6, "bytes": sizes[U],
         "exists": True, "has_rows": False},
    ]  # fmt: skip
    assert plan["bytes"] == sum(sizes.values())
    assert plan["requests"] == 3  # a pack for each node
    assert [(n["address"], n["files"]) for n in plan["nodes"]] == [
        (f"127.0.0.{number}", 4) for number in (1, 2, 3)
    ]
    assert [n["sources"] for n in plan["nodes"]] == [[n["host_id"]] for n in plan["nodes"]]
    (problem,) = plan["problems"]
    assert problem.startswith("ks.t has data")


def test_dry_run_with_problems_is_a_plan_too(restoring: Restoring) -> None:
    (pack,) = restoring.cluster.packs(1).packs()
    restoring.cluster.lose_pack(1, pack)
    restore = restoring.restore(dry_run=True, existing=Existing.REPLACE)
    assert restore.status is RestoreStatus.PLANNED
    assert restore.plan is not None
    (problem,) = restore.plan["problems"]
    assert "missing" in problem


def test_dry_run_of_a_backup_that_is_old(restoring: Restoring) -> None:
    """Deleted rows could come back: gc_grace_seconds is over."""
    container, name = CONTAINER, manifest_name(restoring.backup.id)
    change = manifest_with(committed_at="2020-01-01T00:00:00+00:00")
    restoring.cluster.store.change(container, name, change)
    restoring.cluster.database.backups.update(restoring.backup.id, manifest_sha256="")
    restore = restoring.restore(dry_run=True, existing=Existing.REPLACE)
    assert restore.plan is not None
    (warning,) = restore.plan["warnings"]
    assert "older than gc_grace_seconds of ks.t, ks.u" in warning
    assert "nodetool repair --full" in warning


def test_dry_run_warns_of_rows_that_have_expired(cluster: Cluster) -> None:
    """Rows written with the table's own TTL are not readable once the backup is older than that."""
    for node in cluster.nodes.values():
        node.schema = node.schema.replace(
            "gc_grace_seconds = 864000", "default_time_to_live = 3600", 1
        )
    restoring = Restoring(cluster)
    old = (datetime.now(timezone.utc) - timedelta(hours=2)).isoformat()
    change = manifest_with(committed_at=old)
    cluster.store.change(CONTAINER, manifest_name(restoring.backup.id), change)
    cluster.database.backups.update(restoring.backup.id, manifest_sha256="")
    restore = restoring.restore(dry_run=True, existing=Existing.REPLACE)
    assert restore.plan is not None
    (warning,) = restore.plan["warnings"]
    assert warning == (
        "the backup is older than default_time_to_live of ks.t: rows that were written with it "
        "have expired, and are not readable after the restore"
    )


def test_dry_run_asks_each_node(restoring: Restoring) -> None:
    restoring.restore(dry_run=True, existing=Existing.REPLACE)
    assert set(restoring.cluster.workers.starts("preflight").values()) == {1}
    assert TaskKind.RESTORE_DOWNLOAD.value not in restoring.cluster.workers.starts("download")

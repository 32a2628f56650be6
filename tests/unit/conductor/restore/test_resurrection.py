# SPDX-License-Identifier: Apache-2.0
"""Old backups whose rows would be put beside live ones: deleted rows could come back."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from magnetodb_backup.domain.restore.records import Existing, Restore, RestoreStatus
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.repository.format.names import cluster_container, manifest_name
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.offline import Offline
from tests.unit.conductor.restoring import Restoring, T, U
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

GRACE = 864000
BESIDE: list[dict[str, Any]] = [{"existing": Existing.MERGE}, {"node": "127.0.0.2"}]


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    return Restoring(cluster)


def _age(restoring: Restoring, seconds: float, *, one_snapshot_only: bool = False) -> None:
    """Make the backup look so old; or only the snapshot of one node."""
    moment = (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat()

    def change(body: bytes) -> bytes:
        manifest = json.loads(body)
        if not one_snapshot_only:
            manifest["committed_at"] = moment
        for node in manifest["nodes"][: 1 if one_snapshot_only else None]:
            node["snapshot_started_at"] = moment
        return json.dumps(manifest).encode()

    backup_id = restoring.backup.id
    restoring.cluster.store.change(
        cluster_container(PREFIX, CLUSTER), manifest_name(backup_id), change
    )
    restoring.cluster.database.backups.update(backup_id, manifest_sha256="")


def _grace(restoring: Restoring, seconds: int, *tables: TableName) -> None:
    """Let an operator alter the tables after the backup."""
    for node in restoring.cluster.nodes.values():
        for table in tables:
            begin, found, rest = node.schema.partition(f"CREATE TABLE {table}")
            rest = rest.replace(f"gc_grace_seconds = {GRACE}", f"gc_grace_seconds = {seconds}", 1)
            node.schema = begin + found + rest


def _plan(restore: Restore) -> dict[str, list[str]]:
    assert restore.plan is not None
    return dict(restore.plan)


@pytest.mark.parametrize("request_", BESIDE, ids=str)
def test_rows_put_beside_live_ones_are_refused(
    restoring: Restoring, request_: dict[str, Any]
) -> None:
    """Every replica has dropped the tombstone by now, and a repair spreads the old row."""
    _age(restoring, GRACE + 60)
    restoring.forget()
    restore = restoring.restore(**request_)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "the backup is older than gc_grace_seconds of ks.t, ks.u" in restore.error
    assert "--allow-resurrection" in restore.error
    assert restoring.changes() == []


@pytest.mark.parametrize("request_", BESIDE, ids=str)
def test_the_override_is_a_warning_of_the_record(
    restoring: Restoring, request_: dict[str, Any]
) -> None:
    _age(restoring, GRACE + 60)
    restore = restoring.restore(**request_, allow_resurrection=True)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert any("allow_resurrection: rows of ks.t" in w for w in _plan(restore)["warnings"])
    assert restore.request.allow_resurrection


@pytest.mark.parametrize("request_", BESIDE, ids=str)
def test_younger_backups_are_not_refused(restoring: Restoring, request_: dict[str, Any]) -> None:
    _age(restoring, GRACE - 600)
    assert _plan(restoring.restore(**request_, dry_run=True))["problems"] == []


def test_the_oldest_snapshot_counts(restoring: Restoring) -> None:
    _age(restoring, GRACE + 60, one_snapshot_only=True)
    (problem,) = _plan(restoring.restore(existing=Existing.MERGE, dry_run=True))["problems"]
    assert "older than gc_grace_seconds of ks.t, ks.u" in problem


def test_the_smaller_grace_counts(restoring: Restoring) -> None:
    """It was lowered for one table since the backup, and raised for the other one."""
    _grace(restoring, 60, T)
    _grace(restoring, 10 * GRACE, U)
    _age(restoring, 120)
    (problem,) = _plan(restoring.restore(existing=Existing.MERGE, dry_run=True))["problems"]
    assert "older than gc_grace_seconds of ks.t:" in problem
    assert "ks.u" not in problem
    _age(restoring, GRACE + 60)
    (problem,) = _plan(restoring.restore(existing=Existing.MERGE, dry_run=True))["problems"]
    assert "ks.t, ks.u" in problem


def test_tables_that_do_not_exist_have_nothing_to_meet(restoring: Restoring) -> None:
    _age(restoring, GRACE + 60)
    restoring.drop(T, U)
    assert restoring.restore(existing=Existing.MERGE).status is RestoreStatus.RESTORED


def test_replaced_tables_are_repaired_in_full(restoring: Restoring) -> None:
    """Incremental repair, the default of nodetool, skips SSTables that are marked repaired."""
    _age(restoring, GRACE + 60)
    (warning,) = _plan(restoring.restore(existing=Existing.REPLACE, dry_run=True))["warnings"]
    assert "run nodetool repair --full on these tables" in warning


def test_roles_of_a_single_node_offline(cluster: Cluster) -> None:
    """Cassandra's own tables are not in the schema's text; their grace is known all the same."""
    offline = Offline(cluster)
    _age(offline, GRACE + 60)
    request: dict[str, Any] = {"node": "127.0.0.2", "dry_run": True}
    (problem,) = _plan(offline.restore(**request))["problems"]
    assert "ks.t, ks.u, system_auth.roles" in problem
    assert _plan(offline.restore(**request, allow_resurrection=True))["problems"] == []

# SPDX-License-Identifier: Apache-2.0
"""Restores begun by a conductor of an older release continue with its stored results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy

from magnetodb_backup.database.models import JobStepRow
from magnetodb_backup.domain.restore.records import (
    OFFLINE_PHASES,
    Existing,
    Restore,
    RestorePhase,
    RestoreStatus,
)
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.offline import Offline
from tests.unit.conductor.restoring import Restoring, T, U

ONLINE = [p for p in RestorePhase if p not in OFFLINE_PHASES]
OFFLINE = [p for p in RestorePhase if p is not RestorePhase.IMPORT]
# Results of steps that had no members, whatever newer releases store.
EMPTY = {"download", "place", "start", "indexes", "cleanup"}


def _older(name: str, result: Mapping[str, Any], *, offline: bool) -> dict[str, Any]:
    """Return a step's result without what newer releases have added."""
    older = dict(result)
    if name in EMPTY:
        return {}
    if name == "census" and not offline:
        del older["down"]
    if name == "preflight":
        added = {"cluster", "backup_id", "kind"}
        older["work"] = {
            host: [{k: v for k, v in part.items() if k not in added} for part in parts]
            for host, parts in older["work"].items()
        }
        older["figures"] = {k: older["figures"][k] for k in ("stored", "ranges")} or {}
        if not offline:
            del older["everything"]
    if name in ("views", "repair"):
        return {key: value for key, value in older.items() if value}
    return older


def _make_older(restoring: Restoring, restore: Restore, *, offline: bool) -> None:
    """Rewrite the stored results as an older release would have stored them."""
    stored = restoring.cluster.database.jobs.step_results(restore.id, 1)
    with restoring.cluster.database._engine.begin() as connection:
        for name, result in stored.items():
            older = _older(name, result, offline=offline)
            connection.execute(
                sqlalchemy.update(JobStepRow)
                .where(JobStepRow.job_id == restore.id, JobStepRow.name == name)
                .values(result=older)
            )


@pytest.mark.parametrize("phase", ONLINE[:-1], ids=lambda p: p.value)
def test_online(cluster: Cluster, phase: RestorePhase) -> None:
    restoring = Restoring(cluster, figures=True)
    restoring.truncate(T, U)
    restoring.forget()
    restore = restoring.request(existing=Existing.REPLACE, check=True)
    restoring.run(restore, still_owner=restoring.until(restore, phase))
    _make_older(restoring, restore, offline=False)
    ended = restoring.run(restore, owner="conductor-2")
    assert (ended.status, ended.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows() == restoring.saved
    assert set(ended.tables.values()) == {"restored"}


@pytest.mark.parametrize("phase", OFFLINE[:-1], ids=lambda p: p.value)
def test_offline(cluster: Cluster, phase: RestorePhase) -> None:
    offline = Offline(cluster)
    restore = offline.request()
    offline.run(restore, still_owner=offline.until(restore, phase))
    _make_older(offline, restore, offline=True)
    ended = offline.run(restore, owner="conductor-2")
    assert (ended.status, ended.error) == (RestoreStatus.RESTORED, "")
    assert offline.rows() == offline.saved
    assert offline.staged() == []

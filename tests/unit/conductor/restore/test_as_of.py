# SPDX-License-Identifier: Apache-2.0
"""Restores from an earlier state of the store."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from magnetodb_backup.domain.restore.records import RestoreStatus
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring, T, U, nothing_changed
from tests.unit.conductor.verification.test_as_of import destroy

THEN = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
AS_OF = THEN.isoformat()


@pytest.fixture
def restoring(cluster: Cluster) -> Restoring:
    """The store has lost everything since; so have the nodes."""
    made = Restoring(cluster, figures=True)
    cluster.store.remember(THEN)
    destroy(cluster)
    made.truncate(T, U)
    made.forget()
    return made


@pytest.mark.parametrize("dropped", [False, True])
def test_what_was_destroyed_since_is_restored(restoring: Restoring, dropped: bool) -> None:
    if dropped:
        restoring.drop(T)
    restore = restoring.restore(as_of=AS_OF, check=not dropped)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows(U) == restoring.saved_rows(U)
    assert sorted(restoring.rows(T).values()) == sorted(restoring.saved_rows(T).values())
    assert restore.request.as_of == AS_OF


def test_offline_too(restoring: Restoring) -> None:
    restore = restoring.restore(as_of=AS_OF, offline=True, dry_run=True)
    assert (restore.status, restore.error) == (RestoreStatus.PLANNED, "")


def test_the_present_store_has_nothing(restoring: Restoring) -> None:
    restore = restoring.restore()
    assert restore.status is RestoreStatus.RESTORE_FAILED
    nothing_changed(restoring, restore)


def test_a_store_without_that_state_changes_nothing(restoring: Restoring) -> None:
    restore = restoring.restore(as_of="2026-11-29T00:00:00+00:00")
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "keeps no earlier versions" in restore.error
    nothing_changed(restoring, restore)


def test_a_worker_of_an_older_release_is_named(restoring: Restoring) -> None:
    """It does not know the member, and reads the present store."""
    cluster = restoring.cluster
    store, earlier = cluster.store, cluster.store.earlier[THEN]
    store._containers = earlier._containers  # whole again, so that only the release differs

    class Older:
        def __init__(self, work: Any) -> None:
            self._work = work

        def perform(self, kind: TaskKind, arguments: Any, context: Any) -> Any:
            known = {name: value for name, value in arguments.items() if name != "as_of"}
            return self._work.perform(kind, known, context)

    cluster.workers.restart("worker-2", Older(cluster.work(2)))
    restore = restoring.restore(as_of=AS_OF)
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert f"{cluster.nodes[2].me.address}: its worker is of an older release" in restore.error
    nothing_changed(restoring, restore)

# SPDX-License-Identifier: Apache-2.0
"""Staged files that vanish, at any moment: found before anything is emptied or reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from magnetodb_backup.domain.restore.records import Existing, Restore, RestoreStatus
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.offline import Offline
from tests.unit.conductor.restoring import Restoring

Loss = Callable[[Path], None]


def _everything(root: Path) -> None:
    """What a worker does with the files of a restore that does not live, by its conductor."""
    shutil.rmtree(root, ignore_errors=True)


def _one_component(root: Path) -> None:
    for path in sorted(root.rglob("nb-1-big-Data.db"))[:1]:
        path.unlink()


def _one_table(root: Path) -> None:
    for path in root.rglob("t"):
        shutil.rmtree(path)


LOSSES = [_everything, _one_component, _one_table]


def _lose(restoring: Restoring, at: TaskKind, loss: Loss) -> None:
    """Remove files of node 2 when the first task of a kind begins, before it works."""
    lost: list[str] = []

    def before_start(worker_id: str, started: TaskKind) -> None:
        if started is at and not lost:
            lost.append(worker_id)
            for data in restoring.cluster.nodes[2].data.paths:
                for root in (data / ".magnetodb-backup").glob("[0-9a-f]*"):
                    loss(root)

    restoring.cluster.workers.before_start = before_start


def _failed(restore: Restore) -> None:
    assert restore.status is RestoreStatus.RESTORE_FAILED
    assert "node 127.0.0.2: " in restore.error
    assert "Repeat the restore" in restore.error


@pytest.mark.parametrize("loss", LOSSES)
def test_files_that_vanish_before_truncate(cluster: Cluster, loss: Loss) -> None:
    restoring = Restoring(cluster)
    before = restoring.rows()
    _lose(restoring, TaskKind.RESTORE_SCHEMA, loss)
    restoring.forget()
    restore = restoring.restore(existing=Existing.REPLACE)
    _failed(restore)
    assert set(restore.tables.values()) == {"untouched"}
    assert restoring.rows() == before
    assert restoring.told("cql TRUNCATE", "cql DROP", "cql ALTER", "import") == []


@pytest.mark.parametrize("loss", LOSSES)
def test_files_that_vanish_before_the_import(cluster: Cluster, loss: Loss) -> None:
    """The tables are empty by now, and the restore says so."""
    restoring = Restoring(cluster)
    _lose(restoring, TaskKind.RESTORE_TRUNCATE, loss)
    restore = restoring.restore(existing=Existing.REPLACE)
    _failed(restore)
    assert restore.tables["ks.t"].startswith("partly restored")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("at", [TaskKind.RESTORE_SCHEMA, TaskKind.RESTORE_STOP])
def test_files_that_vanish_before_the_exchange(cluster: Cluster, loss: Loss, at: TaskKind) -> None:
    """Without a comparison the original files go, nothing comes, and the restore is a success."""
    offline = Offline(cluster)
    _lose(offline, at, loss)
    restore = offline.restore()
    _failed(restore)
    assert offline.rows() == offline.newer
    assert offline.runs() == [True] * 3
    if at is TaskKind.RESTORE_SCHEMA:
        assert offline.told("stop", "drain") == []

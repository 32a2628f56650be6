# SPDX-License-Identifier: Apache-2.0
"""At every moment of a job, a backup manifest in the store names only what is in the store.

So a crash at any write leaves either no backup, or a whole one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, Subject
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.names import cluster_container, manifest_name
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.verify import verify_backup
from magnetodb_backup.storage.memory import MemoryDriver
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

History = list[MemoryDriver]


@pytest.fixture
def history(cluster: Cluster) -> History:
    """What the store has after each PUT, and before each DELETE."""
    states: History = []

    def note(*_: str) -> None:
        state = MemoryDriver()
        with cluster.store._lock:
            containers = {name: dict(found) for name, found in cluster.store._containers.items()}
        state._containers = containers
        states.append(state)

    cluster.store.after_put = cluster.store.before_delete = note
    return states


def _committed(states: History, backup: Backup) -> Iterator[MemoryDriver]:
    for state in states:
        if state.head(cluster_container(PREFIX, CLUSTER), manifest_name(backup.id)) is not None:
            yield state


def _problems(state: MemoryDriver, backup: Backup) -> int:
    return verify_backup(
        ClusterRepository(state, PREFIX, CLUSTER),
        lambda host_id: NodeRepository(state, PREFIX, CLUSTER, host_id),
        backup.id,
        manifest_sha256="",
        read_data=True,
        progress=lambda *_: None,
        raise_if_cancelled=lambda: None,
    ).problem_count


def test_backup_exists_only_when_it_is_whole(cluster: Cluster, history: History) -> None:
    backup = cluster.backup(figures=True)
    assert backup.status is BackupStatus.CREATED
    assert len(history) > 8
    whole = list(_committed(history, backup))
    assert len(whole) == 1  # the manifest is the last object
    assert [_problems(state, backup) for state in whole] == [0]


@pytest.mark.parametrize("undelete_period", [0.0, 3600.0])
def test_backup_that_is_being_deleted_is_whole_or_none(
    cluster: Cluster, history: History, undelete_period: float
) -> None:
    backup = cluster.backup(figures=True)
    history.clear()
    cluster.database.jobs.create(JobKind.DELETION, Subject.backup(backup.id), CLUSTER, {})
    deleted = cluster.run(backup, JobKind.DELETION, undelete_period=undelete_period)
    assert deleted.status is BackupStatus.DELETED
    assert (len(history) > 5) is (undelete_period == 0)
    whole = list(_committed(history, backup))
    assert whole
    assert whole == history[: len(whole)]  # the manifest is removed first, and stays away
    assert [_problems(state, backup) for state in whole] == [0] * len(whole)

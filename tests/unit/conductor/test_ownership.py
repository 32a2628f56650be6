# SPDX-License-Identifier: Apache-2.0
"""What a conductor owns: renewed through outages, lost when another one claims it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from magnetodb_backup.conductor.ownership import Ownership
from magnetodb_backup.domain.jobs import Fence
from tests.lab.processes import wait_for
from tests.unit.conductor.cluster import Cluster

TIMEOUT = 0.3  # seconds


@contextmanager
def owning(cluster: Cluster, timeout: float = TIMEOUT) -> Iterator[tuple[Ownership, Fence]]:
    """Let conductor-1 own a backup's job and its cluster."""
    ownership = Ownership(cluster.database, "conductor-1", timeout=timeout)
    ownership.start()
    claimed = ownership.claim(cluster.job(cluster.request()), exclusive=True)
    assert claimed is not None
    yield ownership, claimed[1]
    ownership.stop()


def _soon(condition: Callable[[], object], what: str) -> None:
    wait_for(condition, deadline=20, what=what, interval=0.01)


def _later(cluster: Cluster, than: list[float]) -> Callable[[], bool]:
    """Return whether all heartbeats are later than they were."""
    return lambda: all(new > old for old, new in zip(than, _beats(cluster), strict=True))


def _beats(cluster: Cluster) -> list[float]:
    with cluster.database._engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT heartbeat FROM ownerships ORDER BY resource")
        return [row[0] for row in rows]


def test_what_is_owned_is_renewed_until_it_is_released(cluster: Cluster) -> None:
    with owning(cluster) as (ownership, fence):
        first = _beats(cluster)
        _soon(_later(cluster, [beat + TIMEOUT for beat in first]), "heartbeats")
        assert ownership.owns(fence)
        assert cluster.database.ownership.holds(fence)
        ownership.release(fence)
        assert not ownership.owns(fence)
        assert not cluster.database.ownership.holds(fence)


def test_a_loss_is_noticed_at_the_next_heartbeat(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with owning(cluster) as (ownership, fence):
        resources = [resource for resource, _ in fence.generations]
        adopted = cluster.database.ownership.claim(resources, "conductor-2", timeout=0)
        assert adopted is not None
        _soon(lambda: not ownership.owns(fence), "the loss")
        ownership.release(fence)
        assert cluster.database.ownership.holds(adopted)
    assert "another conductor has claimed cluster:" in caplog.text
    assert "[conductor] ownership_timeout = 0.3 s" in caplog.text


def test_an_outage_of_the_database_ends_no_ownership(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with owning(cluster) as (ownership, fence):
        with cluster.database_away() as failures:
            _soon(lambda: len(failures) > 3, "failed heartbeats")
            assert ownership.owns(fence)
        _soon(_later(cluster, _beats(cluster)), "another heartbeat")
        assert cluster.database.ownership.holds(fence)
    assert caplog.text.count("cannot renew or release what this conductor owns") == 1


def test_a_release_in_an_outage_follows_when_the_database_is_back(cluster: Cluster) -> None:
    with owning(cluster) as (ownership, fence):
        with cluster.database_away():
            ownership.release(fence)
        _soon(lambda: not cluster.database.ownership.holds(fence), "the release")


def test_what_is_released_is_not_reported_as_lost(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with owning(cluster, timeout=0.03) as (ownership, fence):
        for _ in range(20):
            ownership.release(fence)
            claimed = ownership.claim(cluster.database.jobs.unfinished()[0], exclusive=True)
            assert claimed is not None
            fence = claimed[1]
    assert "another conductor has claimed" not in caplog.text

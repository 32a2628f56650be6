# SPDX-License-Identifier: Apache-2.0
"""A collection closes the findings on packs that are gone and that no backup needs."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.backup.records import Backup
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.collection.collecting import (
    collect,
    delete,
    later,
    requested,
    result_of,
    run,
    two_backups,
)


def of_backup(cluster: Cluster, backup: Backup) -> set[str]:
    """Return the packs of node 2 that a backup needs."""
    manifest = cluster.repository.node_manifest(backup.id, cluster.nodes[2].me.host_id)
    return {extent.pack for entry in manifest for extent in entry.extents}


def open_findings(cluster: Cluster) -> set[str]:
    return {finding.name for finding in cluster.database.findings.list()}


@pytest.fixture
def damaged(cluster: Cluster) -> tuple[str, str]:
    """Packs of node 2: one that both backups need, one of the deleted backup alone."""
    first, second = two_backups(cluster)
    shared = min(of_backup(cluster, first) & of_backup(cluster, second))
    (alone,) = of_backup(cluster, first) - of_backup(cluster, second)
    for pack in (shared, alone):
        cluster.damage_pack(2, pack, lambda body: bytes(len(body)))
    cluster.verify(first)
    assert open_findings(cluster) == {shared, alone}
    delete(cluster, first)
    return shared, alone


def test_findings_on_removed_packs_are_closed(cluster: Cluster, damaged: tuple[str, str]) -> None:
    shared, alone = damaged
    collect(cluster)
    assert open_findings(cluster) == {shared, alone}  # nothing is removed yet
    later(cluster)
    assert collect(cluster, dry_run=True).total.due_packs == 3
    assert open_findings(cluster) == {shared, alone}
    job = run(cluster, requested(cluster))
    assert open_findings(cluster) == {shared}
    closed = {f.name: f.healed_by for f in cluster.database.findings.list(healed=True)}
    assert closed == {shared: "", alone: job.id}
    assert all(node.use.gone == () for node in result_of(job).nodes.values())
    (packs,) = cluster.database.damaged_packs.of(job.cluster).values()
    assert set(packs) == {shared}


def test_a_finding_on_a_lost_pack_is_closed_once_no_backup_needs_it(
    cluster: Cluster, damaged: tuple[str, str]
) -> None:
    """So is that of a pack which an interrupted collection has removed."""
    shared, _ = damaged
    for pack in damaged:
        cluster.lose_pack(2, pack)
    collect(cluster)
    assert open_findings(cluster) == {shared}


def test_findings_of_a_node_whose_task_fails_stay(
    cluster: Cluster, damaged: tuple[str, str]
) -> None:
    collect(cluster)
    cluster.clock.now += 20_000.0
    cluster.fall_silent(2)
    collect(cluster)
    assert open_findings(cluster) == set(damaged)

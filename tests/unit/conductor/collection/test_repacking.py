# SPDX-License-Identifier: Apache-2.0
"""A collection that repacks: from the request to backups that are whole, on all nodes."""

from __future__ import annotations

from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.collection.collecting import (
    collect,
    delete,
    later,
    of_node,
    packs,
    survey,
)

REPACK = {"repack": 50, "repack_minimum": 1}


def small(cluster: Cluster, name: str) -> None:
    for number, node in cluster.nodes.items():
        text = f"{number} {name} ".encode()
        node.write(node.tables[0], f"{name}-big-Data.db", text.ljust(190, b"x"))


def sparse(cluster: Cluster) -> str:
    """Make a backup that needs few bytes of a pack; return its ID."""
    names = [f"nb-{number}" for number in range(20, 24)]
    for name in names:
        small(cluster, name)
    first = cluster.backup()
    for node in cluster.nodes.values():
        for name in names[1:]:
            (node.data.table_directory(0, node.tables[0]) / f"{name}-big-Data.db").unlink()
    second = cluster.backup()
    delete(cluster, first)
    return second.id


def test_repacking_frees_what_a_collection_alone_cannot(cluster: Cluster) -> None:
    backup = cluster.database.backups.get(sparse(cluster))
    before = packs(cluster)
    report = collect(cluster, dry_run=True, **REPACK)
    assert report.total.repack_packs == len(cluster.nodes)
    assert packs(cluster) == before
    done = collect(cluster, **REPACK)
    assert done.total.repack_frees_bytes == report.total.repack_frees_bytes > 0
    later(cluster)
    freed = collect(cluster)
    assert freed.total.freed_bytes >= done.total.repack_read_bytes
    for number in cluster.nodes:
        assert before[number] - packs(cluster)[number]
        assert cluster.restored(backup, number) == cluster.contents(number)
    assert cluster.verify(backup, read_data=True)["problems"] == []


def test_packs_are_not_repacked_unless_it_is_asked_for(cluster: Cluster) -> None:
    sparse(cluster)
    assert collect(cluster).total.repack_packs == 0
    assert survey(cluster).total.repack_packs == 0


def test_backup_after_a_repacking_uploads_no_data_again(cluster: Cluster) -> None:
    sparse(cluster)
    collect(cluster, **REPACK)
    later(cluster)
    collect(cluster)
    kept = packs(cluster)
    third = cluster.backup()
    for number in cluster.nodes:
        assert cluster.restored(third, number) == cluster.contents(number)
        assert kept[number] <= packs(cluster)[number]
    assert cluster.verify(third, read_data=True)["problems"] == []


def test_container_of_a_node_that_left_is_not_repacked(cluster: Cluster) -> None:
    sparse(cluster)
    gone = cluster.nodes[3]
    for number in (1, 2):
        cluster.nodes[number].members = tuple(
            m for m in cluster.nodes[number].members if m.host_id != gone.me.host_id
        )
    cluster.fall_silent(3)
    found = collect(cluster, **REPACK)
    assert found.nodes[gone.me.host_id].adopted
    assert found.nodes[gone.me.host_id].use.repack_packs == 0
    assert of_node(found, cluster, 1).use.repack_packs == 1

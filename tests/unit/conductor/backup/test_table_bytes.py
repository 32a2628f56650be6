# SPDX-License-Identifier: Apache-2.0
"""What a backup has of each table, and how much of it the store did not have before."""

from __future__ import annotations

from dataclasses import replace

from magnetodb_backup.conductor.backup.table_bytes import record_tables
from magnetodb_backup.domain.backup.growth import TableBytes
from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.tasks.backup import Uploaded
from magnetodb_backup.tasks.cluster import Member
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import member


def added(cluster: Cluster) -> dict[str, tuple[int, int]]:
    """Return by table the bytes in the newest backup, and what all backups added."""
    found = cluster.database.growth.growth(CLUSTER).tables
    return {table.table: (table.bytes, table.rate.added) for table in found}


def test_a_backup_adds_what_the_store_does_not_have(cluster: Cluster) -> None:
    first = cluster.backup()
    before = added(cluster)
    assert sum(size for size, _ in before.values()) == first.bytes
    assert all(size == new > 0 for size, new in before.values())
    cluster.backup()
    assert added(cluster) == before  # nothing is new
    node = cluster.nodes[1]
    node.write(node.tables[0], "nb-9-big-Data.db", b"x" * 5000)
    cluster.backup()
    after, (t, u) = added(cluster), (each.name.table for each in node.tables)
    assert after[t] == (before[t][0] + 5000, before[t][1] + 5000)
    assert after[u] == before[u]


def test_without_the_bytes_of_a_node_nothing_is_recorded(cluster: Cluster) -> None:
    """A worker of an older release reports none; half of a table is no growth."""
    backup = cluster.backup()
    before = added(cluster)
    uploaded = Uploaded(
        StoredObject("n", 1, "0" * 64), 1, 1, (), Progress(), Member.of(member(1)),
        tables=(TableBytes("ks", "t", 1, 1),),
    )  # fmt: skip
    older = replace(uploaded, tables=None)
    record_tables(cluster.database, backup.id, {"1": uploaded, "2": older})
    assert added(cluster) == before
    record_tables(cluster.database, backup.id, {"1": uploaded, "2": uploaded})
    assert added(cluster) == {"t": (2, 2)}

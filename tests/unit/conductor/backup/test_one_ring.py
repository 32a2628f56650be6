# SPDX-License-Identifier: Apache-2.0
"""Nodes that see different rings, tables made meanwhile, and what is compared of the schema."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import TableDescription
from magnetodb_backup.errors import CassandraUnavailable, RingDiffers
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.cassandra.tree import table
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.older import OlderWork
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_cql import FakeCql

# The ring.


def _blind(cluster: Cluster, number: int, to: int) -> None:
    """Let a node not know another one."""
    node = cluster.nodes[number]
    node.members = tuple(m for m in node.members if m != cluster.nodes[to].me)


def test_node_that_the_first_one_does_not_know(cluster: Cluster) -> None:
    """The ring was that of one node: a backup without node 3 was CREATED and called complete."""
    _blind(cluster, 1, 3)
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "the ring that node 127.0.0.1 sees lacks" in backup.error
    assert "127.0.0.3" in backup.error


def test_silent_node_that_only_one_node_knows(cluster: Cluster) -> None:
    """Node 3 has no live worker, and the node that is asked does not know it."""
    cluster.fall_silent(3)
    _blind(cluster, 1, 3)
    backup = cluster.backup(allow_partial=True)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "node 127.0.0.2 does not see the ring of the census: it also has" in backup.error
    assert "127.0.0.3" in backup.error
    assert cluster.did("snapshot") == [0, 0, 0]


@pytest.mark.parametrize("hook", ["on_flush", "on_snapshot"])
def test_view_that_breaks_meanwhile(cluster: Cluster, hook: str) -> None:
    """Node 2 forgets node 3 while it works: it is asked with its preparation and its snapshot."""
    setattr(cluster.nodes[2], hook, lambda: _blind(cluster, 2, 3))
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "node 127.0.0.2 does not see the ring of the census: it lacks" in backup.error
    assert cluster.job(backup).round == 3
    assert cluster.snapshots() == []


def test_view_that_heals_is_another_round(cluster: Cluster) -> None:
    def break_once() -> None:
        if "snapshot" not in " ".join(cluster.nodes[2].log[:-1]):
            _blind(cluster, 2, 3)

    node = cluster.nodes[2]
    whole = node.members
    node.on_snapshot = break_once

    def heal() -> None:
        node.members = whole

    node.on_flush = heal
    backup = cluster.backup()
    assert (backup.status, cluster.job(backup).round) == (BackupStatus.CREATED, 2)


class _Late(FakeCql):
    """A node that takes a while to learn of node 3 once it has begun to flush."""

    looks = 0

    def ring(self) -> tuple[RingMember, ...]:
        members = super().ring()
        if not any(entry.startswith("flush") for entry in self._node.log):
            return members
        type(self).looks += 1
        return members if self.looks > 12 else members[:2]


def test_gossip_that_takes_a_while(cluster: Cluster) -> None:
    """Three rounds were over within seconds; gossip differs for longer after a node has joined."""

    class Late(_Late):
        """Counts for this test alone."""

    cluster.nodes[2].make_cql = Late
    backup = cluster.run(cluster.request(), worker_timeout=30.0)
    assert (backup.status, cluster.job(backup).round) == (BackupStatus.CREATED, 2)


def test_pause_between_rounds_ends_when_the_job_is_cancelled(cluster: Cluster) -> None:
    backup = cluster.request()

    class Cancelling(_Late):
        """Cancels the backup while its nodes do not agree."""

        def ring(self) -> tuple[RingMember, ...]:
            if self.looks == 4:
                cluster.database.jobs.request_cancel(cluster.job(backup).id)
            return super().ring()

    cluster.nodes[2].make_cql = Cancelling
    cluster.run(backup, worker_timeout=600.0)
    assert cluster.database.backups.get(backup.id).status is BackupStatus.CANCELLED
    assert cluster.job(backup).round == 1


class _Unknowing(FakeCql):
    """A node that knows a peer in part."""

    def ring(self) -> tuple[RingMember, ...]:
        raise RingDiffers("node 127.0.0.2 does not know the tokens of its peer 127.0.0.3")


@pytest.mark.parametrize("number", [1, 2])
def test_peer_that_is_known_in_part_fails_the_backup(cluster: Cluster, number: int) -> None:
    cluster.nodes[number].make_cql = _Unknowing
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "does not know the tokens of its peer 127.0.0.3" in backup.error


def test_peer_that_is_known_in_part_for_a_moment_is_another_round(cluster: Cluster) -> None:
    """The question for the whole ring failed the backup, where every other one begins a round."""
    node = cluster.nodes[2]
    node.on_flush = lambda: _blind(cluster, 2, 3)
    whole = node.members

    class Unknowing(_Unknowing):
        """Knows node 3 in part after the digest of the ring is reported."""

        asked = 0

        def ring(self) -> tuple[RingMember, ...]:
            if len(self._node.members) == len(whole):
                return self._node.members
            type(self).asked += 1
            if self.asked == 2:  # the whole ring, because the digest differs
                self._node.members, self._node.on_flush = whole, lambda: None
                return super().ring()
            return self._node.members

    node.make_cql = Unknowing
    backup = cluster.backup()
    assert (backup.status, cluster.job(backup).round) == (BackupStatus.CREATED, 2)


class _Undescribed(FakeCql):
    """A node that answers everything except the question for its ring."""

    def partitioner(self) -> str:
        raise CassandraUnavailable("away")


def test_node_that_falls_silent_before_it_shows_its_ring_leaves_the_backup(
    cluster: Cluster,
) -> None:
    """Where partial backups are allowed, a node that fails does not fail the others."""
    for node in cluster.nodes.values():
        node.replication["replication_factor"] = "2"
    cluster.workers.restart("worker-3", OlderWork(cluster.work(3)))  # reports no digest
    cluster.nodes[3].make_cql = _Undescribed
    backup = cluster.run(cluster.request(allow_partial=True), outage_deadline=0.2)
    assert backup.status is BackupStatus.PARTIAL
    assert cluster.node_backup(backup, 3).phase == "failed"
    assert cluster.did("snapshot")[2] == 0


def test_workers_of_an_older_release_are_asked_for_their_rings(cluster: Cluster) -> None:
    """They report no digest; what they see is compared all the same."""
    for number in cluster.nodes:
        cluster.workers.restart(f"worker-{number}", OlderWork(cluster.work(number)))
    whole = cluster.backup()
    assert (whole.status, whole.error) == (BackupStatus.CREATED, "")
    _blind(cluster, 2, 3)
    backup = cluster.backup()
    assert "node 127.0.0.2 does not see the ring of the census: it lacks" in backup.error


# Tables.


def _create(cluster: Cluster, keyspace: str, name: str) -> TableDescription:
    made = table(keyspace, name, 70 + len(cluster.nodes[1].tables))
    for node in cluster.nodes.values():
        if made not in node.tables:
            node.tables.append(made)
            node.schema = fake_changes.schema_text(node.tables, node.replication)
            node.write(made, "nb-1-big-Data.db", b"rows of the new table")
    return made


def test_table_that_is_created_while_the_nodes_are_prepared(cluster: Cluster) -> None:
    """It is in the stored schema, so it must be in the backup."""

    def create() -> None:
        if len(cluster.nodes[1].tables) == 2:
            _create(cluster, "ks", "v")

    cluster.nodes[1].on_flush = create
    backup = cluster.backup()
    assert (backup.status, cluster.job(backup).round) == (BackupStatus.CREATED, 2)
    assert "v" in {name for name, _ in cluster.restored(backup, 1)}


@pytest.mark.parametrize("hook", ["on_flush", "on_snapshot"])
def test_tables_in_other_keyspaces_do_not_matter(cluster: Cluster, hook: str) -> None:
    """Tests, migrations and a busy MagnetoDB make tables all day."""
    setattr(cluster.nodes[1], hook, lambda: _create(cluster, "other", f"t{len(cluster.did(''))}"))
    backup = cluster.backup()
    assert (backup.status, cluster.job(backup).round) == (BackupStatus.CREATED, 1)


def test_keyspace_that_is_created_during_a_snapshot_of_all(cluster: Cluster) -> None:
    """Its tables would be selected now, though no selected keyspace has changed."""

    def create() -> None:
        if len(cluster.nodes[1].tables) == 2:
            _create(cluster, "other", "t")

    cluster.nodes[1].on_snapshot = create
    backup = cluster.backup(scope={"type": "all"})
    assert backup.status is BackupStatus.CREATED
    assert cluster.job(backup).round == 2
    keyspaces = {
        t.keyspace for t in cluster.repository.node_manifest(backup.id, cluster.nodes[1].me.host_id)
    }
    assert keyspaces == {"ks", "other"}


def test_node_that_has_not_seen_a_change_of_the_schema(cluster: Cluster) -> None:
    """The schema is read on one node; each node reports its own with its snapshot."""
    cluster.nodes[3].schema = cluster.nodes[3].schema.rstrip() + " -- changed\n"
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "node 127.0.0.3 has another schema of the selected keyspaces" in backup.error


# The same keyspace as the node describes it that executed the statement, and as all others do.
_EXECUTED = "{'class': 'NetworkTopologyStrategy', 'dc2': '1', 'dc1': '3'}"
_LOADED = "{'class': 'NetworkTopologyStrategy', 'dc1': '3', 'dc2': '1'}"


def test_texts_of_one_schema_version_are_not_compared(cluster: Cluster) -> None:
    """The node that executed a statement describes the schema in other words than its peers."""
    node = cluster.nodes[3]
    node.schema = node.schema.rstrip() + " -- in other words\n"
    node.fixed_schema_version = node.me.schema_version
    backup = cluster.backup()
    assert (backup.status, cluster.job(backup).round) == (BackupStatus.CREATED, 1)


def test_node_that_executed_the_statements_has_the_same_schema(cluster: Cluster) -> None:
    """Its versions differ because another keyspace changes all the time; its texts are equal."""
    for number, node in cluster.nodes.items():
        options, dropped = (_EXECUTED, "065123") if number == 3 else (_LOADED, "065000")
        node.schema = node.schema.replace(
            "CREATE TABLE", f"ALTER KEYSPACE ks WITH replication = {options};\n\nCREATE TABLE", 1
        )
        node.schema += f"\nALTER TABLE ks.t DROP gone USING TIMESTAMP 1589286942{dropped};\n"
    backup = cluster.backup()
    assert (backup.status, cluster.job(backup).round) == (BackupStatus.CREATED, 1)


def test_table_that_only_nodes_of_another_release_know(cluster: Cluster) -> None:
    """Releases describe a schema by different texts, but a table has one name and one ID."""
    node = cluster.nodes[3]
    node.me = replace(node.me, version="4.1.12")
    for each in cluster.nodes.values():
        each.members = tuple(other.me for other in cluster.nodes.values())
    cluster.report(3)
    whole = cluster.backup()
    assert (whole.status, whole.error) == (BackupStatus.CREATED, "")
    node.tables.append(table("ks", "v", 77))
    node.schema = fake_changes.schema_text(node.tables, node.replication)
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "node 127.0.0.3 has other tables in the scope of the backup" in backup.error


def test_node_that_knows_no_table_of_the_scope_is_another_round(cluster: Cluster) -> None:
    node = cluster.nodes[3]
    tables, schema = list(node.tables), node.schema

    def forget_once() -> None:
        if cluster.did("snapshot")[2] == 1:
            node.tables, node.schema = [], ""

    def remember() -> None:
        node.tables, node.schema = tables, schema

    node.on_snapshot, node.on_clear = forget_once, remember
    backup = cluster.backup()
    assert (backup.status, cluster.job(backup).round) == (BackupStatus.CREATED, 2)


# What is in memory.


def test_adopted_snapshot_has_the_rows_of_its_own_moment(cluster: Cluster) -> None:
    """The flush was part of an earlier step: rows of the time in between were missing."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.PREPARE))
    node = cluster.nodes[2]
    node.unflushed.append(node.tables[0])
    files = len(cluster.contents(2))
    assert cluster.run(backup, owner="conductor-2").status is BackupStatus.CREATED
    assert len(cluster.contents(2)) == files + 1
    assert cluster.restored(backup, 2) == cluster.contents(2)
    assert cluster.workers.starts(TaskKind.PREPARE.value)["worker-2"] == 1

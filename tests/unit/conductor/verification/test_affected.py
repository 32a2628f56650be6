# SPDX-License-Identifier: Apache-2.0
"""Damage of a pack counts against every backup that needs it, until a backup heals the pack."""

from __future__ import annotations

from magnetodb_backup.database.findings import FoundBy
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.jobs import JobKind
from magnetodb_backup.domain.retention.candidates import State
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.repository.format import names
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX


def damage(cluster: Cluster) -> str:
    """Change the bytes of the only pack of node 2; return its name."""
    (pack,) = cluster.packs(2).packs()
    cluster.damage_pack(2, pack, lambda body: bytes(len(body)))
    return pack


def affected(cluster: Cluster) -> list[tuple[str, ...]]:
    return [finding.affected for finding in cluster.database.findings.list()]


def states(cluster: Cluster, *backups: Backup) -> list[State]:
    cluster.database.retention.put(CLUSTER, Policy(redundancy=1))
    decisions = cluster.database.retention.plan(CLUSTER).decisions
    found = {d.candidate.id: d.candidate.state for d in decisions}
    return [found[backup.id] for backup in backups]


def test_a_backup_that_was_never_verified_is_damaged_too(cluster: Cluster) -> None:
    first, second = cluster.backup(), cluster.backup()
    pack = damage(cluster)
    report = cluster.verify(first)
    assert report["affected"] == {second.id: 1}
    assert affected(cluster) == [(first.id, second.id)]
    (of_second,) = cluster.database.findings.of_backup(second.id, limit=10)
    assert of_second.name == pack
    assert states(cluster, first, second) == [State.DAMAGED, State.DAMAGED]

    third = cluster.backup()
    assert affected(cluster) == []
    assert cluster.database.findings.of_backup(second.id, limit=10) == ()
    assert states(cluster, second, third) == [State.RESTORABLE, State.RESTORABLE]


def test_a_backup_without_the_pack_is_whole(cluster: Cluster) -> None:
    first = cluster.backup()
    damage(cluster)
    node = cluster.nodes[2]
    for table in node.tables:
        for directory in range(2):
            for file in node.data.table_directory(directory, table).glob("*.db"):
                file.unlink()
        node.write(table, "nb-9-big-Data.db", f"compacted {table.name}".encode())
    second = cluster.backup()
    assert cluster.verify(first)["affected"] == {}
    assert states(cluster, first, second) == [State.DAMAGED, State.RESTORABLE]


def test_a_backup_that_runs_meanwhile_is_affected(cluster: Cluster) -> None:
    """It had asked which packs are damaged before the verification ended."""
    first = cluster.backup()
    pack, host_id = damage(cluster), cluster.nodes[2].me.host_id

    def before_start(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.UPLOAD:
            found = [Damage(DamagedObject.PACK, host_id, pack, "corrupt", "")]
            by = FoundBy("verification", first.id, CLUSTER)
            cluster.database.damaged_packs.record(by, found, read_data=True)

    cluster.workers.before_start = before_start
    second = cluster.backup()
    assert affected(cluster) == [(second.id,)]
    assert states(cluster, second) == [State.DAMAGED]


def test_a_deleted_backup_is_not_named_until_it_is_undeleted(cluster: Cluster) -> None:
    first, second = cluster.backup(), cluster.backup()
    cluster.database.backups.request_deletion(second.id)
    cluster.run(second, JobKind.DELETION)
    damage(cluster)
    cluster.verify(first)
    assert affected(cluster) == [(first.id,)]
    cluster.database.deletions.request_undeletion(second.id)
    cluster.run(second, JobKind.UNDELETION)
    assert affected(cluster) == [(first.id, second.id)]


def test_a_manifest_that_cannot_be_read_hides_no_other(cluster: Cluster) -> None:
    first, second, third = (cluster.backup() for _ in range(3))
    container = names.cluster_container(PREFIX, CLUSTER)
    name = names.node_manifest_name(second.id, cluster.nodes[2].me.host_id)
    cluster.store.change(container, name, lambda body: body[:-1])
    damage(cluster)
    assert cluster.verify(first)["affected"] == {third.id: 1}


def test_a_backup_that_was_read_without_a_problem_is_whole(cluster: Cluster) -> None:
    first, second = cluster.backup(), cluster.backup()
    (pack,) = cluster.packs(2).packs()
    whole = b"".join(cluster.packs(2).read_pack(pack))
    damage(cluster)
    cluster.verify(first)
    cluster.damage_pack(2, pack, lambda body: whole)
    cluster.verify(second)
    assert states(cluster, first, second) == [State.DAMAGED, State.RESTORABLE]

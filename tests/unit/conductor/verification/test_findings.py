# SPDX-License-Identifier: Apache-2.0
"""Damage is a finding until a backup or a verification shows that it is healed."""

from __future__ import annotations

from magnetodb_backup.domain.backup.findings import DamagedObject, Finding
from magnetodb_backup.domain.jobs import JobKind
from magnetodb_backup.repository.affected import affected_backups
from magnetodb_backup.repository.format import names
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX


def only(cluster: Cluster, *, healed: bool = False) -> Finding:
    (finding,) = cluster.database.findings.list(healed=healed)
    return finding


def test_damage_is_a_finding_until_a_backup_uploads_the_pack_again(cluster: Cluster) -> None:
    first = cluster.backup()
    (pack,) = cluster.packs(2).packs()
    cluster.damage_pack(2, pack, lambda body: bytes(len(body)))
    cluster.verify(first)
    finding = only(cluster)
    assert (finding.object, finding.name, finding.problem) == (DamagedObject.PACK, pack, "corrupt")
    assert (finding.host_id, finding.cluster) == (cluster.nodes[2].me.host_id, CLUSTER)
    assert finding.job_id == cluster.job(first, JobKind.VERIFICATION).id
    assert finding.found_in == (first.id,)
    assert finding.first_seen == finding.last_seen
    cluster.verify(first)
    again = only(cluster)
    assert again.first_seen == finding.first_seen < again.last_seen
    second = cluster.backup()
    assert cluster.database.findings.list() == ()
    healed = only(cluster, healed=True)
    assert healed.healed_at is not None
    assert healed.healed_by == second.id


def test_every_backup_that_needs_the_pack_is_affected(cluster: Cluster) -> None:
    first, second = cluster.backup(), cluster.backup()
    (pack,) = cluster.packs(2).packs()
    cluster.lose_pack(2, pack)
    cluster.verify(first, read_data=False)
    finding = only(cluster)
    affected = affected_backups(cluster.repository, [first.id, second.id], [finding])
    found = affected[finding.host_id, pack]
    assert [a.backup_id for a in found] == [first.id, second.id]
    for each in found:
        assert each.tables == ("ks.t", "ks.u")
        assert each.file_count == len(each.files) == 4
        assert "ks/t/nb-1-big-Data.db" in each.files


def test_a_verification_that_reads_the_pack_again_closes_it(cluster: Cluster) -> None:
    backup = cluster.backup()
    (pack,) = cluster.packs(2).packs()
    whole = b"".join(cluster.packs(2).read_pack(pack))
    cluster.damage_pack(2, pack, lambda body: bytes(len(body)))
    cluster.verify(backup)
    cluster.damage_pack(2, pack, lambda body: whole)
    cluster.verify(backup, read_data=False)
    assert only(cluster).name == pack  # the pack was not read
    cluster.verify(backup)
    assert cluster.database.findings.list() == ()
    assert only(cluster, healed=True).healed_by == cluster.job(backup, JobKind.VERIFICATION).id
    cluster.damage_pack(2, pack, lambda body: b"")
    cluster.verify(backup)
    reopened = only(cluster)
    assert (reopened.problem, reopened.healed_by) == ("size", "")


def test_a_lost_node_manifest_is_a_finding_of_its_backup(cluster: Cluster) -> None:
    backup, other = cluster.backup(), cluster.backup()
    host_id = cluster.nodes[3].me.host_id
    (pack,) = cluster.packs(3).packs()
    cluster.damage_pack(3, pack, lambda body: bytes(len(body)))
    cluster.verify(backup)
    container = names.cluster_container(PREFIX, CLUSTER)
    cluster.store.delete(container, names.node_manifest_name(backup.id, host_id))
    cluster.verify(backup)
    found = {f.object: f for f in cluster.database.findings.list()}
    assert set(found) == {DamagedObject.PACK, DamagedObject.MANIFEST}  # it was not read again
    manifest = found[DamagedObject.MANIFEST]
    assert (manifest.host_id, manifest.name) == (host_id, backup.id)
    affected = affected_backups(cluster.repository, [backup.id, other.id], [manifest])
    (only_this,) = affected[host_id, backup.id]
    assert (only_this.backup_id, only_this.tables) == (backup.id, ("ks.t", "ks.u"))
    cluster.database.backups.request_deletion(backup.id)
    cluster.run(backup, JobKind.DELETION)
    assert [f.object for f in cluster.database.findings.list()] == [DamagedObject.PACK]


def test_a_schema_that_is_put_back_is_healed(cluster: Cluster) -> None:
    backup = cluster.backup()
    container, name = names.cluster_container(PREFIX, CLUSTER), names.schema_name(backup.id)
    cluster.store.change(container, name, lambda body: body + b"\n")
    cluster.verify(backup, read_data=False)
    finding = only(cluster)
    assert (finding.object, finding.host_id, finding.name) == (DamagedObject.SCHEMA, "", backup.id)
    cluster.store.change(container, name, lambda body: body[:-1])
    cluster.verify(backup, read_data=False)
    assert cluster.database.findings.list() == ()

# SPDX-License-Identifier: Apache-2.0
"""Whole backups of a cluster, from the request to the commit."""

from __future__ import annotations

from datetime import datetime

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.errors import NotFound
from magnetodb_backup.repository.format.names import manifest_name
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER


def test_backup_is_created_and_restores(cluster: Cluster) -> None:
    backup = cluster.backup(name="first")
    assert (backup.status, backup.error) == (BackupStatus.CREATED, "")
    assert cluster.job(backup).status is JobStatus.DONE
    for number in cluster.nodes:
        assert cluster.restored(backup, number) == cluster.contents(number)
    assert cluster.verify(backup)["problems"] == []
    assert cluster.snapshots() == []


def test_records_of_a_backup(cluster: Cluster) -> None:
    backup = cluster.backup()
    assert backup.files == 12
    assert backup.bytes == sum(
        len(content) for n in cluster.nodes for content in cluster.contents(n).values()
    )
    assert (backup.bytes_uploaded, backup.bytes_reused) == (backup.bytes, 0)
    assert backup.coverage == {
        "ks": {"keyspace": "ks", "ranges": 3, "whole": 3, "lost": 0, "status": "complete"}
    }
    assert backup.skew_ms is not None
    assert 0 <= backup.skew_ms < 60_000
    assert backup.phase == "commit"
    for number, node in cluster.nodes.items():
        record = cluster.node_backup(backup, number)
        assert (record.phase, record.error, record.address) == ("done", "", node.me.address)
        assert record.progress.files_done == record.progress.files_total == 4
        assert record.manifest_size > 0


def test_backup_manifest(cluster: Cluster) -> None:
    backup = cluster.backup(name="first")
    manifest = cluster.repository.read_backup(backup.id)
    assert (manifest.name, manifest.cluster, manifest.status) == ("first", CLUSTER, "CREATED")
    assert [n.host_id for n in manifest.nodes] == [n.me.host_id for n in cluster.nodes.values()]
    assert [n.tokens for n in manifest.nodes] == [(100,), (200,), (300,)]
    assert manifest.missing_nodes == ()
    assert manifest.schema_version == "schema-1"
    assert [t["table"] for t in manifest.selection["tables"]] == ["t", "u"]
    assert cluster.repository.read_schema(backup.id) == cluster.nodes[1].schema
    for share in manifest.nodes:
        stored = cluster.repository.digest_node_manifest(backup.id, share.host_id)
        assert stored == share.manifest


def test_skew_is_the_spread_of_all_snapshots(cluster: Cluster) -> None:
    backup = cluster.backup()
    manifest = cluster.repository.read_backup(backup.id)
    begin = min(datetime.fromisoformat(n.snapshot_started_at) for n in manifest.nodes)
    end = max(datetime.fromisoformat(n.snapshot_finished_at) for n in manifest.nodes)
    assert manifest.skew_ms == backup.skew_ms == int((end - begin).total_seconds() * 1000)


def test_commit_comes_last(cluster: Cluster) -> None:
    backup = cluster.backup()
    assert cluster.store.puts[-1] == manifest_name(backup.id)
    assert cluster.store.puts.count(manifest_name(backup.id)) == 1


def test_all_are_prepared_before_any_snapshot(cluster: Cluster) -> None:
    flushed_at_snapshot: list[list[int]] = []
    for node in cluster.nodes.values():
        node.on_snapshot = lambda: flushed_at_snapshot.append(cluster.did("flush"))
    cluster.backup()
    assert flushed_at_snapshot == [[1, 1, 1]] * 3


def test_only_the_selection_is_backed_up(cluster: Cluster) -> None:
    backup = cluster.backup(scope={"type": "tables", "tables": ["ks.u"]})
    assert {table for table, _ in cluster.restored(backup, 1)} == {"u"}
    assert backup.selection is not None
    assert [t["table"] for t in backup.selection["tables"]] == ["u"]


def test_second_backup_stores_what_changed(cluster: Cluster) -> None:
    first = cluster.backup()
    cluster.store.packs_put()
    cluster.nodes[2].write(cluster.nodes[2].tables[0], "nb-3-big-Data.db", b"new rows")
    second = cluster.backup()
    assert len(cluster.store.packs_put()) == 1
    assert (second.bytes_uploaded, second.bytes_reused) == (8, first.bytes)
    assert cluster.restored(second, 2) == cluster.contents(2) != cluster.restored(first, 2)


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ({"type": "keyspaces", "keyspaces": ["nope"]}, "keyspace 'nope' does not exist"),
        ({"type": "tables", "tables": ["ks.nope"]}, "table ks.nope does not exist"),
        ({"type": "galaxy"}, "'galaxy' is not a scope type"),
    ],
)
def test_scope_that_selects_nothing(cluster: Cluster, scope: dict[str, object], told: str) -> None:
    backup = cluster.backup(scope=scope)
    assert backup.status is BackupStatus.CREATE_FAILED
    assert told in backup.error
    assert cluster.did("flush") == [0, 0, 0]


def test_corrupt_sstable_fails_the_backup(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    node.write(node.tables[0], "nb-1-big-Digest.crc32", b"12345")
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "node 127.0.0.2: " in backup.error
    assert "nb-1-big-Data.db does not match its Digest.crc32" in backup.error
    assert cluster.snapshots() == []
    with pytest.raises(NotFound):
        cluster.repository.read_backup(backup.id)


def test_marked_corrupt_sstable_makes_it_partial(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    node.write(node.tables[0], "nb-1-big-Digest.crc32", b"12345")
    backup = cluster.backup(on_corrupt="mark")
    assert backup.status is BackupStatus.PARTIAL
    assert "1 corrupt files, marked in the node manifests" in backup.notes
    (path,) = cluster.node_backup(backup, 2).corrupt_files
    assert path.endswith("nb-1-big-Data.db")
    assert cluster.restored(backup, 2) == cluster.contents(2)


def test_node_manifest_that_something_else_wrote(cluster: Cluster) -> None:
    """Between the upload and the commit; the backup would not restore."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.RELEASE))
    name = f"backups/{backup.id}/nodes/{cluster.nodes[3].me.host_id}.jsonl.zst"
    cluster.store.change("backups.test%20cluster", name, lambda body: body + b"x")
    failed = cluster.run(backup, owner="conductor-2")
    assert failed.status is BackupStatus.CREATE_FAILED
    assert f"the node manifest {name} has SHA-256" in failed.error
    with pytest.raises(NotFound):
        cluster.repository.read_backup(backup.id)

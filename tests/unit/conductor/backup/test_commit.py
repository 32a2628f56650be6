# SPDX-License-Identifier: Apache-2.0
"""What the commit wants proven, and that it may be repeated."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from magnetodb_backup.conductor.backup.commit import commit_backup, coverage_of, plan_commit
from magnetodb_backup.conductor.job import Results
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.tables import KeyspaceDescription, Selection
from magnetodb_backup.errors import (
    Cancelled,
    CorruptObject,
    MissingWorker,
    NotFound,
    StorageRefused,
    StorageUnavailable,
)
from magnetodb_backup.repository.format.names import manifest_name, node_manifest_name, schema_name
from magnetodb_backup.tasks.backup_steps import CommitPlan
from magnetodb_backup.tasks.codec import encode
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_node import SIMPLE, member

CONTAINER = "backups.test%20cluster"
Ready = tuple[Cluster, Backup, dict[str, Any]]


@pytest.fixture
def ready(cluster: Cluster) -> Ready:
    """A backup that needs nothing but its commit, and the results of its steps."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.RELEASE))
    return cluster, backup, cluster.database.jobs.step_results(cluster.job(backup).id, 1)


def _plan(ready: Ready) -> Results:
    cluster, backup, stored = ready
    results = Results(stored)
    plan = plan_commit(cluster.repository, backup, results)
    return Results({**stored, CommitPlan.step: encode(plan)})


def _commit(
    ready: Ready, planned: Results | None = None, check: Callable[[], None] = lambda: None
) -> Backup:
    cluster, backup, _ = ready
    results = planned or _plan(ready)
    commit_backup(cluster.database, cluster.repository, backup, results, check)
    return cluster.database.backups.get(backup.id)


def _manifest(ready: Ready) -> bytes:
    cluster, backup, _ = ready
    return b"".join(cluster.store.read(CONTAINER, manifest_name(backup.id)))


def test_commit_may_be_repeated(ready: Ready) -> None:
    first, second = _commit(ready), _commit(ready)
    assert first.status is second.status is BackupStatus.CREATED
    assert (first.files, first.bytes) == (second.files, second.bytes)
    cluster, backup, _ = ready
    stored = cluster.repository.read_backup(backup.id)
    assert [n.files for n in stored.nodes] == [4, 4, 4]


def test_two_conductors_write_identical_bytes(ready: Ready) -> None:
    """The plan has the time of the commit; each conductor that runs the commit reads the plan."""
    planned = _plan(ready)
    first = _commit(ready, planned)
    manifest = _manifest(ready)
    second = _commit(ready, planned)
    assert _manifest(ready) == manifest
    assert first.manifest_sha256 == second.manifest_sha256 == sha256(manifest).hexdigest()


def test_cancelled_commit_writes_nothing(ready: Ready) -> None:
    """The ownership is checked right before the manifest is written."""
    cluster, backup, _ = ready

    def lost() -> None:
        raise Cancelled("another conductor owns the job")

    with pytest.raises(Cancelled):
        _commit(ready, check=lost)
    assert manifest_name(backup.id) not in cluster.store.puts
    assert cluster.database.backups.get(backup.id).status is BackupStatus.CREATING


def test_plan_is_stored_before_the_manifest(cluster: Cluster) -> None:
    """A conductor that dies in between leaves the plan to its successor."""
    backup = cluster.request()

    def fail(name: str) -> None:
        if name == manifest_name(backup.id):
            raise StorageUnavailable("503")

    cluster.store.before_put = fail
    cluster.run(backup, still_owner=cluster.until(backup, CommitPlan.step))
    plan = _stored(cluster, backup).of(CommitPlan)
    cluster.store.before_put = lambda name: None
    done = cluster.run(backup)
    assert (done.status, done.phase) == (BackupStatus.CREATED, Phase.COMMIT.value)
    stored = b"".join(cluster.store.read(CONTAINER, manifest_name(backup.id)))
    assert stored == plan.manifest.encode()


def test_commit_of_a_job_of_an_older_release(cluster: Cluster) -> None:
    """It wrote the manifest without a plan and died before the database had its end."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.RELEASE))
    ready = (cluster, backup, cluster.database.jobs.step_results(cluster.job(backup).id, 1))
    older = _plan(ready).of(CommitPlan)
    cluster.repository.commit_text(backup.id, older.manifest.encode())
    done = cluster.run(backup)
    assert done.status is BackupStatus.CREATED
    manifest = _manifest(ready)
    assert manifest == _stored(cluster, backup).of(CommitPlan).manifest.encode()
    assert done.manifest_sha256 == sha256(manifest).hexdigest()


def _stored(cluster: Cluster, backup: Backup) -> Results:
    return Results(cluster.database.jobs.step_results(cluster.job(backup).id, 1))


def test_record_follows_the_manifest(ready: Ready) -> None:
    """If the manifest cannot be written, the backup is not created."""
    cluster, backup, _ = ready

    def fail(name: str) -> None:
        raise StorageRefused("the account is closed")

    cluster.store.before_put = fail
    with pytest.raises(StorageRefused):
        _commit(ready)
    assert cluster.database.backups.get(backup.id).status is BackupStatus.CREATING


@pytest.mark.parametrize("what", ["node manifest", "schema"])
@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_what_workers_stored_is_read_again(ready: Ready, what: str, damage: str) -> None:
    cluster, backup, _ = ready
    name = node_manifest_name(backup.id, cluster.nodes[2].me.host_id)
    if what == "schema":
        name = schema_name(backup.id)
    if damage == "missing":
        cluster.store.delete(CONTAINER, name)
    else:
        cluster.store.change(
            CONTAINER, name, lambda body: body[:-1] + (b"?" if damage == "changed" else b"")
        )
    with pytest.raises((CorruptObject, NotFound), match=name):
        _commit(ready)
    assert manifest_name(backup.id) not in cluster.store.puts


def test_marked_files_make_it_partial(ready: Ready) -> None:
    cluster, _, results = ready
    results["upload"]["results"][cluster.nodes[1].me.host_id]["corrupt_files"] = ["/data/x"]
    done = _commit(ready)
    assert (done.status, done.notes) == (
        BackupStatus.PARTIAL,
        ("1 corrupt files, marked in the node manifests",),
    )


def test_sstables_that_a_restore_would_object_to_are_named(ready: Ready) -> None:
    """The backup is whole, but says which tables it may not be able to restore."""
    cluster, _, results = ready
    for number, tables in ((1, ["ks.t"]), (2, ["ks.u"])):
        upload = results["upload"]["results"][cluster.nodes[number].me.host_id]
        upload["unrestorable"] = {"zz": tables}
    done = _commit(ready)
    assert (done.status, done.error) == (BackupStatus.CREATED, "")
    assert done.notes == (
        "SSTables of version zz, which this release may not be able to restore, in ks.t, ks.u; "
        "run nodetool upgradesstables on them",
    )


def test_missing_share_is_counted_against_the_ring(ready: Ready) -> None:
    cluster, backup, results = ready
    del results["upload"]["results"][cluster.nodes[1].me.host_id]
    with pytest.raises(MissingWorker, match=r"without 127\.0\.0\.1 no replica is left"):
        _commit(ready)
    for keyspace in results["resolve"]["selection"]["keyspaces"]:
        keyspace["replication"]["replication_factor"] = "2"
    done = _commit(ready)
    assert done.status is BackupStatus.PARTIAL
    assert cluster.repository.read_backup(backup.id).missing_nodes == (cluster.nodes[1].me.host_id,)


def test_skew_reaches_from_the_first_begin_to_the_last_end(ready: Ready) -> None:
    cluster, _, results = ready
    times = [("00:00.500", "00:01.000"), ("00:00.000", "00:00.250"), ("00:02.000", "00:03.125")]
    snapshots = results["snapshot"]["results"]
    for node, (begin, end) in zip(cluster.nodes.values(), times, strict=True):
        snapshots[node.me.host_id] |= {
            "started_at": f"2026-01-01T00:{begin}+00:00",
            "finished_at": f"2026-01-01T01:{end}+01:00",
        }
    assert _commit(ready).skew_ms == 3125


def test_coverage_names_absent_nodes_and_keyspaces() -> None:
    ring = [member(1), member(2)]
    selection = Selection(
        (KeyspaceDescription("ks", SIMPLE), KeyspaceDescription("k2", SIMPLE)), ()
    )
    present = {member(1).host_id}
    with pytest.raises(MissingWorker) as failure:
        coverage_of(ring, selection, present, [])
    assert str(failure.value) == (
        "without 127.0.0.2 no replica is left of some token ranges of the keyspaces ks, k2; "
        "bring one of these nodes back"
    )

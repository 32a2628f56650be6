# SPDX-License-Identifier: Apache-2.0
"""A schema or a ring that changes during the snapshot, and backups that are cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.errors import CommandFailed, NotFound
from magnetodb_backup.tasks.kinds import TaskKind, snapshot_tag
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_node import member
from tests.unit.worker.working import BACKUP_KINDS

# Rounds.


def _change_schema(cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        node.schema = node.schema.rstrip() + " -- changed\n"


def _change_tokens(cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        first, *others = node.members
        node.members = (replace(first, tokens=(first.tokens[0] + 1,)), *others)


def _on_snapshots(cluster: Cluster, change: Callable[[Cluster], None], rounds: int) -> None:
    """Change something while node 1 takes its snapshot, in so many rounds."""
    left = [rounds]

    def happen() -> None:
        if left[0]:
            left[0] -= 1
            change(cluster)

    cluster.nodes[1].on_snapshot = happen


@pytest.mark.parametrize("change", [_change_schema, _change_tokens])
@pytest.mark.parametrize("rounds", [1, 2])
def test_change_during_the_snapshot_is_another_round(
    cluster: Cluster, change: Callable[[Cluster], None], rounds: int
) -> None:
    _on_snapshots(cluster, change, rounds)
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATED
    assert cluster.job(backup).round == rounds + 1
    assert cluster.did("flush") == cluster.did("snapshot") == [rounds + 1] * 3
    assert cluster.snapshots() == []
    assert cluster.repository.read_schema(backup.id) == cluster.nodes[1].schema
    host_id = cluster.nodes[2].me.host_id
    header = cluster.repository.node_manifest(backup.id, host_id).header
    assert header.snapshot_tag == snapshot_tag(backup.id, rounds + 1)
    assert cluster.restored(backup, 2) == cluster.contents(2)


@pytest.mark.parametrize(
    ("change", "told"),
    [(_change_schema, "the schema changed"), (_change_tokens, "the ring of the census")],
)
def test_three_rounds_are_enough(
    cluster: Cluster, change: Callable[[Cluster], None], told: str
) -> None:
    _on_snapshots(cluster, change, 100)
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert told in backup.error
    assert "in each of 3 rounds; repeat the backup while the schema" in backup.error
    assert cluster.job(backup).error_code == "SchemaChanged"
    assert cluster.did("snapshot") == [3, 3, 3]
    assert cluster.snapshots() == []
    with pytest.raises(NotFound):
        cluster.repository.read_backup(backup.id)


def _drop_table(cluster: Cluster) -> None:
    if len(cluster.nodes[1].tables) > 1:
        _change_schema(cluster)
        for node in cluster.nodes.values():
            node.tables = node.tables[:1]


@pytest.mark.parametrize("hook", ["on_flush", "on_snapshot"])
@pytest.mark.parametrize("node", [1, 3])
def test_table_that_is_dropped_meanwhile(cluster: Cluster, hook: str, node: int) -> None:
    """Whether or not the other nodes' commands still found it, the next round leaves it out."""
    setattr(cluster.nodes[node], hook, lambda: _drop_table(cluster))
    backup = cluster.backup()
    assert (backup.status, backup.error) == (BackupStatus.CREATED, "")
    assert cluster.job(backup).round == 2
    assert {table for table, _ in cluster.restored(backup, 2)} == {"t"}
    assert cluster.snapshots() == []


@pytest.mark.parametrize("hook", ["on_flush", "on_snapshot"])
def test_table_that_was_asked_for_and_is_dropped(cluster: Cluster, hook: str) -> None:
    setattr(cluster.nodes[1], hook, lambda: _drop_table(cluster))
    backup = cluster.backup(scope={"type": "tables", "tables": ["ks.t", "ks.u"]})
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "table ks.u does not exist" in backup.error
    assert cluster.snapshots() == []


def test_refused_command_is_no_new_round(cluster: Cluster) -> None:
    def refuse() -> None:
        raise CommandFailed("no")

    cluster.nodes[2].on_snapshot = refuse
    backup = cluster.backup()
    assert backup.error == "node 127.0.0.2: no"
    assert cluster.job(backup).round == 1
    assert cluster.snapshots() == []


def test_node_that_joins_meanwhile_is_part_of_the_next_round(cluster: Cluster) -> None:
    def join(cluster: Cluster) -> None:
        for node in cluster.nodes.values():
            node.members = (*node.members, member(7))

    _on_snapshots(cluster, join, 1)
    backup = cluster.backup()
    assert "127.0.0.7" in backup.error
    assert "no worker has ever reported it" in backup.error


def test_node_that_joins_after_the_census_is_missed(cluster: Cluster) -> None:
    """It takes ranges over while the others still flush: no backup is whole without it."""

    def join() -> None:
        for node in cluster.nodes.values():
            node.members = (*[n.me for n in cluster.nodes.values()], member(7))

    cluster.nodes[1].on_flush = join
    backup = cluster.backup()
    assert backup.status is BackupStatus.CREATE_FAILED
    assert "127.0.0.7" in backup.error
    assert "no worker has ever reported it" in backup.error
    assert cluster.did("snapshot") == [0, 0, 0]


def test_conductor_that_dies_in_the_second_round(cluster: Cluster) -> None:
    _on_snapshots(cluster, _change_schema, 1)
    backup = cluster.request()
    cluster.run(backup, still_owner=lambda: "snapshot" not in cluster.steps(backup, 2))
    assert cluster.job(backup).round == 2
    cluster.run(backup, owner="conductor-2")
    assert cluster.database.backups.get(backup.id).status is BackupStatus.CREATED
    assert cluster.did("snapshot") == [2, 2, 2]


# Cancelling.


def _cancel_at(cluster: Cluster, kind: TaskKind) -> None:
    """Ask for the end when the first worker is told to do this."""

    def cancel(worker_id: str, started: TaskKind) -> None:
        if started is kind:
            (job,) = cluster.database.jobs.unfinished()
            cluster.database.jobs.request_cancel(job.id)

    cluster.workers.before_start = cancel


@pytest.mark.parametrize(
    "kind", [k for k in BACKUP_KINDS if k is not TaskKind.RELEASE], ids=lambda k: k.value
)
def test_cancelling_at_any_step(cluster: Cluster, kind: TaskKind) -> None:
    _cancel_at(cluster, kind)
    backup = cluster.backup(figures=True)
    assert backup.status is BackupStatus.CANCELLED
    assert backup.error == "cancelled on request"
    assert backup.finished_at is not None
    assert cluster.job(backup).status is JobStatus.CANCELLED
    assert cluster.snapshots() == []
    with pytest.raises(NotFound):
        cluster.repository.read_backup(backup.id)


def test_cancelling_before_the_start(cluster: Cluster) -> None:
    backup = cluster.request()
    cluster.database.jobs.request_cancel(cluster.job(backup).id)
    assert cluster.run(backup).status is BackupStatus.CANCELLED
    assert cluster.workers.started == {}


def test_cancelling_while_workers_are_waited_for(cluster: Cluster) -> None:
    cluster.clock.now += 1000  # none of them has reported since
    backup = cluster.request()
    job = cluster.job(backup)
    threading.Timer(0.2, cluster.database.jobs.request_cancel, [job.id]).start()
    started = time.monotonic()
    assert cluster.run(backup, worker_timeout=60.0).status is BackupStatus.CANCELLED
    assert time.monotonic() - started < 20


def test_cancelling_after_the_commit_is_too_late(cluster: Cluster) -> None:
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.RELEASE))
    cluster.database.backups.set_status(backup.id, BackupStatus.CREATED)
    cluster.database.jobs.request_cancel(cluster.job(backup).id)
    assert cluster.run(backup, owner="conductor-2").status is BackupStatus.CREATED


def test_cancelled_backup_whose_worker_is_lost(cluster: Cluster) -> None:
    """The end does not wait for ever; the worker removes its snapshot when it is back."""
    _cancel_at(cluster, TaskKind.UPLOAD)
    cancel = cluster.workers.before_start

    def lose(worker_id: str, kind: TaskKind) -> None:
        cancel(worker_id, kind)
        if kind is TaskKind.UPLOAD:
            cluster.workers.down.add("worker-2")

    cluster.workers.before_start = lose
    backup = cluster.run(cluster.request(), outage_deadline=0.15)
    assert backup.status is BackupStatus.CANCELLED
    assert cluster.database.backups.live_ids(backup.cluster) == ()


def test_conductor_that_dies_after_the_decision(cluster: Cluster) -> None:
    """What was decided is decided: the adopter cleans up and shows it, at once."""
    backup = cluster.request()
    cluster.run(backup, still_owner=cluster.until(backup, Phase.SNAPSHOT))
    job = cluster.job(backup)
    decision = {"code": "StillUnavailable", "message": "the account is closed"}
    cluster.database.jobs.save_step(job.id, job.round, "failed", decision)
    failed = cluster.run(backup, owner="conductor-2")
    assert (failed.status, failed.error) == (BackupStatus.CREATE_FAILED, "the account is closed")
    assert cluster.did("snapshot") == [1, 1, 1]
    assert cluster.snapshots() == []

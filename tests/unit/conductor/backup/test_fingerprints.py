# SPDX-License-Identifier: Apache-2.0
"""Backups with figures: what is proven, and what becomes of figures that cannot be taken."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.fingerprints import (
    RangeFingerprint,
    RangeState,
    TokenRange,
)
from magnetodb_backup.domain.partitioners import MURMUR3, RANDOM
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.repository.format.names import cluster_container
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

T, U = TableName("ks", "t"), TableName("ks", "u")


@pytest.fixture
def filled(cluster: Cluster) -> Cluster:
    cluster.rows[T] = [(token, f"row {token}") for token in range(-1000, 1000, 10)]
    cluster.rows[U] = [(50, "one")]
    return cluster


def _figures(cluster: Cluster, backup: Backup) -> list[RangeFingerprint]:
    manifest = cluster.repository.read_backup(backup.id)
    return [
        figure
        for stored in manifest.figures
        for figure in cluster.repository.fingerprints(backup.id, stored)
    ]


def test_every_row_is_in_a_steady_range(filled: Cluster) -> None:
    backup = filled.backup(figures=True)
    assert (backup.status, backup.notes, backup.figures) == (BackupStatus.CREATED, (), True)
    figures = _figures(filled, backup)
    assert {f.state for f in figures} == {RangeState.STEADY}
    rows: Counter[TableName] = Counter()
    for figure in figures:
        assert figure.fingerprint is not None
        rows[figure.table] += figure.fingerprint.rows
    assert rows == {T: 200, U: 1}
    for table in (T, U):
        ranges = sorted(f.range for f in figures if f.table == table)
        assert (ranges[0].start, ranges[-1].end) == (MURMUR3.lowest, MURMUR3.highest)
        assert all(a.end == b.start for a, b in pairwise(ranges))
    assert filled.verify(backup)["problems"] == []


def test_rows_of_an_old_partitioner_are_all_read(cluster: Cluster) -> None:
    """Tokens of RandomPartitioner reach far above those of the default partitioner."""
    for node in cluster.nodes.values():
        node.partitioner = "RandomPartitioner"
    cluster.rows[T] = [((1 << 127) // 100 * n, f"row {n}") for n in range(101)]
    cluster.rows[U] = [(0, "lowest"), (1 << 127, "highest")]
    figures = _figures(cluster, cluster.backup(figures=True))
    rows: Counter[TableName] = Counter()
    for figure in figures:
        assert figure.fingerprint is not None
        rows[figure.table] += figure.fingerprint.rows
    assert rows == {T: 101, U: 2}
    assert {f.range.start for f in figures} >= {RANDOM.lowest}
    assert {f.range.end for f in figures} >= {RANDOM.highest}


def test_each_node_reads_what_it_owns(filled: Cluster) -> None:
    read: dict[int, set[TokenRange]] = {n: set() for n in filled.nodes}
    for number, node in filled.nodes.items():
        node.on_read = lambda of, range_, number=number: read[number].add(range_)  # type: ignore[misc]
    filled.backup(figures=True)
    assert {r.end for r in read[2]} <= set(range(101, 201))
    assert {r.end for r in read[3]} <= set(range(201, 301))
    assert not read[1] & read[2]
    assert max(map(len, read.values())) <= 64


def test_backups_have_no_figures_unless_asked_for(filled: Cluster) -> None:
    read: list[TableName] = []
    for node in filled.nodes.values():
        node.on_read = lambda of, range_: read.append(of)
    backup = filled.backup()
    assert (backup.figures, backup.error, backup.notes) == (False, "", ())
    assert filled.repository.read_backup(backup.id).figures == ()
    assert read == []
    assert not {"figures_before", "figures_after"} & filled.steps(backup)


def test_the_first_look_precedes_the_flush_and_the_second_follows_all_snapshots(
    filled: Cluster,
) -> None:
    """What is written in between cannot be proven, and what is older is in the snapshots."""
    done: list[tuple[list[int], list[int]]] = []
    for node in filled.nodes.values():
        node.on_read = lambda of, range_: done.append((filled.did("flush"), filled.did("snapshot")))
    filled.backup(figures=True)
    half = len(done) // 2
    assert all(found == ([0, 0, 0], [0, 0, 0]) for found in done[:half])
    assert all(found == ([1, 1, 1], [1, 1, 1]) for found in done[half:])


def test_rows_that_change_meanwhile(filled: Cluster) -> None:
    for node in filled.nodes.values():
        node.on_flush = lambda: filled.rows[T].append((150, "new"))
    backup = filled.backup(figures=True)
    assert (backup.status, backup.figures, backup.notes) == (BackupStatus.CREATED, True, ())
    changing = [f for f in _figures(filled, backup) if f.state is not RangeState.STEADY]
    assert [(f.table, f.state, f.fingerprint) for f in changing] == [(T, RangeState.CHANGING, None)]
    assert changing[0].range.start < 150 <= changing[0].range.end


def test_views_and_cassandras_own_tables_are_left_out(filled: Cluster) -> None:
    backup = filled.backup(scope={"type": "all"}, figures=True)
    assert {f.table for f in _figures(filled, backup)} == {T, U}


def test_a_table_that_cannot_be_read_is_told(filled: Cluster) -> None:
    def refuse(of: TableName, range_: TokenRange) -> None:
        if of == U:
            raise CommandFailed("too many tombstones")

    filled.nodes[2].on_read = refuse
    backup = filled.backup(figures=True)
    assert (backup.status, backup.figures) == (BackupStatus.CREATED, True)
    assert backup.notes == (
        "the fingerprints lack ranges that could not be read: ks.u (too many tombstones)",
    )
    states = {f.state for f in _figures(filled, backup) if f.table == U}
    assert states == {RangeState.STEADY, RangeState.UNREAD}


@pytest.mark.parametrize("kind", [TaskKind.FIGURES_BEFORE, TaskKind.FIGURES_AFTER])
def test_figures_that_cannot_be_taken_do_not_fail_the_backup(
    filled: Cluster, kind: TaskKind
) -> None:
    """The worker is lost for that, and back for the rest."""

    def lose(worker_id: str, started: TaskKind) -> None:
        if started is kind:
            filled.workers.down.add("worker-2")
        else:
            filled.workers.down.discard("worker-2")

    filled.workers.before_start = lose
    backup = filled.run(filled.request(figures=True), outage_deadline=0.15)
    assert (backup.status, backup.figures) == (BackupStatus.CREATED, False)
    (note,) = backup.notes
    assert note.startswith("without fingerprints, which restore --check needs: node 127.0.0.2: ")
    assert "worker worker-2 did not answer" in note
    assert filled.repository.read_backup(backup.id).figures == ()


def test_figures_that_cannot_be_stored(filled: Cluster) -> None:
    def refuse(name: str) -> None:
        if "/figures/" in name:
            raise CommandFailed("no room")

    filled.store.before_put = refuse
    backup = filled.backup(figures=True)
    assert (backup.status, backup.figures) == (BackupStatus.CREATED, False)
    assert "node 127.0.0.1: no room; node 127.0.0.2: no room" in backup.notes[0]


def test_figures_that_something_else_wrote(filled: Cluster) -> None:
    backup = filled.request(figures=True)
    filled.run(backup, still_owner=filled.until(backup, Phase.RELEASE))
    name = f"backups/{backup.id}/figures/{filled.nodes[3].me.host_id}.jsonl.zst"
    filled.store.change(cluster_container(PREFIX, CLUSTER), name, lambda body: body + b"x")
    failed = filled.run(backup, owner="conductor-2")
    assert failed.status is BackupStatus.CREATE_FAILED
    assert f"the fingerprints {name} has SHA-256" in failed.error


def test_a_node_that_is_missing_has_its_ranges_read_by_others(filled: Cluster) -> None:
    for node in filled.nodes.values():
        node.replication["replication_factor"] = "2"
    filled.fall_silent(3)
    backup = filled.backup(allow_partial=True, figures=True)
    assert (backup.status, backup.figures) == (BackupStatus.PARTIAL, True)
    assert sum(f.fingerprint.rows for f in _figures(filled, backup) if f.fingerprint) == 201
    assert len(filled.repository.read_backup(backup.id).figures) == 2


def test_a_node_that_leaves_the_backup_takes_the_figures_with_it(filled: Cluster) -> None:
    for node in filled.nodes.values():
        node.replication["replication_factor"] = "2"
    filled.nodes[2].on_flush = lambda: (_ for _ in ()).throw(CommandFailed("no flush"))
    backup = filled.backup(allow_partial=True, figures=True)
    assert (backup.status, backup.figures) == (BackupStatus.PARTIAL, False)
    assert f"the nodes {filled.nodes[2].me.host_id} left the backup" in backup.notes[-1]

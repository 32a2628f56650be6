# SPDX-License-Identifier: Apache-2.0
"""A worker's figures: two looks at its ranges, and the check of restored tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.fingerprints import (
    RangeFingerprint,
    RangeState,
    RowDigest,
    TableFingerprints,
    TokenRange,
)
from magnetodb_backup.domain.partitioners import MURMUR3
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    Cancelled,
    CassandraUnavailable,
    CommandFailed,
    CorruptObject,
    NoSpace,
    StorageRefused,
)
from magnetodb_backup.repository.format.names import cluster_container
from magnetodb_backup.tasks.backup import FingerprintsStored, FirstRead
from magnetodb_backup.tasks.codec import encode
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.cassandra.tree import table
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import BACKUP, PREFIX, Working

T, U = TableName("ks", "t"), TableName("ks", "u")
LEFT, RIGHT = TokenRange(MURMUR3.lowest, 0), TokenRange(0, MURMUR3.highest)
RANGES = [LEFT.as_json(), RIGHT.as_json()]
ROWS = [(-9, "a"), (-5, "b"), (-5, "c"), (7, "d")]


@pytest.fixture
def worker(tmp_path: Path) -> Working:
    working = Working(tmp_path)
    working.cluster.ensure()
    working.node.rows = {T: list(ROWS), U: []}
    return working


def _before(worker: Working, *tables: TableName) -> FirstRead:
    names = [[t.keyspace, t.table] for t in tables or (U, T)]
    read: FirstRead = worker.do(TaskKind.FIGURES_BEFORE, tables=names, ranges=RANGES)
    return read


def _after(worker: Working) -> FingerprintsStored:
    stored: FingerprintsStored = worker.do(TaskKind.FIGURES_AFTER)
    return stored


def _stored(worker: Working, result: FingerprintsStored) -> list[RangeFingerprint]:
    assert result.figures is not None
    return list(worker.cluster.fingerprints(BACKUP, result.figures))


def _steady(of: TableName, range_: TokenRange, *rows: str) -> RangeFingerprint:
    digest = RowDigest()
    digest.add(rows)
    return RangeFingerprint(of, range_, RangeState.STEADY, digest.fingerprint())


def test_two_equal_looks_are_stored(worker: Working) -> None:
    assert _before(worker) == FirstRead({})
    result = _after(worker)
    assert _stored(worker, result) == [
        _steady(T, LEFT, "a", "b", "c"),
        _steady(T, RIGHT, "d"),
        _steady(U, LEFT),
        _steady(U, RIGHT),
    ]
    both = TableFingerprints(steady=2)
    assert result.tables == {"ks.t": both, "ks.u": both}
    assert result.unread == {}


def test_nothing_is_stored_before_the_second_look(worker: Working) -> None:
    _before(worker)
    assert worker.store.puts == []


def test_a_range_that_changed_meanwhile_is_not_steady(worker: Working) -> None:
    _before(worker, T)
    worker.node.rows[T].append((8, "e"))
    assert _stored(worker, _after(worker)) == [
        _steady(T, LEFT, "a", "b", "c"),
        RangeFingerprint(T, RIGHT, RangeState.CHANGING),
    ]


def test_a_new_process_takes_the_second_look(worker: Working) -> None:
    _before(worker)
    worker.restart()
    assert len(_stored(worker, _after(worker))) == 4
    assert len(_stored(worker, _after(worker))) == 4  # the first answer may have been lost


def test_masked_columns_have_no_fingerprints(worker: Working) -> None:
    """Case 11: they would be equal whatever the values are."""
    worker.node.masked[T] = ("mail",)
    read = _before(worker)
    assert list(read.unread) == ["ks.t"]
    assert "masks instead of values" in read.unread["ks.t"]
    assert _stored(worker, _after(worker))[:2] == [
        RangeFingerprint(T, LEFT, RangeState.UNREAD),
        RangeFingerprint(T, RIGHT, RangeState.UNREAD),
    ]


@pytest.mark.parametrize("look", [1, 2])
def test_a_table_that_cannot_be_read_is_told(worker: Working, look: int) -> None:
    read: list[TableName] = []

    def refuse(of: TableName, range_: TokenRange) -> None:
        read.append(of)
        if of == T:
            raise CommandFailed("too many tombstones")

    if look == 1:
        worker.node.on_read = refuse
    first = _before(worker)
    worker.node.on_read = refuse if look == 2 else lambda of, range_: None
    result = _after(worker)
    assert (first.unread if look == 1 else result.unread) == {"ks.t": "too many tombstones"}
    assert [f.state.value for f in _stored(worker, result)] == ["unread"] * 2 + ["steady"] * 2
    assert read.count(T) <= 2  # both may be read at once


def test_a_table_that_is_not_there_is_told(worker: Working) -> None:
    result = _before(worker, T, TableName("ks", "nope"))
    assert result.unread == {"ks.nope": "Cassandra has no table ks.nope"}


def test_figures_that_cannot_be_stored_do_not_fail_the_task(worker: Working) -> None:
    _before(worker)

    def refuse(name: str) -> None:
        raise StorageRefused("the quota is used up")

    worker.store.before_put = refuse
    assert _after(worker) == FingerprintsStored(problem="the quota is used up")


def test_a_first_look_that_is_lost_is_a_problem(worker: Working) -> None:
    _before(worker)
    for path in worker.state_dir.glob("figures-*"):
        path.unlink()
    problem = _after(worker).problem
    assert "is gone; let no other program remove files from the worker's state_dir" in problem


def test_looks_of_older_backups_are_removed(worker: Working) -> None:
    for leftover in ("figures-mdbb-1.jsonl.zst", "figures-mdbb-2.jsonl.part"):
        (worker.state_dir / leftover).write_bytes(b"x")
    _before(worker)
    assert len(list(worker.state_dir.glob("figures-*"))) == 1


@pytest.mark.parametrize("kind", [TaskKind.FIGURES_BEFORE, TaskKind.FIGURES_AFTER])
@pytest.mark.parametrize("reason", [None, NoSpace("the disk is full")])
def test_a_cancelled_look_ends_with_its_reason(
    worker: Working, kind: TaskKind, reason: NoSpace | None
) -> None:
    context = TaskContext()
    if kind is TaskKind.FIGURES_AFTER:
        _before(worker)
    worker.node.on_read = lambda of, range_: context.cancel(reason)
    with pytest.raises(NoSpace if reason else Cancelled):
        worker.do(kind, context, tables=[["ks", "t"]], ranges=RANGES)


# The check of a restore.


def _check(worker: Working, result: FingerprintsStored, **more: Any) -> Mapping[str, Any]:
    arguments = {
        "tables": [[["ks", "t"], ["ks", "copy"]]],
        "ranges": RANGES,
        "figures": [encode(result.figures)],
        "source_cluster": CLUSTER,
        "restore_id": "r",
        **more,
    }
    checks: Mapping[str, Any] = worker.do(TaskKind.RESTORE_CHECK, **arguments)["checks"]
    return checks


@pytest.fixture
def restored(worker: Working) -> tuple[Working, FingerprintsStored]:
    """Figures of ks.t and ks.u, and ks.copy with the rows of ks.t."""
    _before(worker)
    worker.node.tables.append(table("ks", "copy", 3))
    worker.node.rows[TableName("ks", "copy")] = list(ROWS)
    return worker, _after(worker)


def test_equal_rows_are_proven(restored: tuple[Working, FingerprintsStored]) -> None:
    worker, figures = restored
    check = _check(worker, figures)
    assert list(check) == ["ks.copy"]
    found = check["ks.copy"]
    assert (found["equal"], found["different"]) == (2, 0)
    assert (found["rows_expected"], found["rows_found"], found["differences"]) == (4, 4, [])


def test_other_rows_are_found_with_their_range(
    restored: tuple[Working, FingerprintsStored],
) -> None:
    worker, figures = restored
    del worker.node.rows[TableName("ks", "copy")][1]
    found = _check(worker, figures)["ks.copy"]
    assert (found["equal"], found["different"]) == (1, 1)
    assert (found["rows_expected"], found["rows_found"]) == (4, 3)
    difference = {"start": str(MURMUR3.lowest), "end": "0", "rows_expected": 3, "rows_found": 2}
    assert found["differences"] == [difference]


def test_a_node_reads_its_own_ranges_only(restored: tuple[Working, FingerprintsStored]) -> None:
    worker, figures = restored
    read: list[TokenRange] = []
    worker.node.on_read = lambda of, range_: read.append(range_)
    found = _check(worker, figures, ranges=RANGES[1:])["ks.copy"]
    assert read == [RIGHT]
    assert (found["equal"], found["rows_found"]) == (1, 1)


def test_changing_ranges_are_counted_and_not_read(worker: Working) -> None:
    _before(worker, T)
    worker.node.rows[T].append((8, "e"))
    figures = _after(worker)
    read: list[TokenRange] = []
    worker.node.on_read = lambda of, range_: read.append(range_)
    found = _check(worker, figures, tables=[[["ks", "t"], ["ks", "t"]]])["ks.t"]
    assert (found["equal"], found["changing"], found["rows_found"]) == (1, 1, 3)
    assert read == [LEFT]


def test_a_check_that_cannot_read_is_an_error(
    restored: tuple[Working, FingerprintsStored],
) -> None:
    """Who asked for a proof must not take its absence for one."""
    worker, figures = restored

    def refuse(of: TableName, range_: TokenRange) -> None:
        raise CassandraUnavailable("too few replicas")

    worker.node.on_read = refuse
    with pytest.raises(CassandraUnavailable, match="too few replicas"):
        _check(worker, figures)


def test_changed_figures_are_no_proof(restored: tuple[Working, FingerprintsStored]) -> None:
    worker, figures = restored
    assert figures.figures is not None
    name = figures.figures.name
    worker.store.change(cluster_container(PREFIX, CLUSTER), name, lambda body: body + b"x")
    with pytest.raises(CorruptObject, match="changed after the backup"):
        _check(worker, figures)

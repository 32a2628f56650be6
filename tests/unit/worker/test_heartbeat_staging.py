# SPDX-License-Identifier: Apache-2.0
"""Which files of restores a worker removes by itself, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from magnetodb_backup.cassandra.files.fetched import LEASE
from magnetodb_backup.cassandra.files.staging import ROOT, staged_restores
from magnetodb_backup.errors import BusUnavailable, CassandraUnavailable
from magnetodb_backup.tasks.kinds import snapshot_tag
from magnetodb_backup.worker.restore.keeping import StagingKeeper
from tests.unit.worker.reported import DEAD, LIVE, MAX_AGE, T, Worker, grow_old, wait_failed

FOREIGN = "dddddddd-dddd-4ddd-8ddd-dddddddddddd"  # the database does not know this restore


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


def _staged(worker: Worker) -> set[str]:
    return set(staged_restores(worker.node.data.names))


def test_staging_of_ended_restores_is_removed(worker: Worker) -> None:
    live, dead = worker.stage(LIVE), worker.stage(DEAD)
    table_file = worker.node.write(T, "nb-9-big-Data.db", b"live rows")
    worker.reporter.report_once()
    assert worker.keeper.ends == [(DEAD, False)]
    assert _staged(worker) == {LIVE}
    assert not dead.exists()
    assert live.read_bytes() == b"rows"
    assert table_file.read_bytes() == b"live rows"


@pytest.mark.parametrize("keep", [True, False])
def test_fetched_files_of_ended_restores(worker: Worker, keep: bool) -> None:
    """The clean-up of the restore has not reached this worker."""
    worker.stage(DEAD)
    worker.fetch(DEAD)
    worker.conductor.restores = {DEAD: keep}
    worker.reporter.report_once()
    assert _staged(worker) == set()
    assert worker.fetched() == ({""} if keep else set())


@pytest.mark.parametrize("answers", [True, False], ids=["unknown", "older conductor"])
def test_files_of_a_restore_that_no_database_knows_stay(worker: Worker, answers: bool) -> None:
    """It may be another service's, or the database lacks the last hours after a failover."""
    worker.stage(FOREIGN)
    worker.fetch(FOREIGN)
    if not answers:
        worker.conductor.restores = None
    worker.reporter.report_once()
    assert worker.keeper.ends == []
    assert (_staged(worker), worker.fetched()) == ({FOREIGN}, {FOREIGN})


@pytest.mark.parametrize(("age", "stays"), [(MAX_AGE - 60, True), (MAX_AGE + 60, False)])
def test_what_no_restore_has_used_for_long_is_removed(
    worker: Worker, age: float, stays: bool
) -> None:
    """Staging directories are also those that an older release has left."""
    worker.stage(FOREIGN)
    worker.fetch("", 1)
    worker.fetch(FOREIGN, 2)
    grow_old(worker.node, age)
    worker.reporter.report_once()
    assert _staged(worker) == ({FOREIGN} if stays else set())
    assert worker.fetched() == ({"", FOREIGN} if stays else set())


def test_files_of_a_running_restore_do_not_grow_old(worker: Worker) -> None:
    """Nor do another service's workers on the node, which do not know it, remove them."""
    worker.stage(LIVE)
    fetched = worker.fetch(LIVE)
    grow_old(worker.node, MAX_AGE + 60)
    worker.reporter.report_once()
    assert (_staged(worker), worker.fetched()) == ({LIVE}, {LIVE})
    assert fetched.unused_for() < LEASE
    other = StagingKeeper(worker.node.local(), MAX_AGE)
    other.expire(worker.node.data.names, live=())
    assert (_staged(worker), worker.fetched()) == ({LIVE}, {LIVE})


def test_unused_files_make_room(tmp_path: Path) -> None:
    """One at a time, those first that were not used for the longest time."""
    worker = Worker(tmp_path, head_room_percent=100.0)
    worker.fetch("", 1)
    grow_old(worker.node, 60)
    worker.fetch("", 2)
    worker.fetch(LIVE, 3)
    left = []
    for _ in range(3):
        worker.reporter.report_once()
        left.append(len(list((worker.node.data.paths[0] / ROOT).iterdir())))
    assert left == [2, 1, 1]
    assert worker.fetched() == {LIVE}


def test_what_is_no_restore_stays(worker: Worker) -> None:
    """Only directories named by a restore's ID or by fetched files are ours to remove."""
    worker.stage(LIVE)
    root = worker.node.data.paths[0] / ROOT
    foreign = [root / name for name in ("by-hand", "fetched-by-hand", f"aside-{DEAD}")]
    for each in foreign:
        each.mkdir()
    grow_old(worker.node, 2 * MAX_AGE)
    worker.reporter.report_once()
    assert worker.keeper.ends == []
    assert all(each.is_dir() for each in foreign)


def test_task_of_a_dead_restore_ends_and_its_staging_goes(worker: Worker) -> None:
    dead = worker.stage(DEAD)
    with worker.task(restore_id=DEAD):
        worker.reporter.report_once()
        assert dead.exists()
        wait_failed(worker, "Cancelled")
    worker.reporter.report_once()
    assert worker.keeper.ends == [(DEAD, False)]
    assert not dead.exists()


def test_no_staging_is_removed_while_nobody_answers(worker: Worker) -> None:
    dead = worker.stage(DEAD)
    grow_old(worker.node, 2 * MAX_AGE)

    def fail() -> None:
        raise BusUnavailable("no broker")

    worker.conductor.on_report = fail
    with pytest.raises(BusUnavailable):
        worker.reporter.report_once()
    assert dead.exists()


def test_staging_that_is_made_meanwhile_stays(worker: Worker) -> None:
    """The answer may be older than the restore."""

    def stage() -> None:
        worker.stage(DEAD)

    worker.conductor.on_report = stage
    worker.reporter.report_once()
    assert _staged(worker) == {DEAD}


def test_snapshot_that_cannot_be_removed_keeps_no_staging(worker: Worker) -> None:
    worker.node.data.snapshot(0, T, snapshot_tag(DEAD, 1))
    worker.node.clears_nothing = True
    dead = worker.stage(DEAD)
    with pytest.raises(CassandraUnavailable, match="still on disk"):
        worker.reporter.report_once()
    assert not dead.exists()


def test_staging_that_an_import_still_needs_is_no_trouble(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """An import may run for a day: a warning at each report would be no help."""
    dead = worker.stage(DEAD)
    worker.keeper.importing.add(DEAD)
    for _ in range(3):
        worker.reporter.report_once()
    assert dead.exists()
    messages = [r.message for r in caplog.records if DEAD in r.message]
    assert len([m for m in messages if m.startswith("removing what is left of")]) == 1
    worker.keeper.importing.clear()
    worker.reporter.report_once()
    assert not dead.exists()


def test_files_that_a_task_works_with_are_no_trouble(worker: Worker) -> None:
    fetched = worker.fetch(DEAD)
    with fetched.locked():
        worker.reporter.report_once()
    assert worker.fetched() == {DEAD}
    worker.reporter.report_once()
    assert worker.fetched() == set()

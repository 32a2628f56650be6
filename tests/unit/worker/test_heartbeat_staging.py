# SPDX-License-Identifier: Apache-2.0
"""Which staging directories of restores a worker removes by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from magnetodb_backup.cassandra.files.staging import ROOT, staged_restores
from magnetodb_backup.errors import BusUnavailable, CassandraUnavailable
from magnetodb_backup.tasks.kinds import snapshot_tag
from tests.unit.worker.reported import DEAD, LIVE, T, Worker, wait_failed


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


def test_staging_of_dead_restores_is_removed(worker: Worker) -> None:
    live, dead = worker.stage(LIVE), worker.stage(DEAD)
    table_file = worker.node.write(T, "nb-9-big-Data.db", b"live rows")
    worker.reporter.report_once()
    assert worker.unstaged == [DEAD]
    assert staged_restores(worker.node.data.names) == {LIVE}
    assert not dead.exists()
    assert live.read_bytes() == b"rows"
    assert table_file.read_bytes() == b"live rows"


def test_what_is_no_restore_stays(worker: Worker) -> None:
    """Only directories named by a restore's ID are ours to remove."""
    worker.stage(LIVE)
    foreign = worker.node.data.paths[0] / ROOT / "by-hand"
    foreign.mkdir()
    worker.reporter.report_once()
    assert worker.unstaged == []
    assert foreign.is_dir()


def test_task_of_a_dead_restore_ends_and_its_staging_goes(worker: Worker) -> None:
    dead = worker.stage(DEAD)
    with worker.task(restore_id=DEAD):
        worker.reporter.report_once()
        assert dead.exists()
        wait_failed(worker, "Cancelled")
    worker.reporter.report_once()
    assert worker.unstaged == [DEAD]
    assert not dead.exists()


def test_no_staging_is_removed_while_nobody_answers(worker: Worker) -> None:
    dead = worker.stage(DEAD)

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
    assert staged_restores(worker.node.data.names) == {DEAD}


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
    worker.importing.add(DEAD)
    for _ in range(3):
        worker.reporter.report_once()
    assert dead.exists()
    messages = [r.message for r in caplog.records if DEAD in r.message]
    assert len([m for m in messages if m.startswith("removing what is left of")]) == 1
    worker.importing.clear()
    worker.reporter.report_once()
    assert not dead.exists()

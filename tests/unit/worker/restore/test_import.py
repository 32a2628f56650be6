# SPDX-License-Identifier: Apache-2.0
"""The import of staged files into Cassandra, which is directories here."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.cassandra.files.staging import ROOT, Staging
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    AccessDenied,
    BackupError,
    Cancelled,
    CassandraUnavailable,
    CommandFailed,
    DataDirectoryProblem,
    ImportRuns,
    ImportUnknown,
    UnknownTable,
)
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.restore.running_imports import EndedRestores
from magnetodb_backup.worker.tasks import TaskContext
from tests.lab.processes import wait_for
from tests.unit.disk_calls import recorded_disk_calls
from tests.unit.worker import fake_changes
from tests.unit.worker.restoring_node import RESTORE, SAME, RestoringNode, T, U


@pytest.fixture
def restoring(tmp_path: Path) -> RestoringNode:
    return RestoringNode(tmp_path)


@pytest.fixture
def staged(restoring: RestoringNode) -> RestoringNode:
    restoring.truncate()
    restoring.download()
    restoring.node.log.clear()
    restoring.context = TaskContext()
    return restoring


def _cleaned_up(restoring: RestoringNode, **more: Any) -> tuple[list[str], list[str]]:
    """Clean up; return the tables whose imports were awaited, and those whose imports run."""
    found = restoring.do(TaskKind.RESTORE_CLEANUP, **more)
    return found["awaited"], found["importing"]


def _rows(restoring: RestoringNode) -> dict[TableName, list[bytes]]:
    return {name: fake_changes.rows(restoring.node, name) for name in restoring.saved}


def test_import(staged: RestoringNode) -> None:
    assert staged.imported() == {"sstables": 4, "refused": {}}
    assert _rows(staged) == staged.saved
    assert staged.staged() == {}
    assert staged.node.log == ["import ks.t 2", "import ks.u 2"]
    assert staged.context.progress == RestoreProgress(sstables_imported=4)


def test_only_the_tables_of_the_parts_are_imported(staged: RestoringNode) -> None:
    """Others of the same node backup are streamed."""
    result = staged.imported(parts=[staged.part(SAME[:1])])
    assert result == {"sstables": 2, "refused": {}}
    assert _rows(staged) == {T: staged.saved[T], U: []}
    assert {name.partition("/ks/")[2].partition("/")[0] for name in staged.staged()} == {"u"}


def test_import_again(staged: RestoringNode) -> None:
    """The result is that of the whole, though there is nothing left to do."""
    staged.imported()
    staged.node.log.clear()
    assert staged.imported() == {"sstables": 4, "refused": {}}
    assert staged.node.log == []


def test_import_goes_on_behind_the_table_that_failed(staged: RestoringNode) -> None:
    def fail(table: TableName) -> None:
        if table == U:
            raise CassandraUnavailable("JMX does not answer")

    staged.node.on_import = fail
    with pytest.raises(CassandraUnavailable):
        staged.imported()
    assert staged.context.progress == RestoreProgress(sstables_imported=2)
    staged.node.on_import = lambda table: None
    staged.working.restart()
    assert staged.imported() == {"sstables": 4, "refused": {}}
    assert _rows(staged) == staged.saved
    assert staged.node.log.count("import ks.t 2") == 1


def test_import_of_what_is_malformed(staged: RestoringNode) -> None:
    """The others are imported; a repetition tells the same, once."""
    bad = staged.saved[T][0]
    staged.node.malformed = {bad}
    first = staged.imported()
    assert first["sstables"] == 3
    (reason,) = first["refused"]["ks.t"]
    assert reason.startswith("nb-1-big (Cassandra refuses SSTables of ")
    assert _rows(staged)[T] == staged.saved[T][1:]
    assert _rows(staged)[U] == staged.saved[U]
    staged.working.restart()
    assert staged.imported() == first
    assert list(staged.staged().values()) == [bad]


def test_import_that_leaves_sstables_without_a_word(staged: RestoringNode) -> None:
    """What Cassandra did not take is missing, whatever it answers."""
    staged.node.passed_over = {staged.saved[T][0]}
    found = staged.imported()
    assert found["sstables"] == 3
    (reason,) = found["refused"]["ks.t"]
    assert reason.startswith("nb-1-big (Cassandra has left 1 SSTables for ks.t in ")
    assert _rows(staged)[T] == staged.saved[T][1:]
    assert _rows(staged)[U] == staged.saved[U]


def test_import_into_a_table_that_is_gone(staged: RestoringNode) -> None:
    fake_changes.drop([staged.node], T)
    with pytest.raises(UnknownTable, match=r"Cassandra has no table ks\.t"):
        staged.imported()
    assert len(staged.staged()) == 4


def test_import_is_cancelled_between_tables(staged: RestoringNode) -> None:
    staged.node.on_import = lambda table: staged.context.cancel()
    with pytest.raises(Cancelled):
        staged.imported()
    assert staged.node.log == ["import ks.t 2"]


def test_import_of_nothing(restoring: RestoringNode) -> None:
    """A node that has nothing of the tables; the staging directory may be missing, too."""
    restoring.download(parts=[])
    assert restoring.imported(parts=[]) == {"sstables": 0, "refused": {}}


@pytest.mark.parametrize("note", ["refused.json", "sstables"])
@pytest.mark.parametrize("text", ["", "{", "\0\0"])
def test_import_with_a_torn_note(staged: RestoringNode, note: str, text: str) -> None:
    staged.staging.note(note).write_text(text)
    assert staged.imported() == {"sstables": 4, "refused": {}}


# The end.


def test_cleanup(staged: RestoringNode) -> None:
    other = Staging(staged.node.data.names, "e" * 8 + RESTORE[8:])
    other.prepare()
    for _ in range(2):
        assert _cleaned_up(staged) == ([], [])
    for path in staged.node.data.paths:
        assert os.listdir(path / ROOT) == ["e" * 8 + RESTORE[8:]]
    assert staged.node.log == []


def test_notes_are_durable(staged: RestoringNode) -> None:
    """What an attempt has noted outlives a crash: count and refusals cannot be found out again."""
    node = staged.node
    node.malformed = {next(b for n, b in staged.staged().items() if n.endswith("-Data.db"))}
    with recorded_disk_calls() as calls:
        refused = staged.imported()["refused"]
    assert len(refused) == 1
    root = node.data.paths[0] / ROOT / RESTORE
    for name in ("sstables", "refused.json"):
        begin = calls.index(("fsync", str(root / f"{name}.part")))
        assert calls[begin + 1 : begin + 3] == [
            ("rename", str(root / name)),
            ("fsync", str(root)),
        ]


# Imports that take long.


def _cancel_in_a_slow_import(staged: RestoringNode) -> None:
    """Leave an import of table t running in Cassandra."""
    staged.node.slow_imports = {T}
    staged.node.on_wait = lambda table: staged.context.cancel()
    with pytest.raises(Cancelled):
        staged.imported()
    staged.context = TaskContext()
    assert set(staged.node.importing) == {T}


def test_import_that_another_task_has_left_running_is_waited_for(staged: RestoringNode) -> None:
    """It moves the files after its task has ended: none is imported twice, none is missed."""
    _cancel_in_a_slow_import(staged)
    staged.node.slow_imports = set()
    staged.node.on_wait = staged.node.end_import
    staged.working.restart()
    staged.node.log.clear()
    assert staged.imported() == {"sstables": 4, "refused": {}}
    assert staged.node.log[1:] == ["await ks.t", "import ks.u 2"]  # after the proof of the node
    assert _rows(staged) == staged.saved


def test_nothing_is_removed_below_a_running_import(staged: RestoringNode) -> None:
    _cancel_in_a_slow_import(staged)
    before = staged.staged()

    def end(table: TableName) -> None:
        assert staged.staged() == before
        staged.node.end_import(table)

    staged.node.on_wait = end
    assert _cleaned_up(staged) == (["ks.t"], [])
    assert _rows(staged)[T] == staged.saved[T]
    assert not (staged.node.data.paths[0] / ROOT / RESTORE).exists()


def test_cleanup_that_is_cancelled_while_an_import_runs(staged: RestoringNode) -> None:
    _cancel_in_a_slow_import(staged)
    before = staged.staged()
    staged.node.on_wait = lambda table: staged.context.cancel()
    with pytest.raises(Cancelled):
        staged.do(TaskKind.RESTORE_CLEANUP)
    assert staged.staged() == before


def test_another_restore_waits_for_the_import_too(staged: RestoringNode) -> None:
    """Its rows would come into a table that the other one has truncated."""
    _cancel_in_a_slow_import(staged)
    staged.node.slow_imports = set()
    staged.node.on_wait = staged.node.end_import
    before = staged.context.activity
    staged.download(parts=[], restore_id="e" * 8 + RESTORE[8:])
    assert staged.context.activity > before  # it does not stall while it waits
    assert staged.node.importing == {}
    assert _rows(staged)[T] == staged.saved[T]


def test_imports_end_with_cassandra(staged: RestoringNode) -> None:
    _cancel_in_a_slow_import(staged)
    staged.node.importing.clear()
    staged.node.control_down = staged.node.cql_down = True
    assert _cleaned_up(staged) == (["ks.t"], [])
    assert staged.staged() == {}


def test_cassandra_that_runs_and_does_not_answer_may_still_import(staged: RestoringNode) -> None:
    _cancel_in_a_slow_import(staged)

    def silent(table: TableName) -> None:
        raise CassandraUnavailable("JMX does not answer")

    staged.node.on_wait = silent
    with pytest.raises(CassandraUnavailable):
        staged.do(TaskKind.RESTORE_CLEANUP)
    assert len(staged.staged()) == 4


def test_table_that_was_dropped_imports_nothing(staged: RestoringNode) -> None:
    _cancel_in_a_slow_import(staged)
    staged.node.importing.clear()
    fake_changes.drop([staged.node], T)
    assert _cleaned_up(staged) == (["ks.t"], [])
    assert staged.staged() == {}


def test_left_staging_is_removed_after_the_import_below_it(staged: RestoringNode) -> None:
    """The reports of the worker do not wait for it."""
    _cancel_in_a_slow_import(staged)
    goes_on = threading.Event()

    def end(table: TableName) -> None:
        assert goes_on.wait(10)
        staged.node.end_import(table)

    staged.node.on_wait = end
    ended = EndedRestores(staged.node.local())
    for _ in range(2):
        with pytest.raises(ImportRuns, match=r"until Cassandra has ended its imports into ks\.t"):
            ended.remove_staging(RESTORE)
    assert len(staged.staged()) == 4
    goes_on.set()

    def is_removed() -> bool:
        with contextlib.suppress(ImportRuns):
            ended.remove_staging(RESTORE)
        return staged.staged() == {}

    wait_for(is_removed, deadline=5, what="the removal")
    assert _rows(staged)[T] == staged.saved[T]


def test_the_clean_up_of_a_failed_restore_does_not_wait(staged: RestoringNode) -> None:
    """An import may run for a day; the job that has failed must end."""
    _cancel_in_a_slow_import(staged)
    before = staged.staged()
    staged.node.on_wait = lambda table: pytest.fail("it waits")
    assert _cleaned_up(staged, wait=False) == ([], ["ks.t"])
    assert staged.staged() == before
    staged.node.on_wait = staged.node.end_import
    assert staged.do(TaskKind.RESTORE_CLEANUP)["awaited"] == ["ks.t"]
    assert staged.staged() == {}


@pytest.mark.parametrize(
    "error", [CommandFailed("nodetool import failed"), AccessDenied("JMX refuses the user")]
)
def test_imports_that_cannot_be_asked_for_name_the_note(
    staged: RestoringNode, error: BackupError
) -> None:
    """They held up all later restores of the node, without a hint what to do."""
    _cancel_in_a_slow_import(staged)

    def refuse(table: TableName) -> None:
        raise error

    staged.node.on_wait = refuse
    with pytest.raises(ImportUnknown) as failure:
        staged.download(restore_id="e" * 8 + RESTORE[8:])
    note = staged.staging.note("importing.json")
    assert note.exists()
    for named in (str(error), "ks.t", "Restart Cassandra on this node", f"remove {note}"):
        assert named in str(failure.value)


def test_an_import_ends_with_the_process_of_cassandra(staged: RestoringNode) -> None:
    """After a restart nothing is asked: the note of the import means nothing any more."""
    _cancel_in_a_slow_import(staged)
    staged.node.boots = 2

    def refuse(table: TableName) -> None:
        raise CommandFailed("nodetool import failed")

    staged.node.on_wait = refuse
    staged.download(parts=[], restore_id="e" * 8 + RESTORE[8:])
    assert staged.do(TaskKind.RESTORE_CLEANUP)["awaited"] == []
    assert staged.staged() == {}


def test_a_note_that_cannot_be_written_is_named(staged: RestoringNode) -> None:
    note = staged.staging.note("importing.json")
    note.with_name("importing.json.part").mkdir()
    with pytest.raises(DataDirectoryProblem, match=r"importing\.json cannot be used"):
        staged.imported()

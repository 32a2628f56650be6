# SPDX-License-Identifier: Apache-2.0
"""The import of staged files into Cassandra, which is directories here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.files.staging import ROOT, Staging
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import Cancelled, CassandraUnavailable, UnknownTable
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.tasks import TaskContext
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
        assert staged.do(TaskKind.RESTORE_CLEANUP) == {}
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

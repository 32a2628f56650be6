# SPDX-License-Identifier: Apache-2.0
"""Files that a restore has fetched: who works with them, and what stays of them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.files.fetched import LEASE, FetchedFiles, Held, Origin, all_fetched
from magnetodb_backup.cassandra.files.staging import ROOT
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import DataDirectoryProblem, StagingHeld
from tests.unit.disk_calls import recorded_disk_calls

BACKUP = "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
SOURCE = "11111111-1111-4111-8111-111111111111"
FIRST, SECOND = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
ORIGIN = Origin("cluster one", BACKUP, SOURCE, "ab" * 32)
T, U = TableName("ks", "t"), TableName("ks", "u")


@pytest.fixture
def directories(tmp_path: Path) -> list[str]:
    made = [tmp_path / f"data{number}" for number in range(3)]
    for directory in made:
        directory.mkdir()
    return [str(d) for d in made]


@pytest.fixture
def fetched(directories: list[str]) -> FetchedFiles:
    return FetchedFiles(directories, ORIGIN.name)


def _hold(fetched: FetchedFiles, restore: str, *tables: TableName) -> None:
    with fetched.locked(create=True):
        fetched.hold(restore, tables)


def _fill(fetched: FetchedFiles, table: TableName, number: int, *names: str) -> None:
    directory = fetched.directory(table, number)
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_bytes(name.encode())


def _names(fetched: FetchedFiles) -> set[str]:
    """Return the names of tables' files."""
    return {f"{p.parent.name}/{p.name}" for d in fetched.directories for p in Path(d).glob("*/*/*")}


def _grow_old(fetched: FetchedFiles, seconds: float) -> None:
    then = time.time() - seconds
    for directory in fetched.directories:
        os.utime(directory, (then, then))


# By what they are found.


@pytest.mark.parametrize(
    "other",
    [
        replace(ORIGIN, cluster="cluster two"),
        replace(ORIGIN, backup_id=FIRST),
        replace(ORIGIN, source=FIRST),
        replace(ORIGIN, manifest_sha256="cd" * 32),
    ],
    ids=["cluster", "backup", "source", "manifest"],
)
def test_other_content_is_elsewhere(directories: list[str], other: Origin) -> None:
    assert other.name != ORIGIN.name
    mine, theirs = (FetchedFiles(directories, o.name).directory(T, 0) for o in (ORIGIN, other))
    assert mine != theirs


def test_places(fetched: FetchedFiles, directories: list[str]) -> None:
    places = [fetched.directory(T, number) for number in range(4)]
    assert places[0].parents[1].name == f"fetched-{ORIGIN.name}"
    assert ORIGIN.name.startswith(f"{BACKUP}.{SOURCE}.")
    assert [p.parents[3] for p in places[:3]] == list(map(Path, directories))
    assert places[3] == places[0]  # the source may have more of them
    assert {p.relative_to(p.parents[1]) for p in places} == {Path("ks/t")}


@pytest.mark.parametrize("name", ["", "..", f"{ORIGIN.name}/..", f"{ORIGIN.name}x", "a.b.c"])
def test_names_that_lead_elsewhere(directories: list[str], name: str) -> None:
    with pytest.raises(DataDirectoryProblem, match="does not name a node backup's fetched files"):
        FetchedFiles(directories, name)


def test_the_journal_is_found_in_any_data_directory(
    fetched: FetchedFiles, directories: list[str]
) -> None:
    """One that was added may come first."""
    assert fetched.journal == Path(directories[0], ROOT, f"fetched-{ORIGIN.name}", "journal.jsonl")
    _hold(fetched, FIRST, T)
    fetched.journal.write_bytes(b"")
    moved = FetchedFiles([directories[2], directories[0]], ORIGIN.name)
    assert moved.journal == fetched.journal


def test_all_of_a_node(directories: list[str], fetched: FetchedFiles) -> None:
    """Those that were not used for the longest time come first."""
    assert all_fetched(directories) == []
    newer = FetchedFiles(directories, replace(ORIGIN, backup_id=SECOND).name)
    for each in (newer, fetched):
        _hold(each, FIRST, T)
    _grow_old(fetched, 50)
    _grow_old(newer, 40)
    (Path(directories[0]) / ROOT / "fetched-by-hand").mkdir()
    found = all_fetched(directories)
    assert [f.directories for f in found] == [fetched.directories, newer.directories]


def test_directories_are_cassandras_too(fetched: FetchedFiles, directories: list[str]) -> None:
    if os.geteuid() == 0:
        os.chown(directories[0], 12345, 23456)
    old = os.umask(0o077)
    try:
        _hold(fetched, FIRST, T)
    finally:
        os.umask(old)
    for data in directories:
        owner, root = Path(data).stat(), Path(data, ROOT, f"fetched-{ORIGIN.name}").stat()
        assert stat.S_IMODE(root.st_mode) == 0o770
        assert (root.st_uid, root.st_gid) == (owner.st_uid, owner.st_gid)


@pytest.mark.parametrize("at", ["", f"/fetched-{ORIGIN.name}", f"/fetched-{ORIGIN.name}/ks"])
def test_links_are_refused(tmp_path: Path, directories: list[str], at: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = Path(directories[1], ROOT + at)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataDirectoryProblem, match="is a symbolic link; remove it"):
        _hold(FetchedFiles(directories, ORIGIN.name), FIRST, T)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_each_sstable_stays_where_most_of_it_is(fetched: FetchedFiles) -> None:
    _fill(fetched, T, 0, "nb-1-big-Data.db", "nb-2-big-Data.db.part")
    _fill(fetched, T, 1, "nb-2-big-Index.db", "nb-2-big-TOC.txt", "nb-3-big-Data.db")
    _fill(fetched, U, 2, "nb-1-big-Data.db")
    assert fetched.numbers([T]) == {(T, "nb-1-big"): 0, (T, "nb-2-big"): 1, (T, "nb-3-big"): 1}


# Who works with them.


def test_two_restores_never_share_files(fetched: FetchedFiles, directories: list[str]) -> None:
    """Whoever comes second is told which restore works with them, also after a restart."""
    _hold(fetched, FIRST, T)
    again = FetchedFiles(directories, ORIGIN.name)
    with pytest.raises(StagingHeld, match=f"is used by restore {FIRST}; it is tried again"):
        _hold(again, SECOND, T)
    assert again.held() == Held(FIRST, frozenset({T}))
    _hold(again, FIRST, U)
    assert again.held() == Held(FIRST, frozenset({T, U}))


@pytest.mark.parametrize(("age", "taken"), [(LEASE - 30, False), (LEASE + 1, True)])
def test_files_of_a_restore_that_died(fetched: FetchedFiles, age: float, taken: bool) -> None:
    """Its worker notes that it runs at each report; it does not any more."""
    _hold(fetched, FIRST, T)
    _grow_old(fetched, age)
    if taken:
        _hold(fetched, SECOND, U)
        assert fetched.held() == Held(SECOND, frozenset({U}))
    else:
        with pytest.raises(StagingHeld):
            _hold(fetched, SECOND, U)
    _grow_old(fetched, LEASE + 1)
    fetched.touch()
    with pytest.raises(StagingHeld):
        _hold(fetched, "dddddddd-dddd-4ddd-8ddd-dddddddddddd", T)


def test_the_holder_is_durable(fetched: FetchedFiles) -> None:
    with recorded_disk_calls() as calls:
        _hold(fetched, FIRST, T)
    for directory in fetched.directories:
        assert ("fsync", f"{directory}/held.json.part") in calls
        assert ("fsync", directory) in calls
    assert json.loads(Path(fetched.directories[2], "held.json").read_bytes()) == {
        "restore_id": FIRST,
        "tables": [["ks", "t"]],
    }


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"restore_id": 5}', b'{"tables": [5]}'])
def test_a_torn_note_is_none(fetched: FetchedFiles, torn: bytes) -> None:
    """The others count; without any, the files are another restore's to use."""
    _hold(fetched, FIRST, T)
    first, *others = (Path(d, "held.json") for d in fetched.directories)
    first.write_bytes(torn)
    assert fetched.held() == Held(FIRST, frozenset({T}))
    for other in others:
        other.write_bytes(torn)
    assert fetched.held() == Held()
    _hold(fetched, SECOND, T)


def test_one_works_at_a_time(fetched: FetchedFiles, directories: list[str]) -> None:
    """Other tasks and other processes wait, whatever the note says."""
    code = (
        "import sys\n"
        "from magnetodb_backup.cassandra.files.fetched import FetchedFiles\n"
        "from magnetodb_backup.errors import StagingHeld\n"
        "try:\n"
        "    with FetchedFiles(sys.argv[2:], sys.argv[1]).locked(): print('locked')\n"
        "except StagingHeld as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, ORIGIN.name, *directories]

    def other_process() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with fetched.locked(create=True):
        with pytest.raises(StagingHeld, match="is being worked on by another task or process"):
            _hold(FetchedFiles(directories, ORIGIN.name), FIRST, T)
        assert "is being worked on" in other_process()
    assert other_process() == "locked\n"


def test_removal_wins_over_a_lock_that_came_late(fetched: FetchedFiles) -> None:
    """Looking for a lock creates nothing."""
    _hold(fetched, FIRST, T)
    with fetched.locked():
        fetched.remove()
        with pytest.raises(StagingHeld, match="was removed at this moment"):
            fetched.locked().__enter__()
    with pytest.raises(StagingHeld, match="was removed at this moment"):
        fetched.locked().__enter__()
    assert fetched.directories == ()


# Their end.


def test_release_keeps_finished_files(fetched: FetchedFiles) -> None:
    _hold(fetched, FIRST, T)
    _fill(fetched, T, 0, "nb-1-big-Data.db", "nb-2-big-Data.db.part")
    _fill(fetched, U, 2, "nb-1-big-Data.db.part")
    with fetched.locked():
        fetched.release()
    assert _names(fetched) == {"t/nb-1-big-Data.db"}
    assert fetched.held() == Held()
    assert fetched.size() == len("nb-1-big-Data.db")
    _hold(fetched, SECOND, T)


def test_removal_of_some_tables(fetched: FetchedFiles, directories: list[str]) -> None:
    """The others are an earlier restore's."""
    _hold(fetched, FIRST, T)
    for number in range(3):
        _fill(fetched, T, number, f"nb-{number}-big-Data.db")
    _fill(fetched, U, 1, "nb-1-big-Data.db", "nb-2-big-Data.db.part")
    with fetched.locked():
        assert not fetched.remove([T])
    assert (_names(fetched), fetched.held()) == ({"u/nb-1-big-Data.db"}, Held())
    with fetched.locked():
        assert fetched.remove([U])
    assert fetched.directories == ()
    assert all(os.listdir(Path(d, ROOT)) == [] for d in directories)

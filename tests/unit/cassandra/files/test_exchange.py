# SPDX-License-Identifier: Apache-2.0
"""Files of tables are exchanged whole, can be put back, and a death at any moment loses none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.files.exchange import (
    Exchange,
    exchange_problems,
    unfinished_exchanges,
)
from magnetodb_backup.cassandra.files.staging import Staging, staged_restores
from magnetodb_backup.domain.tables import TableDescription
from magnetodb_backup.errors import DataDirectoryProblem
from tests.unit.cassandra.tree import DataDirectories, table

RESTORE = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
SOURCE = "11111111-1111-4111-8111-111111111111"
T, U = table("ks", "t", 1), table("ks", "u", 2)
TABLES = (T, U)


class Died(BaseException):
    """The process is killed."""


class Disk:
    """Two data directories with old files, staged new ones, and a directory of hints."""

    def __init__(self, root: Path) -> None:
        self.data = DataDirectories(root)
        self.hints = root / "hints"
        self.hints.mkdir()
        (self.hints / "1.hints").write_text("newer write")
        for number in (0, 1):
            for each in TABLES:
                self.write(number, each, f"nb-{number + 1}-big-Data.db", "old")
                self.write(number, each, "nb_txn_flush_1.log", "old")
                self.write(number, each, f".index/nb-{number + 1}-big-Data.db", "old index")
                self.write(number, each, "snapshots/mine/nb-1-big-Data.db", "snapshot")
        self.before = self.live()
        staging = Staging(self.data.names, RESTORE)
        staging.prepare()
        for number in (0, 1):
            # The same name as the old one has, and another one.
            for name in (f"nb-{number + 1}-big-Data.db", f"nb-{number + 7}-big-Data.db"):
                path = staging.directory(SOURCE, T.name, number) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("new")

    def write(self, number: int, of: TableDescription, name: str, text: str) -> None:
        path = self.data.table_directory(number, of) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def live(self) -> dict[str, str]:
        """Return all that Cassandra sees of its tables."""
        return {
            str(p.relative_to(d.parent)): p.read_text()
            for d in self.data.paths
            for p in d.glob("ks/**/*")
            if p.is_file()
        }

    def aside(self, moment: int = 0) -> Exchange:
        return Exchange(self.data.names, RESTORE, [str(self.hints)], Dying(moment))

    def exchange(self, tables: tuple[TableDescription, ...] = TABLES, moment: int = 0) -> None:
        aside = self.aside(moment)
        aside.prepare()
        staging = Staging(self.data.names, RESTORE)
        for each in tables:
            staged: dict[int, list[Path]] = {}
            for number, name, path in staging.places(SOURCE):
                if name == each.name:
                    staged.setdefault(number, []).append(path)
            aside.exchange(each, staged)
        aside.take_others(str(self.hints))

    def exchanged(self) -> dict[str, str]:
        """Return what has to be seen then."""
        kept = {k: v for k, v in self.before.items() if "snapshots" in k}
        placed = {}
        for number in (0, 1):
            for generation in (number + 1, number + 7):
                path = self.data.table_directory(number, T) / f"nb-{generation}-big-Data.db"
                placed[str(path.relative_to(path.parents[3]))] = "new"
        return kept | placed


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


class Dying:
    """Lets the process die before the ``moment``-th change on disk."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def __call__(self) -> None:
        self.left -= 1
        if not self.left:
            raise Died


def survives(deed: Callable[..., object], *arguments: object) -> bool:
    try:
        deed(*arguments)
    except Died:
        return False
    return True


def test_tables_have_the_staged_files_and_no_others(disk: Disk) -> None:
    disk.exchange()
    assert disk.live() == disk.exchanged()
    assert not (disk.hints / "1.hints").exists()
    old = [Path(d) for d in disk.aside().directories]
    kept = {p.read_text() for d in old for p in d.rglob("*") if p.is_file()}
    assert {"old", "old index", "newer write"} <= kept


def test_repeating_changes_nothing(disk: Disk) -> None:
    disk.exchange()
    disk.exchange()
    assert disk.live() == disk.exchanged()


def test_number_of_placed_sstables(disk: Disk) -> None:
    disk.exchange()
    assert [disk.aside().exchange(each, {}) for each in TABLES] == [4, 0]


def test_putting_back(disk: Disk) -> None:
    disk.exchange()
    assert disk.aside().touched
    disk.aside().put_back()
    assert disk.live() == disk.before
    assert (disk.hints / "1.hints").read_text() == "newer write"
    disk.aside().remove()
    assert disk.aside().directories == []
    assert not disk.aside().touched


def test_a_death_at_any_moment_of_an_exchange(tmp_path: Path) -> None:
    moment = 0
    while True:
        moment += 1
        disk = Disk(tmp_path / str(moment))
        if survives(disk.exchange, TABLES, moment):
            break
        disk.exchange()
        assert disk.live() == disk.exchanged(), moment
        disk.aside().put_back()
        assert disk.live() == disk.before, moment
    assert moment > 20


def test_putting_half_an_exchange_back(tmp_path: Path) -> None:
    moment = 0
    while True:
        moment += 1
        disk = Disk(tmp_path / str(moment))
        if survives(disk.exchange, TABLES, moment):
            break
        disk.aside().put_back()
        assert disk.live() == disk.before, moment
    assert moment > 20


def test_a_death_while_files_are_put_back(tmp_path: Path) -> None:
    moment = 0
    while True:
        moment += 1
        disk = Disk(tmp_path / str(moment))
        disk.exchange()
        if survives(disk.aside(moment).put_back):
            break
        disk.aside().put_back()
        assert disk.live() == disk.before, moment
        assert (disk.hints / "1.hints").exists()
    assert moment > 15


def test_what_is_put_back_is_not_exchanged_again(disk: Disk) -> None:
    disk.exchange()
    disk.aside().put_back()
    with pytest.raises(DataDirectoryProblem, match="being moved back"):
        disk.exchange()
    assert disk.live() == disk.before


def test_nothing_is_written_over(disk: Disk) -> None:
    """Cassandra was started in between and has made a file of the same name."""
    disk.exchange((U,))
    disk.write(0, U, "nb-1-big-Data.db", "newer")
    disk.aside().put_back()  # what is there now goes out of the way
    assert disk.live() == disk.before
    found = [p.read_text() for p in disk.data.paths[0].glob("**/undone/**/*-Data.db")]
    assert found == ["newer"]


def test_marks_outlive_the_process(disk: Disk) -> None:
    aside = disk.aside()
    aside.prepare()
    assert not aside.touched
    assert not aside.marked("drained")
    aside.mark("drained")
    assert disk.aside().marked("drained")
    aside.mark("drained", False)
    assert not disk.aside().marked("drained")
    assert not disk.aside().touched


def test_line_that_was_cut_off_is_passed_over(disk: Disk) -> None:
    aside = disk.aside()
    aside.prepare()
    aside.mark("drained")
    with (Path(aside.directories[0]) / "journal.jsonl").open("ab") as file:
        file.write(b'["ks/t-')
    disk.aside().mark("started")
    assert disk.aside().marked("drained")
    assert disk.aside().marked("started")


def test_old_files_are_not_taken_for_staged_ones(disk: Disk) -> None:
    """A worker removes what dead restores have staged, but nothing that was Cassandra's."""
    disk.exchange()
    assert staged_restores(disk.data.names) == {RESTORE}
    Staging(disk.data.names, RESTORE).remove()
    assert staged_restores(disk.data.names) == frozenset()
    assert unfinished_exchanges(disk.data.names) == {
        RESTORE: [str(d / ".magnetodb-backup" / f"aside-{RESTORE}") for d in disk.data.paths]
    }
    disk.aside().put_back()
    assert disk.live() == disk.before


def test_ids_that_are_paths(disk: Disk) -> None:
    with pytest.raises(DataDirectoryProblem, match=r"'\.\./x' is not the ID"):
        Exchange(disk.data.names, "../x")


def test_links_are_a_problem(disk: Disk, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    disk.data.table_directory(0, T).rename(elsewhere)
    disk.data.table_directory(0, T).symlink_to(elsewhere)
    (problem,) = exchange_problems(disk.data.names, TABLES, [str(disk.hints)])
    assert problem.endswith("is a symbolic link; an offline restore does not follow links")
    assert f"t-{T.id}" in problem


@pytest.mark.parametrize("which", ["table", "hints"])
def test_directories_that_cannot_be_written(disk: Disk, which: str) -> None:
    closed = disk.data.table_directory(1, U) if which == "table" else disk.hints
    (problem,) = exchange_problems(
        disk.data.names, TABLES, [str(disk.hints)], lambda path, _: path != closed
    )
    assert problem.startswith(f"{closed} cannot be written by the worker's user")


def test_a_table_that_is_still_to_be_made_is_no_problem(disk: Disk) -> None:
    tables = (*TABLES, table("ks", "new", 9), table("other", "x", 10))
    assert exchange_problems(disk.data.names, tables, ["/nowhere"]) == []

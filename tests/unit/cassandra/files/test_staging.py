# SPDX-License-Identifier: Apache-2.0
"""Where a restore's files wait, and how they are handed out and removed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.files.staging import (
    ROOT,
    Staging,
    is_one_directory_each,
    one_directory_each,
    sstable_of,
    staged_restores,
)
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import DataDirectoryProblem

RESTORE = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
OTHER = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
SOURCE = "11111111-1111-4111-8111-111111111111"
T = TableName("ks", "t")
COMPONENTS = ("CompressionInfo.db", "Data.db", "Digest.crc32", "Index.db", "TOC.txt")


@pytest.fixture
def directories(tmp_path: Path) -> list[str]:
    made = [tmp_path / f"data{number}" for number in range(3)]
    for directory in made:
        directory.mkdir()
    return [str(d) for d in made]


@pytest.fixture
def staging(directories: list[str]) -> Staging:
    staging = Staging(directories, RESTORE)
    staging.prepare()
    return staging


def _fill(directory: Path, *sstables: str, components: Iterable[str] = COMPONENTS) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for sstable in sstables:
        for component in components:
            (directory / f"{sstable}-{component}").write_text(f"{sstable} {component}")
    return directory


@pytest.mark.parametrize(
    ("name", "sstable"),
    [
        ("nb-1-big-Data.db", "nb-1-big"),
        ("oa-12-big-TOC.txt", "oa-12-big"),
        ("da-3g7k_1a2b_3c4d5e-bti-Partitions.db", "da-3g7k_1a2b_3c4d5e-bti"),
        ("nb-1-big-SAI+aa+name+Meta.db", "nb-1-big"),
        ("nb-1-big-Digest.crc32", "nb-1-big"),
        ("manifest.json", "manifest.json"),
        ("nb-1-big", "nb-1-big"),
        ("nb-1-big-", "nb-1-big-"),
    ],
)
def test_sstable_of(name: str, sstable: str) -> None:
    assert sstable_of(name) == sstable


@pytest.mark.parametrize(
    "restore_id", ["", "x", "..", f"{RESTORE}/..", RESTORE.upper(), RESTORE + "\n"]
)
def test_restore_is_named_by_its_id(directories: list[str], restore_id: str) -> None:
    with pytest.raises(DataDirectoryProblem, match="is not the ID of a restore"):
        Staging(directories, restore_id)


def test_places(staging: Staging, directories: list[str]) -> None:
    places = [staging.directory(SOURCE, T, number) for number in range(3)]
    assert [str(p) for p in places] == [f"{d}/{ROOT}/{RESTORE}/{SOURCE}/ks/t" for d in directories]
    assert staging.directory(SOURCE, T, 4) == places[1]  # the source may have more of them


def test_prepare(directories: list[str]) -> None:
    """Whatever the umask, Cassandra's group may move the files; they are on each file system."""
    if os.geteuid() == 0:
        os.chown(directories[0], 12345, 23456)
    old = os.umask(0o077)
    try:
        for _ in range(2):
            Staging(directories, RESTORE).prepare()
    finally:
        os.umask(old)
    for directory in directories:
        owner = Path(directory).stat()
        for path in (Path(directory, ROOT), Path(directory, ROOT, RESTORE)):
            found = path.stat()
            assert stat.S_IMODE(found.st_mode) == 0o770
            assert (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid)


def test_prepare_where_it_may_not(directories: list[str]) -> None:
    Path(directories[1], ROOT).write_bytes(b"")
    with pytest.raises(DataDirectoryProblem, match=f"{directories[1]}/{ROOT}.*cannot be created"):
        Staging(directories, RESTORE).prepare()


@pytest.mark.parametrize(
    "link", [ROOT, f"{ROOT}/{RESTORE}", f"{ROOT}/{RESTORE}/{SOURCE}",
             f"{ROOT}/{RESTORE}/{SOURCE}/ks", f"{ROOT}/{RESTORE}/{SOURCE}/ks/t",
             f"{ROOT}/{RESTORE}/{SOURCE}/ks/t/nb-1-big-Data.db"],
)  # fmt: skip
@pytest.mark.parametrize("to", ["elsewhere", "missing"])
def test_links_are_refused(tmp_path: Path, directories: list[str], link: str, to: str) -> None:
    """Whoever may write there must not lead the worker to other places."""
    elsewhere = _fill(tmp_path / "elsewhere", "nb-1-big")
    before = sorted(elsewhere.iterdir())
    path = Path(directories[1], link)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(tmp_path / to)
    with pytest.raises(DataDirectoryProblem, match=f"^{path} is a symbolic link; "):
        Staging(directories, RESTORE).prepare()
    assert sorted(elsewhere.iterdir()) == before
    assert not (tmp_path / "missing").exists()


def test_data_directory_may_be_a_link(tmp_path: Path) -> None:
    """That is the operator's."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to("disk")
    staging = Staging([str(tmp_path / "data")], RESTORE)
    staging.prepare()
    assert (tmp_path / "disk" / ROOT / RESTORE).is_dir()
    staging.remove()
    assert staged_restores([str(tmp_path / "data")]) == frozenset()


# Tables.


def test_tables(staging: Staging) -> None:
    one, three = (_fill(staging.directory(SOURCE, T, n), "nb-1-big") for n in (0, 2))
    other = TableName("ks", "Other")
    _fill(staging.directory(SOURCE, other, 1), "nb-1-big", components=["Data.db"])
    _fill(staging.directory(SOURCE, TableName("ks", "empty"), 1))
    _fill(staging.directory(OTHER, T, 0), "nb-7-big")
    assert staging.tables(SOURCE) == {T: [one, three], other: [staging.directory(SOURCE, other, 1)]}
    assert staging.tables(RESTORE) == {}


def test_single_sstables(staging: Staging) -> None:
    directory = _fill(staging.directory(SOURCE, T, 0), "nb-1-big", "nb-2-big", "da-3g_1-bti")
    (directory / "note.txt").write_text("no component")
    assert not is_one_directory_each(directory)
    singles = one_directory_each(directory)
    assert is_one_directory_each(directory)
    names = ["da-3g_1-bti", "nb-1-big", "nb-2-big"]
    assert list(singles) == names
    for name, single in singles.items():
        # Cassandra imports nothing from a path that does not end in the names of the table.
        assert single == directory / name / T.keyspace / T.table
        assert {p.name for p in single.iterdir()} == {f"{name}-{c}" for c in COMPONENTS}
        assert (single / f"{name}-Data.db").read_text() == f"{name} Data.db"
    assert (directory / "note.txt").is_file()
    assert one_directory_each(directory) == singles
    assert staging.tables(SOURCE) == {T: [directory]}


@pytest.mark.parametrize("moved", range(1, 2 * len(COMPONENTS)))
def test_single_sstables_after_a_kill(staging: Staging, moved: int) -> None:
    """At whichever component it came, nothing is lost or torn apart."""
    directory = _fill(staging.directory(SOURCE, T, 0), "nb-1-big", "nb-2-big")
    for file in sorted(directory.iterdir())[:moved]:
        own = directory / sstable_of(file.name) / T.keyspace / T.table
        own.mkdir(parents=True, exist_ok=True)
        file.rename(own / file.name)
    assert is_one_directory_each(directory)
    assert staging.tables(SOURCE) == {T: [directory]}
    for name, single in one_directory_each(directory).items():
        assert {p.name for p in single.iterdir()} == {f"{name}-{c}" for c in COMPONENTS}
    assert len(one_directory_each(directory)) == 2


def test_imported_single_ones_are_not_offered_again(staging: Staging) -> None:
    directory = _fill(staging.directory(SOURCE, T, 0), "nb-1-big", "nb-2-big")
    first, second = one_directory_each(directory).values()
    for file in first.iterdir():
        file.unlink()  # Cassandra took them
    assert one_directory_each(directory) == {"nb-2-big": second}
    for file in second.iterdir():
        file.unlink()
    assert staging.tables(SOURCE) == {}


# What is left.


def test_staged_restores_and_their_end(staging: Staging, directories: list[str]) -> None:
    _fill(staging.directory(SOURCE, T, 2), "nb-1-big")
    Staging(directories[:1], OTHER).prepare()
    Path(directories[1], ROOT, "by-hand").mkdir()
    Path(directories[1], "ks").mkdir()
    assert staged_restores(directories) == {RESTORE, OTHER}
    staging.remove()
    staging.remove()
    assert staged_restores(directories) == {OTHER}
    assert Path(directories[1], ROOT, "by-hand").is_dir()
    assert Path(directories[1], "ks").is_dir()


def test_nothing_was_ever_restored(directories: list[str]) -> None:
    assert staged_restores([*directories, f"{directories[0]}/missing"]) == frozenset()
    Staging(directories, RESTORE).remove()
    assert os.listdir(directories[0]) == []


def test_data_directory_that_cannot_be_read(directories: list[str]) -> None:
    Path(directories[0]).rmdir()
    Path(directories[0]).symlink_to(directories[0])  # like missing permissions, but for root too
    with pytest.raises(DataDirectoryProblem, match=f"{directories[0]}/{ROOT}: "):
        staged_restores(directories)


@pytest.mark.parametrize("link", [ROOT, f"{ROOT}/{RESTORE}"])
def test_removal_follows_no_link(tmp_path: Path, directories: list[str], link: str) -> None:
    """Neither what is left is looked for, nor removed, where a link leads."""
    elsewhere = _fill(tmp_path / "elsewhere" / RESTORE, "nb-1-big").parent
    path = Path(directories[1], link)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(elsewhere if link == ROOT else elsewhere / RESTORE)
    if link == ROOT:
        assert staged_restores(directories) == frozenset()
    with pytest.raises(DataDirectoryProblem, match=f"{path} is a symbolic link; remove it"):
        Staging(directories, RESTORE).remove()
    assert len(list((elsewhere / RESTORE).iterdir())) == len(COMPONENTS)


def test_link_among_staged_files_is_removed_itself(tmp_path: Path, staging: Staging) -> None:
    elsewhere = _fill(tmp_path / "elsewhere", "nb-1-big")
    directory = _fill(staging.directory(SOURCE, T, 0), "nb-1-big")
    (directory / "link").symlink_to(elsewhere)
    staging.remove()
    assert not directory.exists()
    assert len(list(elsewhere.iterdir())) == len(COMPONENTS)

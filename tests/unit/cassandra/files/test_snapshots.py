# SPDX-License-Identifier: Apache-2.0
"""Snapshots on disk, over several data directories."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.errors import DataDirectoryProblem
from tests.unit.cassandra.tree import SSTABLE, DataDirectories, table

T = table("ks", "t", 1)
REMEDY = r"check \[cassandra\] data_directories"


@pytest.fixture
def data(tmp_path: Path) -> DataDirectories:
    return DataDirectories(tmp_path)


@pytest.fixture
def tree(data: DataDirectories) -> SnapshotTree:
    return SnapshotTree(data.names)


def test_files_of_all_directories(data: DataDirectories, tree: SnapshotTree) -> None:
    data.snapshot(0, T, generations=(1, 3))
    data.snapshot(1, T, generations=(2,))
    found = list(tree.files("tag", [T]))
    assert [f.data_directory for f in found] == [0] * 10 + [1] * 5
    assert {f.name for f in found} == {f"nb-{n}-big-{c}" for n in (1, 2, 3) for c in SSTABLE}
    assert {(f.keyspace, f.table, f.table_id, f.index) for f in found} == {("ks", "t", T.id, None)}


def test_each_file_is_known_by_its_identity(data: DataDirectories, tree: SnapshotTree) -> None:
    data.snapshot(0, T)
    files = list(tree.files("tag", [T]))
    assert len(files) == len(SSTABLE)
    for found in files:
        status = os.stat(found.path)
        assert (found.device, found.inode) == (status.st_dev, status.st_ino)
        assert (found.size, found.mtime_ns) == (status.st_size, status.st_mtime_ns)


def test_same_name_in_both_directories(data: DataDirectories, tree: SnapshotTree) -> None:
    data.snapshot(0, T)
    data.snapshot(1, T)
    found = [f for f in tree.files("tag", [T]) if f.name == "nb-1-big-Data.db"]
    assert [f.data_directory for f in found] == [0, 1]


def test_secondary_indexes_lie_beside_the_table(data: DataDirectories, tree: SnapshotTree) -> None:
    """The same names occur in the table and in each of its indexes."""
    data.snapshot(0, T)
    data.snapshot(0, T, index=".by_name")
    data.snapshot(1, T, index=".by_age")
    names = [(f.index, f.name) for f in tree.files("tag", [T]) if f.name.endswith("Data.db")]
    assert sorted(names, key=str) == [
        (".by_age", "nb-1-big-Data.db"),
        (".by_name", "nb-1-big-Data.db"),
        (None, "nb-1-big-Data.db"),
    ]


def test_tables_come_in_the_order_asked_for(data: DataDirectories, tree: SnapshotTree) -> None:
    tables = [table("b", "x", 1), table("a", "y", 2), table("a", "x", 3)]
    for each in tables:
        data.snapshot(0, each)
    found = list(dict.fromkeys((f.keyspace, f.table) for f in tree.files("tag", tables)))
    assert found == [("b", "x"), ("a", "y"), ("a", "x")]


def test_only_the_asked_table_id_and_tag(data: DataDirectories, tree: SnapshotTree) -> None:
    """A dropped table leaves a directory of the same name with another ID."""
    data.snapshot(0, T)
    data.snapshot(0, table("ks", "t", 99), generations=(5,))
    data.snapshot(0, T, tag="other", generations=(7,))
    data.snapshot(1, T, tag="tag2", generations=(8,))
    assert {f.name for f in tree.files("tag", [T])} == {f"nb-1-big-{c}" for c in SSTABLE}


def test_table_with_nothing_but_its_schema(data: DataDirectories, tree: SnapshotTree) -> None:
    (data.snapshot(1, T, generations=()) / "schema.cql").write_text("CREATE TABLE")
    data.manifest(1, T, [])
    assert [f.name for f in tree.files("tag", [T])] == ["manifest.json", "schema.cql"]


def test_count(data: DataDirectories, tree: SnapshotTree) -> None:
    data.snapshot(0, T, generations=range(4))
    found = list(tree.files("tag", [T]))
    assert tree.count("tag", [T]) == (20, sum(f.size for f in found))


def test_table_without_snapshot_is_named(data: DataDirectories, tree: SnapshotTree) -> None:
    data.snapshot(0, T)
    absent = table("ks", "absent", 7)
    with pytest.raises(DataDirectoryProblem, match=REMEDY) as failure:
        list(tree.files("tag", [T, absent]))
    assert f"no snapshot tag of ks.absent (table ID {absent.id})" in str(failure.value)
    assert ", ".join(data.names) in str(failure.value)


@pytest.mark.parametrize("listed", ["nb-9-big-Data.db", ".by_name/nb-1-big-Data.db"])
def test_data_directory_that_we_do_not_know(
    data: DataDirectories, tree: SnapshotTree, listed: str
) -> None:
    """Cassandra's own list has an SSTable that lies in none of ours: nothing is left out."""
    data.snapshot(0, T)
    data.manifest(0, T, ["nb-1-big-Data.db", listed])
    with pytest.raises(DataDirectoryProblem, match=REMEDY) as failure:
        list(tree.files("tag", [T]))
    assert f"lists {listed} (1 in all)" in str(failure.value)


def test_manifest_may_lie_in_another_directory(data: DataDirectories, tree: SnapshotTree) -> None:
    data.snapshot(0, T, generations=(1,))
    data.snapshot(0, T, generations=(4,), index=".by_name")
    data.manifest(1, T, ["nb-1-big-Data.db", ".by_name/nb-4-big-Data.db"])
    assert len(list(tree.files("tag", [T]))) == 11


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"files": 5}'])
def test_manifest_that_is_none(data: DataDirectories, tree: SnapshotTree, text: str) -> None:
    path = data.manifest(0, T, [])
    path.write_text(text)
    with pytest.raises(DataDirectoryProblem, match=f"{path} cannot be read"):
        list(tree.files("tag", [T]))


@pytest.mark.parametrize("where", ["", ".by_name"])
@pytest.mark.parametrize("kind", ["file link", "directory link", "directory", "fifo"])
def test_only_regular_files(
    data: DataDirectories, tree: SnapshotTree, where: str, kind: str
) -> None:
    directory = data.snapshot(0, T, index=where)
    odd = directory / "odd"
    if kind == "file link":
        odd.symlink_to("/etc/passwd")
    elif kind == "directory link":
        odd.symlink_to(data.paths[0])
    elif kind == "fifo":
        os.mkfifo(odd)
    else:
        (directory / "odd" / "deeper").mkdir(parents=True)
    with pytest.raises(DataDirectoryProblem, match=f"{odd}.* is not a regular file"):
        list(tree.files("tag", [T]))


def test_snapshot_is_no_link(data: DataDirectories, tree: SnapshotTree, tmp_path: Path) -> None:
    snapshots = data.snapshot(0, T, tag="other").parent
    (snapshots / "tag").symlink_to(tmp_path)
    with pytest.raises(DataDirectoryProblem, match=f"{snapshots / 'tag'} is not a directory"):
        list(tree.files("tag", [T]))


def test_snapshot_that_is_cleared_meanwhile(data: DataDirectories, tree: SnapshotTree) -> None:
    later = table("ks", "later", 2)
    data.snapshot(0, T)
    data.snapshot(0, later)
    files = tree.files("tag", [T, later])
    next(files)
    shutil.rmtree(data.table_directory(0, later))
    with pytest.raises(DataDirectoryProblem, match=r"no snapshot tag of ks\.later"):
        list(files)


@pytest.mark.parametrize("depth", ["keyspace", "table", "snapshots"])
def test_what_cannot_be_read_is_not_taken_for_empty(
    data: DataDirectories, tree: SnapshotTree, depth: str
) -> None:
    """Where one of two directories fails, half a snapshot must not pass for a whole one."""
    data.snapshot(0, T)
    broken = {
        "keyspace": data.paths[1] / "ks",
        "table": data.table_directory(1, T),
        "snapshots": data.table_directory(1, T) / "snapshots",
    }[depth]
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.symlink_to(broken)  # like missing permissions, but for root too
    with pytest.raises(DataDirectoryProblem, match=str(data.paths[1])):
        list(tree.files("tag", [T]))


# Tags and existence.


def test_tags_with_our_prefix(data: DataDirectories, tree: SnapshotTree) -> None:
    data.snapshot(0, T, tag="mdbb-1")
    data.snapshot(1, table("ks2", "u"), tag="mdbb-2")
    data.snapshot(0, T, tag="truncated-123-t")
    data.snapshot(0, T, tag="x-mdbb-3")
    assert tree.tags("mdbb-") == {"mdbb-1", "mdbb-2"}


def test_tags_of_dropped_tables_too(data: DataDirectories, tree: SnapshotTree) -> None:
    data.snapshot(0, table("gone", "t", 77), tag="mdbb-1")
    assert tree.tags("mdbb-") == {"mdbb-1"}
    assert tree.exists("mdbb-1")


def test_existence_is_exact(data: DataDirectories, tree: SnapshotTree) -> None:
    data.snapshot(1, T, tag="mdbb-10")
    assert tree.exists("mdbb-10")
    assert not tree.exists("mdbb-1")
    assert not tree.exists("mdbb-")


def test_keyspace_on_another_disk(
    data: DataDirectories, tree: SnapshotTree, tmp_path: Path
) -> None:
    """Operators put a keyspace elsewhere by a link; its snapshots are found and seen to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (data.paths[0] / "ks").symlink_to(elsewhere)
    data.snapshot(0, T, tag="mdbb-1")
    assert len(list(tree.files("mdbb-1", [T]))) == 5
    assert tree.exists("mdbb-1")
    assert tree.tags("mdbb-") == {"mdbb-1"}


def test_stray_files_are_no_trouble(data: DataDirectories, tree: SnapshotTree) -> None:
    (data.paths[0] / "stray").write_text("")
    (data.paths[0] / "dangling").symlink_to("/nowhere")
    (data.paths[1] / "ks").mkdir()
    (data.paths[1] / "ks" / "stray").write_text("")
    (data.table_directory(1, T)).mkdir()
    (data.table_directory(1, T) / "snapshots").write_text("")
    assert tree.tags("") == frozenset()
    tree.check()


# The directories themselves.


def test_check_passes(data: DataDirectories, tree: SnapshotTree) -> None:
    data.snapshot(1, T)
    tree.check()


def test_missing_directory_is_named(data: DataDirectories) -> None:
    gone = str(data.paths[0].parent / "gone")
    with pytest.raises(DataDirectoryProblem, match=REMEDY) as failure:
        SnapshotTree([*data.names, gone]).check()
    assert f"data directory {gone}: No such file or directory" in str(failure.value)
    with pytest.raises(DataDirectoryProblem, match=f"data directory {gone}"):
        SnapshotTree([gone]).space()


def test_directories_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryProblem, match="holds the keyspace system"):
        SnapshotTree([str(tmp_path)]).check()


def test_no_directory_at_all() -> None:
    with pytest.raises(DataDirectoryProblem, match="there is no data directory"):
        SnapshotTree([]).check()


def test_space_of_each_directory(data: DataDirectories, tree: SnapshotTree) -> None:
    spaces = tree.space()
    assert [s.path for s in spaces] == list(data.names)
    assert all(0 <= s.free <= s.total and s.total > 0 for s in spaces)

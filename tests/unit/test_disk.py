# SPDX-License-Identifier: Apache-2.0
"""Durable files and directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from magnetodb_backup import disk
from tests.unit.disk_calls import recorded_disk_calls


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o077)
    yield
    os.umask(old)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_file_is_synced_then_renamed_then_its_name_is_synced(tmp_path: Path) -> None:
    path = tmp_path / "note"
    with recorded_disk_calls() as calls:
        disk.write_file(path, b"new", mode=0o600)
    assert calls == [
        ("fsync", f"{path}.part"),
        ("rename", str(path)),
        ("fsync", str(tmp_path)),
    ]
    assert (path.read_bytes(), _mode(path)) == (b"new", 0o600)


def test_file_replaces_the_old_one_and_what_a_crash_left(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_bytes(b"old, and longer")
    (tmp_path / "note.part").write_bytes(b"half")
    disk.write_file(path, b"new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"note": b"new"}


def test_old_file_stays_if_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_bytes(b"old")
    (tmp_path / "note.part").mkdir()
    with pytest.raises(OSError, match=r"note\.part"):
        disk.write_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_copy_is_synced_whatever_the_umask(tmp_path: Path, umask: None) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(b"content")
    with recorded_disk_calls() as calls:
        disk.copy_file(source, copy, 0o660)
    assert calls == [("fsync", str(copy))]
    assert (copy.read_bytes(), _mode(copy)) == (b"content", 0o660)
    with pytest.raises(FileExistsError):
        disk.copy_file(source, copy, 0o660)
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        disk.copy_file(tmp_path / "link", tmp_path / "other", 0o660)


def test_append_is_synced(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    disk.append(path, b"one ")
    with recorded_disk_calls() as calls:
        disk.append(path, b"two")
    assert calls == [("fsync", str(path)), ("fsync", str(tmp_path))]
    assert path.read_bytes() == b"one two"


def test_each_made_directory_is_durable_before_the_next(tmp_path: Path) -> None:
    with recorded_disk_calls() as calls:
        disk.make_directories(tmp_path / "a" / "b", 0o750)
        disk.make_directories(tmp_path / "a" / "b", 0o750)
    assert calls == [("fsync", str(tmp_path)), ("fsync", str(tmp_path / "a"))]
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.usefixtures("umask")
def test_directories_obey_the_umask(tmp_path: Path) -> None:
    disk.make_directories(tmp_path / "a" / "b", 0o770)
    assert (_mode(tmp_path / "a"), _mode(tmp_path / "a" / "b")) == (0o700, 0o700)


@pytest.mark.usefixtures("umask")
def test_directories_for_the_owner_above(tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    if os.geteuid() == 0:
        os.chown(above, 12345, 23456)
    disk.make_directories(above / "a" / "b", 0o770, for_owner=True)
    wanted = above.stat()
    for directory in (above / "a", above / "a" / "b"):
        found = directory.stat()
        assert (found.st_uid, found.st_gid) == (wanted.st_uid, wanted.st_gid)
        assert _mode(directory) == 0o770


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    """A dangling link exists: nothing is made where it points to."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        disk.make_directories(tmp_path / "link" / "a", 0o770, for_owner=True)
    assert [p.name for p in tmp_path.iterdir()] == ["link"]


def test_path_is_given_to_the_owner_above(tmp_path: Path) -> None:
    path = tmp_path / "above" / "file"
    path.parent.mkdir()
    path.write_bytes(b"")
    if os.geteuid() == 0:
        os.chown(path.parent, 12345, 23456)
    disk.give_to_owner(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (
        path.parent.stat().st_uid,
        path.parent.stat().st_gid,
    )


def test_space_is_that_of_the_file_system(tmp_path: Path) -> None:
    space = disk.space(tmp_path)
    found = os.statvfs(tmp_path)
    assert space.total == found.f_blocks * found.f_frsize
    assert 0 < space.free <= space.total

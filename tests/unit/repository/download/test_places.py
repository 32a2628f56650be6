# SPDX-License-Identifier: Apache-2.0
"""Where a download writes, and where it never does."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.backup.manifest import Extent, FileEntry
from magnetodb_backup.errors import DataDirectoryProblem, FormatProblem, NoSpace
from magnetodb_backup.repository.download.partial_files import (
    PART,
    Room,
    created,
    make_directory,
    write,
)
from magnetodb_backup.repository.download.ranges import SMALL
from magnetodb_backup.repository.format.manifests import NodeManifestReader
from tests.property.manifests import lines_of, stored_lines
from tests.unit.repository.disk import noise
from tests.unit.repository.stages import ONE_BY_ONE, Stage, manifest_of, threads_left


@pytest.fixture
def stored(stage: Stage) -> Stage:
    stage.disk.write("a", noise(1, 100))
    stage.disk.write("b", noise(2, 100))
    stage.disk.write("large", noise(3, 2 * SMALL))
    stage.disk.upload(readers=1)
    return stage


def _untouched(stage: Stage) -> None:
    """Nothing was fetched, nothing was written."""
    assert stage.store.reads == []
    assert stage.written() == []


# Names from manifests.


NAMES = ["../x", "..", ".", "", "/etc/passwd", "a/b", "a/../b", "x\0", "x\ny", "x" * 256]


@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("member", ["name", "keyspace", "table", "index"])
def test_name_that_leads_elsewhere(stored: Stage, name: str, member: str) -> None:
    lines = lines_of(manifest_of(stored.disk.entries().values()))
    lines[2][member] = name
    text = stored_lines(lines)
    with pytest.raises(FormatProblem, match=r"^forged: "):
        stored.download(manifest=lambda: NodeManifestReader([text], "forged"))
    _untouched(stored)


@pytest.mark.parametrize("name", ["a" + PART, PART, "x" * 251, "ä" * 126])
def test_name_that_cannot_be_staged(stored: Stage, name: str) -> None:
    entry = replace(stored.disk.entries()["a"], name=name)
    with pytest.raises(FormatProblem, match="not a valid Cassandra file name"):
        stored.download_these([stored.disk.entries()["b"], entry])
    _untouched(stored)


def test_longest_name(stored: Stage) -> None:
    name = "x" * 250
    stored.download_these([replace(stored.disk.entries()["a"], name=name)])
    assert stored.contents() == {name: noise(1, 100)}


def test_two_entries_at_one_path(stored: Stage) -> None:
    entries = stored.disk.entries()
    with pytest.raises(FormatProblem, match=r"has two files for .*/a, the second is ks/t/a"):
        stored.download_these([entries["a"], replace(entries["b"], name="a")])
    _untouched(stored)


def test_the_same_entry_twice(stored: Stage) -> None:
    entries = stored.disk.entries()
    with pytest.raises(FormatProblem, match="has two files for"):
        stored.download_these([entries["a"], entries["a"]])
    _untouched(stored)


def test_two_entries_at_one_path_after_a_restart(stored: Stage) -> None:
    entries = stored.disk.entries()
    stored.download_these([entries["a"]])
    before = stored.contents()
    with pytest.raises(FormatProblem, match="has two files for"):
        stored.download_these([entries["a"], replace(entries["b"], name="a")])
    assert stored.contents() == before


# Room.


@pytest.mark.parametrize("size", [1 << 50, (1 << 63) - 1])
def test_huge_size(stored: Stage, size: int) -> None:
    """It is refused before anything is fetched, and before room is taken."""
    entry = stored.disk.entries()["a"]
    huge = replace(entry, size=size, extents=(Extent(entry.extents[0].pack, 0, size),))
    with pytest.raises(NoSpace, match=rf"need {-(-size // 4096) * 4096} bytes, \d+ are free"):
        stored.download_these([huge])
    _untouched(stored)


def test_many_that_are_huge_together(stored: Stage) -> None:
    entry, size = stored.disk.entries()["a"], (1 << 63) - 1
    extents = (Extent(entry.extents[0].pack, 0, size),)
    huge = [replace(entry, name=f"f{n}", size=size, extents=extents) for n in range(3)]
    with pytest.raises(NoSpace, match=rf"need {3 * (size + 1)} bytes"):
        stored.download_these(huge)
    _untouched(stored)


def test_files_of_which_each_would_fit(tmp_path: Path) -> None:
    room, free = Room(), _free(tmp_path)
    for number in range(4):
        room.need(tmp_path / f"missing{number}", free // 3)
    with pytest.raises(NoSpace, match=f"^{tmp_path}/missing0 and the others on its file system"):
        room.check()


def test_room_for_what_fits(tmp_path: Path) -> None:
    room = Room()
    room.need(tmp_path / "missing" / "deep", 5000)
    room.need(tmp_path, 5000)
    room.check()
    assert room.directories == (tmp_path / "missing" / "deep", tmp_path)
    assert list(tmp_path.iterdir()) == []


def _free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse more bytes in a file, as a full disk or a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


@pytest.mark.parametrize("large", [SMALL, 3 * SMALL, 12 * SMALL], ids=["small", "one", "many"])
def test_disk_that_becomes_full(stage: Stage, large: int) -> None:
    """While others write to it, too: the room was there before."""
    stage.disk.write("a", noise(1, 100))
    stage.disk.write("large", noise(3, large))
    stage.disk.upload(readers=1, pack_size=4 * SMALL)
    with _largest_file(SMALL // 2):
        with pytest.raises(NoSpace, match=r"/ks/t has no space left for large; free") as told:
            stage.download(settings=ONE_BY_ONE)
        assert "finished files are not downloaded twice" in str(told.value)
    assert threads_left() == []
    assert "large" not in stage.contents()
    stage.store.bytes_read.clear()
    stage.download()
    assert stage.contents() == stage.disk.contents()
    assert stage.download().bytes_resumed == 100 + large


def test_journal_that_has_no_room(stage: Stage) -> None:
    for number in range(9):
        stage.disk.write(f"f{number}", noise(number, 100))
    stage.disk.upload()
    with _largest_file(200), pytest.raises(NoSpace, match=r"for journal\.jsonl; free some"):
        stage.download()
    assert stage.download().bytes_downloaded == 0
    assert stage.contents() == stage.disk.contents()


def test_write_to_a_full_device(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(NoSpace, match=f"{tmp_path} has no space left for x"):
            write(tmp_path / "x", full, b"bytes", 0)
    finally:
        os.close(full)


# Links, and other things that somebody put there.


def _elsewhere(stage: Stage) -> Path:
    elsewhere = stage.base / "elsewhere"
    elsewhere.mkdir()
    for name in ("a", "a" + PART, "t", "journal.jsonl"):
        (elsewhere / name).write_bytes(b"precious")
    return elsewhere


def _as_directory(stage: Stage, elsewhere: Path) -> None:
    stage.root.parent.mkdir(parents=True)
    stage.root.symlink_to(elsewhere)


def _as_dangling_directory(stage: Stage, elsewhere: Path) -> None:
    stage.root.parent.mkdir(parents=True)
    stage.root.symlink_to(elsewhere / "missing")


def _as_journal(stage: Stage, elsewhere: Path) -> None:
    stage.journal.symlink_to(elsewhere / "journal.jsonl")


@pytest.mark.parametrize("plant", [_as_directory, _as_dangling_directory, _as_journal])
def test_links_are_refused(stored: Stage, plant: Callable[[Stage, Path], None]) -> None:
    elsewhere = _elsewhere(stored)
    plant(stored, elsewhere)
    with pytest.raises(
        DataDirectoryProblem, match=r"is a (symbolic )?link; a restore .* remove it"
    ):
        stored.download()
    assert stored.store.reads == []
    _precious(elsewhere)


@pytest.mark.parametrize("name", ["a", "a" + PART])
def test_link_in_a_files_place_is_replaced(stored: Stage, name: str) -> None:
    elsewhere = _elsewhere(stored)
    stored.root.mkdir(parents=True)
    (stored.root / name).symlink_to(elsewhere / name)
    stored.download()
    assert stored.contents() == stored.disk.contents()
    assert not any(p.is_symlink() for p in stored.written())
    _precious(elsewhere)


@pytest.mark.parametrize("size", [100, SMALL + 1])
def test_link_that_is_planted_meanwhile(stage: Stage, size: int) -> None:
    """In the directory's place, after it was looked at."""
    elsewhere = _elsewhere(stage)
    stage.disk.write("a", noise(1, size))
    stage.disk.upload(pack_size=4 * SMALL)

    def plant(pack: str, chunk: bytes) -> bytes:
        if not stage.root.is_symlink():
            stage.root.rename(stage.base / "moved")
            stage.root.symlink_to(elsewhere)
        return chunk

    stage.store.on_chunk = plant
    with pytest.raises(DataDirectoryProblem, match="is a symbolic link or not a directory"):
        stage.download(settings=ONE_BY_ONE)
    _precious(elsewhere)


def _precious(elsewhere: Path) -> None:
    assert {p.read_bytes() for p in elsewhere.iterdir()} == {b"precious"}
    assert len(list(elsewhere.iterdir())) == 4


@pytest.mark.parametrize("name", ["a", "a" + PART])
def test_pipe_in_a_files_place(stored: Stage, name: str) -> None:
    """Nobody waits for a writer."""
    stored.root.mkdir(parents=True)
    os.mkfifo(stored.root / name)
    stored.download()
    assert stored.contents() == stored.disk.contents()


@pytest.mark.parametrize("name", ["a", "a" + PART])
def test_directory_in_a_files_place(stored: Stage, name: str) -> None:
    (stored.root / name).mkdir(parents=True)
    with pytest.raises(DataDirectoryProblem, match="cannot be written"):
        stored.download()
    (stored.root / name).rmdir()
    stored.download()
    assert stored.contents() == stored.disk.contents()


def test_file_in_a_directorys_place(stored: Stage) -> None:
    stored.root.parent.mkdir(parents=True)
    stored.root.write_bytes(b"precious")
    with pytest.raises(DataDirectoryProblem):
        stored.download()
    assert stored.store.reads == []
    assert stored.root.read_bytes() == b"precious"


def test_make_directory_twice(tmp_path: Path) -> None:
    for _ in range(2):
        make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_part_takes_its_room_at_once(tmp_path: Path) -> None:
    with created(tmp_path / "f", 4 * SMALL):
        found = (tmp_path / ("f" + PART)).stat()
    assert found.st_size == 4 * SMALL
    assert not (tmp_path / "f").exists()


def test_place_that_is_not_wanted_is_not_looked_at(stored: Stage) -> None:
    """Also not for links."""
    elsewhere = _elsewhere(stored)
    _as_directory(stored, elsewhere)

    def none(entry: FileEntry) -> Path | None:
        return None

    done: Any = stored.download(1, none)
    assert done.files_total == 0
    _precious(elsewhere)

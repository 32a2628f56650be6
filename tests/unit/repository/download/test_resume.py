# SPDX-License-Identifier: Apache-2.0
"""A download that was killed, or failed, goes on: nothing that is whole is fetched again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.errors import Cancelled, StorageUnavailable
from magnetodb_backup.repository.download.download import DownloadSettings
from magnetodb_backup.repository.download.partial_files import PART
from tests.unit.repository.disk import PACK_SIZE, noise
from tests.unit.repository.stages import ONE_BY_ONE, Stage

KILLED = 9
BATCH = 128  # files that are made durable together


def _files(stage: Stage, count: int) -> None:
    """Make files that have a pack each, so that packs tell which were fetched."""
    for number in range(count):
        stage.disk.write(f"f{number:03d}", noise(number, PACK_SIZE))
    stage.disk.upload(readers=1)


def _killed(stage: Stage, at_chunk: int, settings: DownloadSettings | None = None) -> None:
    """Download in a process that dies without a word when it gets this chunk."""
    child = os.fork()
    if child == 0:
        try:
            chunks = iter(range(1, at_chunk))

            def die(pack: str, chunk: bytes) -> bytes:
                if next(chunks, None) is None:
                    os._exit(KILLED)
                return chunk

            stage.store.on_chunk = die
            stage.download(settings=settings)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == KILLED


def _packs_on_disk(stage: Stage) -> set[str]:
    """Return the packs whose bytes lie on the disk as a whole, under whichever name."""
    found = {hashlib.sha256(p.read_bytes()).hexdigest() for p in stage.written()}
    return found & set(stage.disk.repository.packs())


def _resumed(stage: Stage, settings: DownloadSettings | None = None) -> RestoreProgress:
    """Go on; prove that nothing was fetched that was there, nothing twice, and all is right."""
    there = _packs_on_disk(stage)
    sizes = stage.disk.repository.packs()
    stage.store.bytes_read.clear()
    stage.told.clear()
    done = stage.download(settings=settings)
    assert stage.store.bytes_read == {p: s for p, s in sizes.items() if p not in there}
    assert stage.contents() == stage.disk.contents()
    assert done.files_done == done.files_total == len(stage.disk.contents())
    assert done.bytes_done == done.bytes_total == sum(sizes.values())
    assert done.bytes_downloaded == sum(stage.store.bytes_read.values())
    assert done.bytes_resumed == done.bytes_total - done.bytes_downloaded
    _repeated(stage)
    return done


def _repeated(stage: Stage) -> None:
    """Download what is there; nothing is read."""
    stage.store.reads.clear()
    done = stage.download()
    assert stage.store.reads == []
    assert done.bytes_resumed == done.bytes_total == done.bytes_done
    assert done.bytes_downloaded == 0


@pytest.mark.parametrize("at_chunk", [1, 2, BATCH, BATCH + 1, BATCH + 2, 199, 200])
def test_killed_at_any_file(stage: Stage, at_chunk: int) -> None:
    _files(stage, 200)
    _killed(stage, at_chunk, ONE_BY_ONE)
    assert len(_packs_on_disk(stage)) == at_chunk - 1
    _resumed(stage)


@pytest.mark.parametrize("at_chunk", [1, 20, 150, 190])
def test_killed_with_threads_at_work(stage: Stage, at_chunk: int) -> None:
    _files(stage, 200)
    _killed(stage, at_chunk)
    _resumed(stage)


def test_killed_again_and_again(stage: Stage) -> None:
    """Each attempt gets two files; so it ends."""
    _files(stage, 10)
    for attempt in range(5):
        assert len(_packs_on_disk(stage)) == 2 * attempt
        if attempt < 4:
            _killed(stage, 3, ONE_BY_ONE)
    _resumed(stage)


@pytest.mark.parametrize("at_chunk", [1, 5, 11, 12])
def test_killed_in_a_file_of_several_packs(stage: Stage, at_chunk: int) -> None:
    """Of a large file only the whole counts."""
    stage.disk.write("large", noise(1, 10 * PACK_SIZE))
    stage.disk.write("small-1", noise(2, PACK_SIZE))
    stage.disk.write("small-2", noise(3, PACK_SIZE))
    stage.disk.upload(readers=1)
    _killed(stage, at_chunk, ONE_BY_ONE)
    left = [path.read_bytes() for path in stage.written()]
    whole = sum(len(body) for body in stage.disk.contents().values() if body in left)
    done = stage.download()
    assert stage.contents() == stage.disk.contents()
    assert done.bytes_downloaded == 12 * PACK_SIZE - whole
    assert done.bytes_resumed == whole
    _repeated(stage)


def test_room_of_a_large_file_is_not_its_content(stage: Stage) -> None:
    """A part has its full size before it has its bytes."""
    stage.disk.write("large", noise(1, 400 * 1024))
    stage.disk.upload(pack_size=64 * 1024)
    _killed(stage, 3, ONE_BY_ONE)
    (part,) = stage.written()
    assert (part.name, part.stat().st_size) == ("large" + PART, 400 * 1024)
    assert stage.download().bytes_resumed == 0
    assert stage.contents() == stage.disk.contents()


# Where a kill can come while files are made durable: the states that it leaves.


def _downloaded(stage: Stage, count: int = 5) -> list[bytes]:
    _files(stage, count)
    stage.download()
    return stage.journal.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("kept", range(6))
def test_files_have_their_names_but_no_line(stage: Stage, kept: int) -> None:
    lines = _downloaded(stage)
    stage.journal.write_bytes(b"".join(lines[:kept]))
    assert _resumed(stage).bytes_downloaded == 0
    assert sorted(stage.journal.read_bytes().splitlines()) == sorted(
        line.strip() for line in _same_files(stage)
    )


def _same_files(stage: Stage) -> list[bytes]:
    """Return the lines that a journal of what lies there has."""
    lines = []
    for path in stage.written():
        found, body = path.stat(), path.read_bytes()
        document = {
            "inode": found.st_ino,
            "mtime_ns": found.st_mtime_ns,
            "path": str(path),
            "sha256": hashlib.sha256(body).hexdigest(),
            "size": len(body),
        }
        lines.append(json.dumps(document, sort_keys=True).encode())
    return lines


@pytest.mark.parametrize("renamed", range(6))
def test_only_some_have_their_names(stage: Stage, renamed: int) -> None:
    _downloaded(stage)
    stage.journal.unlink()
    for path in sorted(stage.written())[renamed:]:
        path.rename(path.with_name(path.name + PART))
    assert _resumed(stage).bytes_downloaded == 0


def test_torn_line_at_any_byte(stage: Stage) -> None:
    *first, last = _downloaded(stage, 2)
    for length in range(len(last)):
        stage.journal.write_bytes(b"".join(first) + last[:length])
        assert stage.download().bytes_downloaded == 0
        assert sorted(stage.journal.read_bytes().splitlines()) == sorted(_same_files(stage))


def test_torn_line_of_a_file_that_is_gone(stage: Stage) -> None:
    *first, last = _downloaded(stage, 2)
    stage.journal.write_bytes(b"".join(first) + last[:-2])
    Path(json.loads(last)["path"]).unlink()
    assert _resumed(stage).bytes_downloaded == PACK_SIZE


# What was changed behind our back is not taken for finished.


def _shorten(path: Path) -> None:
    os.truncate(path, PACK_SIZE - 1)


def _change(path: Path) -> None:
    body = path.read_bytes()
    path.write_bytes(bytes([body[0] ^ 1]) + body[1:])
    os.utime(path, ns=(0, 0))


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(bytes(PACK_SIZE))
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)


def _link(path: Path) -> None:
    target = path.parents[3] / "elsewhere"
    path.rename(target)
    path.symlink_to(target)


@pytest.mark.parametrize("spoil", [Path.unlink, _shorten, _change, _replace, _link])
@pytest.mark.parametrize("with_journal", [True, False])
def test_changed_file_is_fetched_again(
    stage: Stage, spoil: Callable[[Path], None], with_journal: bool
) -> None:
    _downloaded(stage)
    spoil(stage.root / "f003")
    if not with_journal:
        stage.journal.unlink()
    stage.store.bytes_read.clear()
    stage.download()
    assert stage.contents() == stage.disk.contents()
    assert not (stage.root / "f003").is_symlink()
    assert sum(stage.store.bytes_read.values()) == PACK_SIZE


def test_file_of_another_backup_in_its_place(stage: Stage) -> None:
    """The journal is of the same place, but the file has another content now."""
    _downloaded(stage)
    stage.disk.write("f001", noise(77, PACK_SIZE))
    stage.disk.upload(2)
    stage.store.bytes_read.clear()
    stage.download(2)
    assert stage.contents() == stage.disk.contents()
    assert sum(stage.store.bytes_read.values()) == PACK_SIZE


# Ends without a kill.


@pytest.mark.parametrize("error", [StorageUnavailable("away"), Cancelled("enough")])
def test_error_keeps_what_is_whole(stage: Stage, error: Exception) -> None:
    _files(stage, 10)
    chunks = iter(range(6))

    def fail(pack: str, chunk: bytes) -> bytes:
        if next(chunks, None) is None:
            raise error
        return chunk

    stage.store.on_chunk = fail
    with pytest.raises(type(error)):
        stage.download(settings=ONE_BY_ONE)
    stage.store.on_chunk = lambda pack, chunk: chunk
    assert len([p for p in stage.written() if not p.name.endswith(PART)]) == 6
    assert _resumed(stage).bytes_resumed == 6 * PACK_SIZE


def test_empty_files_are_finished_too(stage: Stage) -> None:
    stage.disk.write("empty", b"")
    _files(stage, 2)
    stage.download()
    before = (stage.root / "empty").stat()
    assert stage.download().files_done == 3
    assert (stage.root / "empty").stat() == before


def test_cancelled_while_leftovers_are_read(stage: Stage) -> None:
    _downloaded(stage)
    stage.journal.unlink()
    looks: list[Any] = []

    def cancel() -> None:
        looks.append(1)
        if len(looks) == 6:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        stage.download(raise_if_cancelled=cancel)
    assert _resumed(stage).bytes_downloaded == 0

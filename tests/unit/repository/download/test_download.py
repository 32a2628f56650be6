# SPDX-License-Identifier: Apache-2.0
"""A download gives back every byte, with few requests, in bounded memory."""

from __future__ import annotations

import hashlib
import os
import random
import stat
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from magnetodb_backup.domain.backup.manifest import Extent, FileEntry
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.repository.download.download import DownloadSettings
from magnetodb_backup.repository.download.ranges import SMALL, WantedRanges
from magnetodb_backup.storage.filesystem import FilesystemDriver
from tests.unit.repository.disk import PACK_SIZE, TABLE_ID, noise
from tests.unit.repository.stages import CountingStore, Stage

KIB = 1024
CONCURRENCY = pytest.mark.parametrize("concurrency", [1, 4])


def _mixed(stage: Stage) -> None:
    """Small files, files that are streamed, and files of several packs."""
    for number in range(30):
        stage.disk.write(f"small-{number:02d}", noise(number, 37 * KIB + number))
    for number in range(4):
        stage.disk.write(f"medium-{number}", noise(100 + number, 2 * SMALL + number))
    for number in range(3):
        stage.disk.write(f"large-{number}", noise(200 + number, 3 * KIB * KIB + 5 * number))
    for number in range(3):
        stage.disk.write(f"empty-{number}", b"")
        stage.disk.write(f"same-{number}", b"TOC")
        stage.disk.write(f"copy-{number}", noise(300, SMALL + 1))
    stage.disk.upload(pack_size=KIB * KIB)


@CONCURRENCY
def test_every_file_comes_back(stage: Stage, concurrency: int) -> None:
    _mixed(stage)
    done = stage.download(settings=DownloadSettings(concurrency=concurrency))
    assert stage.contents() == stage.disk.contents()
    total = sum(map(len, stage.disk.contents().values()))
    assert replace(done, bytes_downloaded=0) == RestoreProgress(
        files_total=46, files_done=46, bytes_total=total, bytes_done=total
    )
    assert done.bytes_downloaded == sum(stage.store.bytes_read.values())


def test_from_a_file_system(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    stage = Stage(tmp_path, FilesystemDriver(str(tmp_path / "store")))
    _mixed(stage)
    stage.download()
    assert stage.contents() == stage.disk.contents()


@pytest.mark.parametrize("seed", range(20))
def test_extents_that_lie_anyhow(stage: Stage, seed: int) -> None:
    """Overlapping, equal, nested, with gaps, out of order, several to a file."""
    chance = random.Random(seed)
    packs = [noise(1000 * seed + n, chance.randint(1, 900 * KIB)) for n in range(3)]
    names = []
    for body in packs:
        names.append(hashlib.sha256(body).hexdigest())
        stage.disk.repository.put_pack(
            names[-1], body, hashlib.md5(body, usedforsecurity=False).hexdigest()
        )
    entries, expected = [], {}
    for number in range(40):
        content, extents = b"", []
        for _ in range(chance.choice([0, 1, 1, 1, 2, 5])):
            which = chance.randrange(3)
            size = len(packs[which])
            offset = chance.randrange(size)
            length = chance.choice([0, 1, 100, 70 * KIB, SMALL, SMALL + 1, size])
            length = min(length, size - offset)
            extents.append(Extent(names[which], offset, length))
            content += packs[which][offset : offset + length]
        expected[f"f{number}"] = content
        entries.append(_entry(f"f{number}", content, tuple(extents)))
    stage.download_these(
        entries, settings=DownloadSettings(concurrency=2, gap=chance.choice([0, KIB]))
    )
    assert stage.contents() == expected


def _entry(name: str, content: bytes, extents: tuple[Extent, ...]) -> FileEntry:
    return FileEntry(
        keyspace="ks",
        table="t",
        table_id=TABLE_ID,
        index=None,
        data_directory=0,
        name=name,
        size=len(content),
        mtime_ns=0,
        sha256=hashlib.sha256(content).hexdigest(),
        crc32=None,
        extents=extents,
    )


def test_a_pack_is_read_once(stage: Stage) -> None:
    for number in range(20):
        stage.disk.write(f"f{number:02d}", noise(number, 100))
    stage.disk.write("large", noise(99, 3 * PACK_SIZE))
    stage.disk.upload()
    stage.download()
    assert sorted(stage.store.reads) == [
        (pack, 0, size) for pack, size in sorted(stage.disk.repository.packs().items())
    ]


@pytest.mark.parametrize(("gap", "ranges"), [(100, [(0, 300)]), (99, [(0, 100), (200, 100)])])
def test_gap_that_is_worth_a_request(stage: Stage, gap: int, ranges: list[tuple[int, int]]) -> None:
    for name in "abc":
        stage.disk.write(name, noise(ord(name), 100))
    stage.disk.upload(readers=1)

    def place(entry: FileEntry) -> Path | None:
        return None if entry.name == "b" else stage.root / entry.name

    done = stage.download(1, place, settings=DownloadSettings(gap=gap))
    assert [(offset, length) for _, offset, length in sorted(stage.store.reads)] == ranges
    assert set(stage.contents()) == {"a", "c"}
    assert (done.files_total, done.bytes_total) == (2, 200)
    assert done.bytes_downloaded == sum(length for _, length in ranges)


def test_nothing_is_read_of_what_is_not_wanted(stage: Stage) -> None:
    stage.disk.write("a", noise(1, PACK_SIZE))
    stage.disk.write("b", noise(2, PACK_SIZE))
    stage.disk.upload()
    stage.download(1, lambda entry: stage.root / "a" if entry.name == "a" else None)
    assert [pack for pack, _, _ in stage.store.reads] == [stage.disk.entries()["a"].extents[0].pack]


def test_nothing_wanted_makes_nothing(stage: Stage) -> None:
    stage.disk.write("a", noise(1, 10))
    stage.disk.upload()
    assert stage.download(1, lambda entry: None) == RestoreProgress()
    assert not stage.root.exists()


def test_files_lie_where_they_are_placed(stage: Stage) -> None:
    for name in ("a", "b", "large"):
        stage.disk.write(name, noise(ord(name[0]), 1500 if name == "large" else 100))
    stage.disk.upload()
    stage.download(1, lambda entry: stage.base / entry.name / "deep" / entry.name)
    for name, content in stage.disk.contents().items():
        assert (stage.base / name / "deep" / name).read_bytes() == content


def test_cassandras_group_may_take_the_files(stage: Stage) -> None:
    """Whatever the umask; and root gives them to the owner of the directory that was there."""
    stage.disk.write("small", noise(1, 100))
    stage.disk.write("large", noise(2, 3 * PACK_SIZE))
    stage.disk.write("empty", b"")
    stage.disk.upload()
    if os.geteuid() == 0:
        os.chown(stage.base, 12345, 23456)
    owner = stage.base.stat()
    old = os.umask(0o077)
    try:
        stage.download()
    finally:
        os.umask(old)
    for path in (stage.base / "staging").rglob("*"):
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == (0o770 if path.is_dir() else 0o660)
        assert (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid)


def test_progress_grows_and_ends_whole(stage: Stage) -> None:
    _mixed(stage)
    done = stage.download()
    assert stage.told[-1] == done
    for before, after in zip(stage.told, stage.told[1:], strict=False):
        assert before.bytes_done <= after.bytes_done
        assert before.bytes_downloaded <= after.bytes_downloaded
    assert len(stage.told) < 100  # not one for each file or chunk


class _Zeros(CountingStore):
    """Makes up the bytes of packs: they are in nobody's memory."""

    SIZE = 64 * KIB * KIB

    def read(self, container, name, *, offset=0, length=None):  # type: ignore[no-untyped-def]
        for _ in range(length // (64 * KIB)):
            yield bytes(64 * KIB)


@pytest.mark.parametrize("parts", [1, 8])
def test_large_file_is_not_held_in_memory(tmp_path: Path, parts: int) -> None:
    stage = Stage(tmp_path, _Zeros())
    digest = hashlib.sha256()
    for _ in range(64):
        digest.update(bytes(KIB * KIB))
    length = _Zeros.SIZE // parts
    entry = replace(
        _entry("large", b"", tuple(Extent(f"{n:064x}", 0, length) for n in range(parts))),
        size=_Zeros.SIZE,
        sha256=digest.hexdigest(),
    )
    tracemalloc.start()
    try:
        stage.download_these([entry])
        assert tracemalloc.get_traced_memory()[1] < 12 * KIB * KIB
    finally:
        tracemalloc.stop()
    assert (stage.root / "large").stat().st_size == _Zeros.SIZE


def test_many_files_are_not_held_in_memory(tmp_path: Path) -> None:
    wanted = WantedRanges()
    # Python keeps the names of paths in a table, whose growth would be measured, too.
    paths = [tmp_path / f"f{number}" for number in range(20_000)]
    assert len({str(path) for path in paths}) == 20_000  # each keeps its text, too
    tracemalloc.start()
    try:
        for number, path in enumerate(paths):
            extent = Extent(f"{number // 5000:064x}", number % 5000 * 10, 10)
            wanted.add(path, replace(_entry(path.name, b"", (extent,)), size=10), finished=False)
        assert sum(len(read.pieces) for read in wanted.reads(KIB)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 2 * KIB * KIB
    finally:
        tracemalloc.stop()
        wanted.close()

# SPDX-License-Identifier: Apache-2.0
"""The index of stored files: what it remembers, and what becomes of a bad file."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.backup.manifest import Extent, SnapshotFile
from magnetodb_backup.repository.upload.file_index import FileIndex, Known

FILE = SnapshotFile("ks", "t", "0" * 32, None, 0, "f", "/data/f", 1, 2, 300, 4)
SHA, PACK = "ab" * 32, "cd" * 32
EXTENTS = (Extent(PACK, 10, 200), Extent(PACK, 700, 100))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


@pytest.fixture
def index(path: Path) -> Iterator[FileIndex]:
    index = FileIndex(path)
    yield index
    index.close()


def _learn(index: FileIndex, file: SnapshotFile = FILE) -> None:
    index.learn_content(SHA, file.size, EXTENTS)
    index.learn_identity(file, SHA, 5, False)
    index.learn_pack(PACK, 1000)


def test_new_index_knows_nothing(index: FileIndex) -> None:
    assert index.is_empty()
    assert index.by_identity(FILE) is None
    assert index.by_content(SHA) is None
    assert index.pack_size(PACK) is None
    assert not index.has_size(300)


def test_it_remembers_over_a_restart(path: Path) -> None:
    first = FileIndex(path)
    _learn(first)
    first.close()
    second = FileIndex(path)
    assert not second.is_empty()
    assert second.by_identity(FILE) == Known(SHA, 5, False, EXTENTS)
    assert second.by_content(SHA) == EXTENTS
    assert second.pack_size(PACK) == 1000
    assert second.has_size(300)
    second.close()


@pytest.mark.parametrize("part", ["inode", "size", "mtime_ns"])
def test_identity_needs_every_part(index: FileIndex, part: str) -> None:
    _learn(index)
    other: dict[str, Any] = {part: 99}
    assert index.by_identity(replace(FILE, **other)) is None


def test_identity_needs_no_name(index: FileIndex) -> None:
    _learn(index)
    assert index.by_identity(replace(FILE, name="g", path="/data/g", keyspace="k")) is not None


def test_identity_needs_the_place_and_not_the_device(index: FileIndex) -> None:
    """Finding 25: disks change their numbers, and two disks may have the same inode."""
    first, other = (replace(FILE, path=f"/data{n}/ks/t-1/snapshots/a/f", device=n) for n in (1, 2))
    _learn(index, first)
    assert index.by_identity(replace(first, device=7)) is not None
    assert index.by_identity(replace(other, device=1)) is None
    again = replace(first, path="/data1/ks/t-1/snapshots/b/.i/f")
    assert index.by_identity(again) is not None


_BY_DEVICE = """
CREATE TABLE packs (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE contents (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL, extents TEXT NOT NULL)
    WITHOUT ROWID;
CREATE INDEX contents_size ON contents (size);
CREATE TABLE identities (
    device INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER,
    sha256 TEXT NOT NULL, crc32 INTEGER, corrupt INTEGER NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (device, inode, size, mtime_ns)) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


def test_index_of_an_older_release_is_taken_over(path: Path) -> None:
    """Its files are not read again; what is taken over once does not depend on the device."""
    with sqlite3.connect(path) as db:
        db.executescript(_BY_DEVICE)
        extents = f'[["{PACK}",10,200],["{PACK}",700,100]]'
        db.execute("INSERT INTO contents VALUES (?, 300, ?)", (SHA, extents))
        for inode in (2, 3):
            values = (1, inode, 300, 4, SHA, 5, False, 1)
            db.execute("INSERT INTO identities VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    db.close()
    index = FileIndex(path)
    assert index.by_identity(replace(FILE, device=9)) is None
    assert index.by_identity(FILE) == Known(SHA, 5, False, EXTENTS)
    index.close()
    index = FileIndex(path)
    assert index.by_identity(replace(FILE, device=9)) == Known(SHA, 5, False, EXTENTS)
    index.prune(3600)
    assert index.by_identity(replace(FILE, inode=3)) is None  # forgotten with the others
    index.close()


def test_large_identities_fit(index: FileIndex) -> None:
    file = replace(FILE, inode=2**63 - 1, mtime_ns=-(2**40))
    _learn(index, file)
    assert index.by_identity(file) is not None


def test_newest_place_of_a_content_counts(index: FileIndex) -> None:
    _learn(index)
    moved = (Extent("ef" * 32, 0, 300),)
    index.learn_content(SHA, 300, moved)
    assert index.by_identity(FILE) == Known(SHA, 5, False, moved)


def test_corrupt_files_are_remembered_as_such(index: FileIndex) -> None:
    index.learn_content(SHA, 300, EXTENTS)
    index.learn_identity(FILE, SHA, None, True)
    assert index.by_identity(FILE) == Known(SHA, None, True, EXTENTS)


def test_unused_identities_are_forgotten(index: FileIndex) -> None:
    _learn(index)
    index.prune(3600)
    assert index.by_identity(FILE) is not None
    index.prune(-1)
    assert index.by_identity(FILE) is None
    assert index.by_content(SHA) == EXTENTS


def test_it_is_private(index: FileIndex, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def _rubbish(path: Path) -> None:
    path.write_bytes(b"no database at all" * 500)


def _newer_version(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def _filled(path: Path) -> bytes:
    index = FileIndex(path)
    for number in range(2000):
        index.learn_pack(f"{number:064d}", number)
    index.close()
    return path.read_bytes()


def _cut(path: Path) -> None:
    path.write_bytes(_filled(path)[:5000])


def _damaged_inside(path: Path) -> None:
    """The header is good; only a query that reads this page would notice."""
    body = bytearray(_filled(path))
    middle = len(body) // 2 // 4096 * 4096
    body[middle : middle + 4096] = b"?" * 4096
    path.write_bytes(body)


@pytest.mark.parametrize("spoil", [_rubbish, _newer_version, _cut, _damaged_inside])
def test_unusable_file_is_moved_aside(
    path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(path)
    spoilt = path.read_bytes()
    index = FileIndex(path)
    assert index.is_empty()
    _learn(index)
    assert index.by_identity(FILE) is not None
    index.close()
    aside = path.with_suffix(".unusable")
    assert aside.read_bytes()[-1000:] == spoilt[-1000:]
    assert f"index {path} is unusable" in caplog.text
    assert str(aside) in caplog.text


def test_second_unusable_file_replaces_the_first(path: Path) -> None:
    for _ in range(2):
        _rubbish(path)
        FileIndex(path).close()
    assert path.with_suffix(".unusable").exists()


def test_many_threads_may_use_it(index: FileIndex) -> None:
    def work(thread: int) -> int:
        files = [replace(FILE, inode=1000 * thread + number) for number in range(300)]
        for file in files:
            _learn(index, file)
        return sum(index.by_identity(file) is not None for file in files)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [300] * 4


# Collections


def test_packs_are_forgotten_with_their_contents_and_files(tmp_path: Path) -> None:
    index = FileIndex(tmp_path / "index.sqlite")
    for name in ("a", "b"):
        index.learn_pack(name * 64, 10)
    index.learn_content("1" * 64, 10, (Extent("a" * 64, 0, 10),))
    index.learn_content("2" * 64, 15, (Extent("b" * 64, 0, 5), Extent("a" * 64, 0, 10)))
    index.learn_content("3" * 64, 10, (Extent("b" * 64, 0, 10),))
    index.learn_content("4" * 64, 0, ())
    index.mark_lost(["c" * 64])
    assert list(index.recorded_packs()) == ["a" * 64, "b" * 64, "c" * 64]
    assert index.forget_packs(iter(["a" * 64, "c" * 64, "d" * 64])) == 3
    assert index.pack_sizes() == {"b" * 64: 10}
    assert index.lost_packs() == frozenset()
    known = [index.by_content(digit * 64) is not None for digit in "1234"]
    assert known == [False, False, True, True]
    index.close()


def test_the_file_shrinks_with_what_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = FileIndex(path)
    packs = [f"{number:064x}" for number in range(3000)]
    for pack in packs:
        index.learn_pack(pack, 10)
        index.learn_content(pack, 10, (Extent(pack, 0, 10),))
    index.close()
    before = path.stat().st_size
    index = FileIndex(path)
    index.forget_packs(packs[10:])
    assert len(index.pack_sizes()) == 10
    index.close()
    assert path.stat().st_size < before / 4


def test_manifests_are_recorded_durably(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = FileIndex(path)
    index.learn_manifest("one")
    index.learn_manifest("two")
    other = FileIndex(path)  # the process died
    assert other.manifests() == {"one", "two"}
    other.forget_manifest("one")
    other.close()
    assert FileIndex(path).manifests() == {"two"}
    index.close()

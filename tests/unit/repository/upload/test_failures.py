# SPDX-License-Identifier: Apache-2.0
"""What ends an upload: changed, vanished and corrupt files, a failing store, cancelling."""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from magnetodb_backup.errors import (
    Cancelled,
    CorruptObject,
    CorruptSSTable,
    DataDirectoryProblem,
    FileChanged,
    FileVanished,
    NoSpace,
    StorageRefused,
)
from magnetodb_backup.repository.format.names import cluster_container
from tests.unit.repository.disk import CLUSTER, ONE_BY_ONE, PACK_SIZE, PREFIX, Disk, noise

DATA, DIGEST = "nb-1-big-Data.db", "nb-1-big-Digest.crc32"
SIZES = pytest.mark.parametrize("size", [0, 100, 3 * PACK_SIZE], ids=["empty", "small", "large"])


def _no_manifest(disk: Disk) -> bool:
    return not any(name.startswith("backups/") for name in disk.store.puts)


def _sstable(disk: Disk, size: int, digest: bytes | None) -> Path:
    if digest is not None:
        disk.write(DIGEST, digest)
    return disk.write(DATA, noise(1, size))


@SIZES
def test_digest_that_matches(disk: Disk, size: int) -> None:
    crc32 = zlib.crc32(noise(1, size))
    _sstable(disk, size, str(crc32).encode())
    assert disk.upload().corrupt_files == ()
    assert disk.entries()[DATA].crc32 == crc32
    assert disk.entries()[DIGEST].crc32 is None


def test_sstable_without_digest(disk: Disk) -> None:
    _sstable(disk, 100, None)
    assert disk.upload().corrupt_files == ()
    assert disk.entries()[DATA].crc32 is None


@SIZES
@pytest.mark.parametrize("digest", [b"12345", b"", b"no number"])
def test_corrupt_sstable_fails_the_upload(disk: Disk, size: int, digest: bytes) -> None:
    path = _sstable(disk, size, digest)
    with pytest.raises(CorruptSSTable) as failure:
        disk.upload()
    assert f"{path} does not match its Digest.crc32" in str(failure.value)
    assert "--on-corrupt mark" in str(failure.value)
    assert _no_manifest(disk)


@SIZES
def test_corrupt_sstable_is_marked_on_request(disk: Disk, size: int) -> None:
    path = _sstable(disk, size, b"12345")
    disk.write("nb-2-big-Data.db", noise(2, 100))
    for number in (1, 2):  # the second time it is known, and marked again
        uploaded = disk.upload(number, on_corrupt="mark")
        assert uploaded.corrupt_files == (str(path),)
        assert [e.name for e in disk.entries(number).values() if e.corrupt] == [DATA]
        assert disk.entries(number)[DATA].crc32 == 12345
        assert disk.restored(number) == disk.contents()


@SIZES
def test_known_corrupt_sstable_still_fails_a_strict_upload(disk: Disk, size: int) -> None:
    _sstable(disk, size, b"12345")
    disk.upload(1, on_corrupt="mark")
    with pytest.raises(CorruptSSTable, match=DATA):
        disk.upload(2)


def test_copy_of_known_content_is_checked_too(disk: Disk) -> None:
    disk.write("nb-7-big-Data.db", noise(1, 3 * PACK_SIZE))
    disk.upload()
    _sstable(disk, 3 * PACK_SIZE, b"12345")
    with pytest.raises(CorruptSSTable, match=DATA):
        disk.upload(2)


@pytest.mark.parametrize("size", [0, 100, 3 * PACK_SIZE])
def test_vanished_file_is_named(disk: Disk, size: int) -> None:
    found = disk.found(disk.write("f", noise(1, size)))
    (disk.root / "f").unlink()
    with pytest.raises(FileVanished) as failure:
        disk.upload(1, lambda: iter([found]))
    assert f"{found.path} disappeared before it was uploaded" in str(failure.value)
    assert _no_manifest(disk)


@pytest.mark.parametrize("other", [{"inode": 1}, {"mtime_ns": 1}, {"size": 99}, {"size": 101}])
def test_other_file_than_the_scanned_one(disk: Disk, other: dict[str, int]) -> None:
    found = replace(disk.found(disk.write("f", noise(1, 100))), **other)  # type: ignore[arg-type]
    with pytest.raises(FileChanged, match=f"{found.path} was written while the backup read it"):
        disk.upload(1, lambda: iter([found]))
    assert _no_manifest(disk)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: path.open("ab").write(b"x"), "was written while"),
        (lambda path: os.truncate(path, PACK_SIZE), "became shorter while"),
        (lambda path: os.utime(path, ns=(1, 1)), "was written while"),
    ],
    ids=["longer", "shorter", "touched"],
)
def test_file_that_changes_while_it_is_read(
    disk: Disk, change: Callable[[Path], object], told: str
) -> None:
    """The change happens when the first slice is stored: at most two more are read by then."""
    path = disk.write("f", noise(1, 9 * PACK_SIZE))

    def before_put(name: str) -> None:
        change(path)

    disk.store.before_put = before_put
    with pytest.raises(FileChanged, match=f"{path} {told}"):
        disk.upload(**ONE_BY_ONE)
    assert _no_manifest(disk)


def test_symbolic_link_is_not_followed(disk: Disk) -> None:
    """A file that became a link between the scan and the upload leads nowhere else."""
    found = disk.found(disk.write("f", noise(1, 100)))
    (disk.root / "f").unlink()
    (disk.root / "f").symlink_to(disk.root.parent)
    with pytest.raises(DataDirectoryProblem, match=found.path):
        disk.upload(1, lambda: iter([found]))


def test_error_of_the_scan_is_raised(disk: Disk) -> None:
    def files() -> object:
        yield disk.found(disk.write("f", noise(1, 100)))
        raise DataDirectoryProblem("no such directory")

    with pytest.raises(DataDirectoryProblem, match="no such directory"):
        disk.upload(1, files)  # type: ignore[arg-type]
    assert _no_manifest(disk)


@pytest.mark.parametrize("size", [PACK_SIZE, 50 * PACK_SIZE], ids=["small", "large"])
def test_storage_error_of_one_thread_ends_everything(disk: Disk, size: int) -> None:
    for number in range(50 * PACK_SIZE // size):
        disk.write(f"f{number}", noise(number, size))
    puts: list[str] = []

    def fail_at_the_third(name: str) -> None:
        puts.append(name)
        if len(puts) == 3:
            raise StorageRefused("the account is closed")

    disk.store.before_put = fail_at_the_third
    with pytest.raises(StorageRefused, match="the account is closed"):
        disk.upload(readers=2, concurrency=2)
    assert len(puts) < 10
    assert _no_manifest(disk)
    assert not [t for t in threading.enumerate() if t.name.startswith(("put", "read"))]


def test_one_of_many_errors_is_raised(disk: Disk) -> None:
    for number in range(10):
        disk.write(f"f{number}", noise(number, PACK_SIZE))

    def fail(name: str) -> None:
        raise NoSpace("the account is full")

    disk.store.before_put = fail
    with pytest.raises(NoSpace, match="the account is full"):
        disk.upload(readers=3, concurrency=3)


def test_manifest_that_reads_back_wrong(disk: Disk) -> None:
    disk.write("f", noise(1, 100))

    def damage(container: str, name: str) -> None:
        if name.startswith("backups/"):
            disk.store.change(container, name, lambda stored: stored[:-1] + b"?")

    disk.store.after_put = damage
    with pytest.raises(CorruptObject, match=r"backups/.*jsonl.zst reads back as SHA-256"):
        disk.upload()


@pytest.mark.parametrize("after", [0, 1, 5, 20])
def test_cancelling_ends_it(disk: Disk, after: int) -> None:
    for number in range(50):
        disk.write(f"f{number}", noise(number, PACK_SIZE))
    left = [after]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Cancelled("enough")

    started = time.monotonic()
    with pytest.raises(Cancelled, match="enough"):
        disk.upload(raise_if_cancelled=check)
    assert time.monotonic() - started < 5
    assert len(disk.store.puts) <= after
    assert _no_manifest(disk)


def test_cancelling_while_all_threads_wait(disk: Disk) -> None:
    """The store is slow and all buffers are taken; who waits for one must notice."""
    for number in range(20):
        disk.write(f"f{number}", noise(number, 3 * PACK_SIZE))
    cancelled, release = threading.Event(), threading.Event()

    def wait(name: str) -> None:
        cancelled.set()
        release.wait(10)

    def check() -> None:
        if cancelled.is_set():
            release.set()  # somebody looked although nothing moved
            raise Cancelled("enough")

    disk.store.before_put = wait
    with pytest.raises(Cancelled, match="enough"):
        disk.upload(raise_if_cancelled=check, readers=2, concurrency=2)
    assert _no_manifest(disk)


def test_cancelling_after_the_last_pack_still_counts(disk: Disk) -> None:
    disk.write("f", noise(1, 100))
    stored: list[str] = []

    def check() -> None:
        if stored:
            raise Cancelled("enough")

    disk.store.after_put = lambda container, name: stored.append(name)
    with pytest.raises(Cancelled, match="enough"):
        disk.upload(raise_if_cancelled=check)
    assert _no_manifest(disk)


@pytest.mark.parametrize("deletion_fails", [False, True])
def test_manifest_that_was_stored_after_the_end_of_its_backup(
    disk: Disk, deletion_fails: bool
) -> None:
    """Finding 30: the request waited for the store while the backup was cancelled and deleted."""
    disk.write("f", noise(1, 100))
    ended: list[str] = []

    def check() -> None:
        if ended:
            raise Cancelled("enough")

    def end(name: str) -> None:
        if name.startswith("backups/"):
            ended.append(name)

    def fail(name: str) -> None:
        if deletion_fails:
            raise StorageRefused("closed")

    disk.store.before_put, disk.store.before_delete = end, fail
    with pytest.raises(Cancelled, match="enough"):
        disk.upload(raise_if_cancelled=check)
    assert ended
    left = list(disk.store.list(cluster_container(PREFIX, CLUSTER), "backups/"))
    assert bool(left) is deletion_fails


def test_failed_upload_can_be_repeated(disk: Disk) -> None:
    for number in range(5):
        disk.write(f"f{number}", noise(number, PACK_SIZE))

    def fail(name: str) -> None:
        raise StorageRefused("closed")

    disk.store.before_put = fail
    with pytest.raises(StorageRefused):
        disk.upload()
    disk.store.before_put = lambda name: None
    disk.upload()
    assert disk.restored() == disk.contents()

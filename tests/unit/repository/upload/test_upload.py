# SPDX-License-Identifier: Apache-2.0
"""What an upload stores, and what the next one leaves out."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from magnetodb_backup.repository.format.names import pack_name
from tests.unit.repository.disk import ONE_BY_ONE, PACK_SIZE, Disk, backup_id, header, noise


def test_small_files_share_a_pack(disk: Disk) -> None:
    for number in range(10):
        disk.write(f"nb-{number}-big-Data.db", noise(number, PACK_SIZE // 10))
    uploaded = disk.upload()
    assert disk.pack_sizes() == [PACK_SIZE]
    assert (uploaded.files, uploaded.bytes) == (10, PACK_SIZE)
    assert disk.restored() == disk.contents()


def test_files_of_a_pack_lie_in_their_order(disk: Disk) -> None:
    for number in range(30):
        disk.write(f"f{number:02d}", noise(number, 99))
    disk.upload(**ONE_BY_ONE)
    entries = disk.entries()
    packs = [entries[name].extents[0].pack for name in sorted(entries)]
    assert [packs.count(pack) for pack in dict.fromkeys(packs)] == [10, 10, 10]
    offsets = [entries[f"f{number:02d}"].extents[0].offset for number in range(10)]
    assert offsets == [99 * number for number in range(10)]


@pytest.mark.parametrize(
    ("size", "packs"),
    [
        (PACK_SIZE - 1, [PACK_SIZE - 1]),
        (PACK_SIZE, [PACK_SIZE]),
        (PACK_SIZE + 1, [1, PACK_SIZE]),
        (4 * PACK_SIZE, [PACK_SIZE] * 4),
        (7 * PACK_SIZE + 300, [300] + [PACK_SIZE] * 7),
    ],
)
def test_large_file_spans_packs(disk: Disk, size: int, packs: list[int]) -> None:
    content = noise(1, size)
    disk.write("nb-1-big-Data.db", content)
    uploaded = disk.upload()
    assert disk.pack_sizes() == packs
    entry = disk.entries()["nb-1-big-Data.db"]
    assert (entry.size, entry.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert disk.restored() == disk.contents()
    assert uploaded.progress.bytes_uploaded == size
    assert uploaded.progress.packs_uploaded == len(packs)


def test_packs_are_named_by_their_content(disk: Disk) -> None:
    disk.write("large", noise(1, 3 * PACK_SIZE))
    disk.write("small", noise(2, 10))
    disk.write("tiny", noise(3, 20))
    disk.upload()
    assert disk.repository.packs()
    for pack in disk.repository.packs():
        stored = b"".join(disk.repository.read_pack(pack))
        assert hashlib.sha256(stored).hexdigest() == pack


def test_inode_that_was_given_to_another_file_of_the_same_second(disk: Disk) -> None:
    """SSTables were removed and others unpacked by tar; checksums are all of one size."""
    path = disk.write("nb-1-big-Digest.crc32", b"1234567890")
    os.utime(path, ns=(0, 1_700_000_000 * 10**9))
    disk.upload()
    path.write_bytes(b"0987654321")
    os.utime(path, ns=(0, 1_700_000_000 * 10**9))
    disk.upload(2)
    assert disk.restored(2) == disk.contents()


def test_files_of_whole_seconds_are_not_stored_again(disk: Disk) -> None:
    for number in range(3):
        path = disk.write(f"f{number}", noise(number, (number + 1) * PACK_SIZE))
        os.utime(path, ns=(0, 1_700_000_000 * 10**9))
    disk.upload()
    disk.store.packs_put()
    uploaded = disk.upload(2)
    assert disk.store.packs_put() == []
    assert uploaded.progress.bytes_reused == uploaded.bytes


@pytest.mark.parametrize("size", [100, PACK_SIZE, 5 * PACK_SIZE])
def test_identical_content_is_stored_once(disk: Disk, size: int) -> None:
    disk.write("a", noise(1, size))
    disk.write("b", noise(1, size))
    uploaded = disk.upload(**ONE_BY_ONE)
    assert sum(disk.pack_sizes()) == size
    assert uploaded.bytes == 2 * size
    assert disk.restored() == disk.contents()


def test_repeated_slices_of_a_large_file_are_stored_once(disk: Disk) -> None:
    disk.write("zeros", bytes(10 * PACK_SIZE))
    disk.upload(**ONE_BY_ONE)
    assert disk.pack_sizes() == [PACK_SIZE]
    assert disk.restored() == disk.contents()


def test_empty_files_need_no_pack(disk: Disk) -> None:
    disk.write("nb-1-big-Filter.db", b"")
    disk.write("nb-2-big-Filter.db", b"")
    uploaded = disk.upload()
    assert disk.pack_sizes() == []
    assert (uploaded.files, uploaded.bytes) == (2, 0)
    entry = disk.entries()["nb-1-big-Filter.db"]
    assert (entry.size, entry.extents) == (0, ())
    assert entry.sha256 == hashlib.sha256(b"").hexdigest()
    assert disk.restored() == disk.contents()


def test_empty_files_among_others(disk: Disk) -> None:
    for number in range(5):
        disk.write(f"{number}-empty", b"")
        disk.write(f"{number}-full", noise(number, 300))
    disk.upload()
    disk.upload(2)
    assert disk.restored(1) == disk.restored(2) == disk.contents()


def test_nothing_at_all_gives_an_empty_manifest(disk: Disk) -> None:
    uploaded = disk.upload()
    assert (uploaded.files, uploaded.bytes, disk.entries()) == (0, 0, {})


@pytest.mark.parametrize(("readers", "concurrency"), [(1, 1), (1, 8), (8, 1), (3, 5)])
def test_any_number_of_threads_stores_the_same(disk: Disk, readers: int, concurrency: int) -> None:
    for number in range(40):
        disk.write(f"f{number:02d}", noise(number, number * 97))
    uploaded = disk.upload(readers=readers, concurrency=concurrency)
    assert uploaded.files == 40
    assert disk.restored() == disk.contents()


def test_manifest_is_stored_last_and_read_back(disk: Disk) -> None:
    disk.write("f", noise(1, 100))
    uploaded = disk.upload()
    assert disk.store.puts[-1] == uploaded.manifest.name
    assert disk.cluster.digest_node_manifest(backup_id(1), disk.host_id) == uploaded.manifest
    assert disk.cluster.node_manifest(backup_id(1), disk.host_id).header == header(1)


def test_unchanged_files_are_neither_read_nor_stored_again(disk: Disk) -> None:
    for number in range(20):
        disk.write(f"f{number}", noise(number, 150))
    disk.write("large", noise(99, 3 * PACK_SIZE))
    disk.upload()
    assert disk.store.packs_put()
    found = [replace(f, path=f"{f.path}-gone") for f in disk.files()]  # reading would fail
    uploaded = disk.upload(2, lambda: iter(found))
    assert disk.store.packs_put() == []
    assert uploaded.progress.bytes_uploaded == 0
    assert uploaded.progress.bytes_reused == uploaded.bytes == 20 * 150 + 3 * PACK_SIZE
    assert disk.restored(2) == disk.contents()


def test_second_upload_costs_what_changed(disk: Disk) -> None:
    for number in range(20):
        disk.write(f"f{number:02d}", noise(number, 150))
    disk.upload()
    disk.store.packs_put()
    disk.write("new", noise(100, 300))
    uploaded = disk.upload(2)
    assert len(disk.store.packs_put()) == 1
    assert uploaded.progress.bytes_uploaded == 300
    assert disk.restored(2) == disk.contents()


def _overwrite(path: Path, content: bytes) -> None:
    """Change the content in place: the inode stays, the mtime moves."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def _replace(path: Path, content: bytes) -> None:
    """Put another file there: the inode moves, the mtime stays."""
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(content)
    other.replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [_overwrite, _replace])
@pytest.mark.parametrize("size", [200, 3 * PACK_SIZE])
def test_other_content_under_the_same_name_and_size_is_stored(
    disk: Disk, change: object, size: int
) -> None:
    path = disk.write("nb-1-big-Statistics.db", noise(1, size))
    first = disk.contents()
    disk.upload()
    change(path, noise(2, size))  # type: ignore[operator]
    disk.upload(2)
    assert disk.restored(2) == disk.contents()
    assert disk.restored(1) == first != disk.contents()


def test_hard_link_under_another_name_is_known(disk: Disk) -> None:
    path = disk.write("a", noise(1, 100))
    disk.upload()
    disk.store.packs_put()
    os.link(path, path.with_name("b"))
    uploaded = disk.upload(2)
    assert disk.store.packs_put() == []
    assert uploaded.progress.bytes_reused == 200
    assert disk.restored(2) == disk.contents()


@pytest.mark.parametrize("size", [100, 3 * PACK_SIZE])
def test_copy_of_a_known_file_is_read_but_not_stored(disk: Disk, size: int) -> None:
    disk.write("a", noise(1, size))
    disk.upload()
    disk.store.packs_put()
    disk.write("b", noise(1, size))
    uploaded = disk.upload(2)
    assert disk.store.packs_put() == []
    assert uploaded.progress.bytes_reused == 2 * size
    found = [replace(f, path=f"{f.path}-gone") for f in disk.files()]
    assert disk.upload(3, lambda: iter(found)).progress.bytes_reused == 2 * size
    assert disk.restored(3) == disk.contents()


def test_progress_ends_with_the_totals(disk: Disk) -> None:
    for number in range(5):
        disk.write(f"f{number}", noise(number, 700))
    uploaded = disk.upload()
    last = disk.progress[-1]
    assert last == uploaded.progress
    assert (last.files_done, last.bytes_done, last.bytes_uploaded) == (5, 3500, 3500)
    assert (last.packs_uploaded, last.packs_replaced, last.bytes_reused) == (5, 0, 0)


def test_interrupted_upload_is_not_paid_twice(disk: Disk) -> None:
    """What was stored before the end of a failed upload counts for the next one."""
    for number in range(5):
        disk.write(f"f{number}", noise(number, 700))
    gone = replace(disk.found(disk.root / "f0"), path="/gone", inode=1)

    with pytest.raises(Exception, match="/gone disappeared"):
        disk.upload(1, lambda: iter([*disk.files(), gone]), **ONE_BY_ONE)
    before = disk.store.packs_put()
    assert before
    disk.upload(2)
    assert not set(before) & set(disk.store.packs_put())
    assert len(disk.pack_sizes()) == 5
    assert disk.restored(2) == disk.contents()
    assert set(before) <= {pack_name(p) for p in disk.repository.packs()}

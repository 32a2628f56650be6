# SPDX-License-Identifier: Apache-2.0
"""The upload of a node's share, and what a worker keeps of it."""

from __future__ import annotations

import hashlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.errors import (
    Cancelled,
    CorruptSSTable,
    FileVanished,
    SnapshotLeft,
    StorageRefused,
    StorageUnavailable,
)
from magnetodb_backup.repository.format.names import pack_name
from magnetodb_backup.tasks.backup import Uploaded
from magnetodb_backup.tasks.kinds import TaskKind, snapshot_tag
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.worker.fake_node import HOST
from tests.unit.worker.working import BACKUP, TAG, Working

PREPARE, SNAPSHOT, UPLOAD, RELEASE = (
    TaskKind.PREPARE,
    TaskKind.SNAPSHOT,
    TaskKind.UPLOAD,
    TaskKind.RELEASE,
)
OTHER_BACKUP = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"


@pytest.fixture
def working(tmp_path: Path) -> Working:
    working = Working(tmp_path)
    working.do_all(PREPARE, SNAPSHOT)
    return working


def test_sstables_that_no_restore_would_take_are_named(tmp_path: Path) -> None:
    """A version of Cassandra's that this release does not know is found at backup time."""
    working = Working(tmp_path)
    table = working.node.tables[0]
    for version in ("zz", "me"):
        working.node.write(table, f"{version}-7-big-Data.db", version.encode())
        working.node.write(table, f"{version}-7-big-Index.db", version.encode())
    working.do_all(PREPARE, SNAPSHOT)
    assert working.do(UPLOAD).unrestorable == {"zz": ("ks.t",)}


def test_upload_stores_the_share_and_drops_the_snapshot(working: Working) -> None:
    result = working.do(UPLOAD)
    assert (result.files, result.corrupt_files, result.replaced) == (4, (), {})
    assert result.unrestorable == {}
    assert result.member.ring_member() == working.node.me
    assert working.cluster.digest_node_manifest(BACKUP, HOST).sha256 == result.manifest.sha256
    assert working.node.snapshots(TAG) == []
    manifest = working.cluster.node_manifest(BACKUP, HOST)
    assert manifest.header.data_directories == working.node.data.names
    assert manifest.header.snapshot_tag == TAG
    assert manifest.header.snapshot_started_at == "2026-01-01T00:00:00+00:00"
    assert {(e.table, e.name, e.data_directory) for e in manifest} == {
        (t, f"nb-{n}-big-Data.db", n - 1) for t in ("t", "u") for n in (1, 2)
    }


def test_progress_tells_the_totals(working: Working) -> None:
    context = TaskContext()
    result = working.do(UPLOAD, context)
    progress = result.progress
    assert context.progress == progress
    assert progress.files_done == progress.files_total == 4
    assert progress.bytes_done == progress.bytes_total == result.bytes


def _fail_puts(working: Working, error: Exception) -> None:
    def fail(name: str) -> None:
        raise error

    working.store.before_put = fail


def test_upload_that_failed_for_now_keeps_the_snapshot(working: Working) -> None:
    _fail_puts(working, StorageUnavailable("503"))
    with pytest.raises(StorageUnavailable):
        working.do(UPLOAD)
    assert working.node.snapshots(TAG)
    working.store.before_put = lambda name: None
    assert working.do(UPLOAD).files == 4


@pytest.mark.parametrize("error", [StorageRefused("closed"), ZeroDivisionError("a bug")])
@pytest.mark.parametrize("clears_nothing", [False, True])
def test_upload_that_failed_for_good_drops_the_snapshot(
    working: Working, error: Exception, clears_nothing: bool
) -> None:
    """In a partial backup the other nodes go on for hours, and the disk may be full."""
    _fail_puts(working, error)
    working.node.clears_nothing = clears_nothing
    with pytest.raises(type(error), match=str(error)):
        working.do(UPLOAD)
    assert bool(working.node.snapshots(TAG)) is clears_nothing


def test_cancelled_upload(working: Working) -> None:
    context = TaskContext()
    context.cancel()
    with pytest.raises(Cancelled):
        working.do(UPLOAD, context)
    assert working.store.packs_put() == []


def test_corrupt_sstable(working: Working) -> None:
    working.node.write(working.node.tables[0], "nb-1-big-Digest.crc32", b"12345")
    working.do(SNAPSHOT)
    with pytest.raises(CorruptSSTable, match=rf"{TAG}/nb-1-big-Data\.db does not match"):
        working.do(UPLOAD)
    (path,) = working.do_all(SNAPSHOT, UPLOAD, on_corrupt="mark").corrupt_files
    assert path.endswith(f"snapshots/{TAG}/nb-1-big-Data.db")


def test_snapshot_that_somebody_cleared(working: Working) -> None:
    for path in working.node.snapshots(TAG):
        shutil.rmtree(path)
    with pytest.raises(FileVanished) as failure:
        working.do(UPLOAD)
    assert f"snapshot {TAG} is gone before it was uploaded" in str(failure.value)
    assert "[worker] snapshot_ttl" in str(failure.value)


def test_snapshot_that_cannot_be_removed_is_left_for_the_release(working: Working) -> None:
    """All is stored; that Cassandra is down by now must not undo it."""
    working.node.clears_nothing = True
    result = working.do(UPLOAD)
    puts = list(working.store.puts)
    assert working.do(UPLOAD) == result
    assert working.store.puts == puts
    assert working.node.snapshots(TAG)
    with pytest.raises(SnapshotLeft, match="is still on disk"):
        working.do(RELEASE)
    working.node.clears_nothing = False
    working.do(RELEASE)
    assert working.node.snapshots(TAG) == []


def test_half_removed_snapshot_is_not_taken_for_the_whole(working: Working) -> None:
    """Cassandra died while it cleared the snapshot of a finished upload, then the worker."""
    working.node.clears_nothing = True
    working.do(UPLOAD)
    working.restart()
    for path in working.node.snapshots(TAG):
        (path / "nb-1-big-Data.db").unlink(missing_ok=True)
    working.node.clears_nothing = False
    result = working.do(UPLOAD)
    assert result.files == len(list(working.cluster.node_manifest(BACKUP, HOST))) == 4
    assert working.cluster.digest_node_manifest(BACKUP, HOST).sha256 == result.manifest.sha256
    assert working.node.snapshots(TAG) == []


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_snapshot_that_shrinks_is_an_error(working: Working, when: str) -> None:
    """Somebody, or its time to live, removes it while it is read."""
    taken = working.do(SNAPSHOT)
    counts = {"snapshot_files": taken.files, "snapshot_bytes": taken.bytes}

    def shrink() -> None:
        for path in working.node.snapshots(TAG):
            (path / "nb-1-big-Data.db").unlink(missing_ok=True)

    if when == "before":
        shrink()
    else:  # between the count and the reading, when the packs are listed
        working.repository.put_pack("0" * 64, b"", hashlib.md5(b"").hexdigest())

        def unlisted(name: str) -> bool:
            shrink()
            return False

        working.store.unlisted = unlisted
    with pytest.raises(FileVanished, match=rf"snapshot {TAG} has . files of .* when it was taken"):
        working.do(UPLOAD, **counts)


# A worker that is restarted.


def test_finished_upload_survives_a_restart(working: Working) -> None:
    """The snapshot is gone already: only the result that was kept lets the backup go on."""
    result = working.do(UPLOAD)
    working.restart()
    assert working.do(UPLOAD) == result


def test_result_is_kept_until_the_release(working: Working) -> None:
    working.do_all(UPLOAD, RELEASE)
    assert list(working.state_dir.glob("finished-*")) == []
    with pytest.raises(FileVanished):
        working.do(UPLOAD)


def test_result_of_another_backup_is_none_of_this_one(working: Working) -> None:
    working.do(UPLOAD)
    other: dict[str, Any] = {"backup_id": OTHER_BACKUP, "tag": snapshot_tag(OTHER_BACKUP, 1)}
    with pytest.raises(FileVanished):
        working.do(UPLOAD, **other)


def test_result_outlives_that_of_another_backup(working: Working) -> None:
    """Finding 29: the upload of a backup that had ended finished after the next one's."""
    result = working.do(UPLOAD)
    other: dict[str, Any] = {"backup_id": OTHER_BACKUP, "tag": snapshot_tag(OTHER_BACKUP, 1)}
    working.do_all(SNAPSHOT, UPLOAD, **other)
    working.restart()
    assert working.do(UPLOAD) == result


def test_only_the_newest_results_are_kept(working: Working) -> None:
    for number in range(12):
        working.do_all(SNAPSHOT, UPLOAD, tag=snapshot_tag(OTHER_BACKUP, number))
    (working.state_dir / "finished-x.json.part").touch()
    last = snapshot_tag(OTHER_BACKUP, 12)
    result = working.do_all(SNAPSHOT, UPLOAD, tag=last)
    assert len(list(working.state_dir.glob("finished-*"))) == 10
    working.restart()
    assert working.do(UPLOAD, tag=last) == result


def test_new_snapshot_is_uploaded_even_if_a_result_is_kept(working: Working) -> None:
    working.do(UPLOAD)
    working.node.write(working.node.tables[0], "nb-9-big-Data.db", b"new")
    assert working.do_all(SNAPSHOT, UPLOAD).files == 5


# The second backup.


def _second(working: Working, **more: Any) -> Uploaded:
    working.store.packs_put()
    other: dict[str, Any] = {"backup_id": OTHER_BACKUP, "tag": snapshot_tag(OTHER_BACKUP, 1)}
    uploaded: Uploaded = working.do_all(SNAPSHOT, UPLOAD, **other, **more)
    return uploaded


def test_second_backup_stores_nothing_again(working: Working) -> None:
    """The snapshot's hard links are other paths to the same files."""
    working.do(UPLOAD)
    working.restart()
    result = _second(working)
    assert working.store.packs_put() == []
    assert result.progress.bytes_reused == result.bytes


def test_distrusted_packs_are_stored_again_and_told_with_their_reasons(working: Working) -> None:
    working.do(UPLOAD)
    (pack,) = working.repository.packs()
    distrusted = {pack: ["verification-1", "verification-2"], "0" * 64: ["verification-3"]}
    result = _second(working, distrusted=distrusted)
    assert working.store.packs_put() == [pack_name(pack)]
    assert result.replaced == {pack: ("verification-1", "verification-2")}


def test_no_pack_is_used_again_if_more_are_damaged_than_can_be_named(working: Working) -> None:
    """Damaged packs beyond the bound were trusted, though they are known to be damaged."""
    working.do(UPLOAD)
    (pack,) = working.repository.packs()
    result = _second(working, distrusted={"0" * 64: ["verification-3"]}, distrust_all=True)
    assert working.store.packs_put() == [pack_name(pack)]
    assert result.replaced == {}  # the next backup names it


# Two uploads at once.


def test_uploads_wait_for_each_other(working: Working) -> None:
    """A cancelled upload that still waits for the store must be over before the next begins."""
    other: dict[str, Any] = {"backup_id": OTHER_BACKUP, "tag": snapshot_tag(OTHER_BACKUP, 1)}
    working.do(SNAPSHOT, **other)
    stuck, second_put, go_on = threading.Event(), threading.Event(), threading.Event()

    def wait(name: str) -> None:
        if stuck.is_set():
            second_put.set()
        stuck.set()
        go_on.wait(30)

    working.store.before_put = wait
    first, second, third = TaskContext(), TaskContext(), TaskContext()
    with ThreadPoolExecutor(3) as pool:
        one = pool.submit(working.do, UPLOAD, first)
        assert stuck.wait(10)
        first.cancel()
        two = pool.submit(working.do, UPLOAD, second, **other)
        three = pool.submit(working.do, UPLOAD, third, **other)
        third.cancel()
        with pytest.raises(Cancelled):
            three.result(10)  # who waits can be cancelled
        assert not second_put.wait(0.5)
        working.store.before_put = lambda name: None
        go_on.set()
        with pytest.raises(Cancelled):
            one.result(10)
        assert two.result(10).files == 4

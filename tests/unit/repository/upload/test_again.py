# SPDX-License-Identifier: Apache-2.0
"""Packs that are missing, damaged or not listed, and an index that is lost."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.domain.backup.records import CommittedBackup
from magnetodb_backup.errors import (
    AccessDenied,
    BackupError,
    CorruptObject,
    NotFound,
    StorageUnavailable,
)
from magnetodb_backup.repository.format.names import (
    cluster_container,
    node_manifest_name,
    pack_name,
)
from magnetodb_backup.repository.upload.upload import EarlierBackups, Harm, harmed_backups
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import (
    CLUSTER,
    HOST,
    ONE_BY_ONE,
    PACK_SIZE,
    PREFIX,
    Disk,
    backup_id,
    header,
    noise,
)
from tests.unit.repository.stages import manifest_of

CONTAINER = cluster_container(PREFIX, CLUSTER)


@pytest.fixture
def stored(disk: Disk) -> Disk:
    """A disk with a first backup: two packs of small files and three of a large one."""
    for number in range(20):
        disk.write(f"f{number:02d}", noise(number, PACK_SIZE // 10))
    disk.write("large", noise(99, 3 * PACK_SIZE))
    _backup(disk, 1, **ONE_BY_ONE)
    disk.store.packs_put()
    disk.store.heads.clear()
    return disk


def _backup(disk: Disk, number: int, **settings: Any) -> BackupManifest:
    """Upload the disk and commit it as a backup."""
    return commit(disk.cluster, number, {disk.host_id: disk.upload(number, **settings)})


def _pack_of(disk: Disk, name: str, number: int = 1) -> str:
    return disk.entries(number)[name].extents[0].pack


@pytest.mark.parametrize("name", ["f00", "f15", "large"])
def test_missing_pack_is_stored_again_and_reported(stored: Disk, name: str) -> None:
    pack = _pack_of(stored, name)
    stored.lose(pack)
    uploaded = stored.upload(2, **ONE_BY_ONE)
    assert stored.store.packs_put() == [pack_name(pack)]
    assert uploaded.progress.packs_replaced == 1
    assert stored.restored(2) == stored.contents()
    assert stored.restored(1) == stored.contents()  # the older backup is whole again, too
    assert stored.upload(3).progress.packs_replaced == 0
    assert stored.store.packs_put() == []


def test_missing_pack_is_made_again_whatever_else_has_its_content(stored: Disk) -> None:
    """Copies would move the content elsewhere, and the older backup would stay damaged."""
    before = stored.contents()
    for number, name in enumerate(["a-new", "f00-copy", "z-new"]):
        stored.write(name, noise(number, PACK_SIZE // 10))
    stored.upload(2)
    stored.write("b-newer", noise(3, PACK_SIZE // 10))
    pack = _pack_of(stored, "f00")
    stored.lose(pack)
    stored.store.packs_put()
    stored.upload(3)
    assert stored.store.packs_put() == [pack_name(pack)]
    assert stored.restored(1) == before
    assert stored.restored(3) == stored.contents()


def test_all_packs_missing(stored: Disk) -> None:
    for pack in stored.repository.packs():
        stored.lose(pack)
    uploaded = stored.upload(2)
    assert uploaded.progress.packs_replaced == 5
    assert uploaded.progress.bytes_reused == 0
    assert stored.restored(2) == stored.contents()


@pytest.mark.parametrize("name", ["f00", "large"])
@pytest.mark.parametrize("index_lost", [False, True])
def test_pack_of_another_size_is_stored_again(stored: Disk, name: str, index_lost: bool) -> None:
    stored.damage(_pack_of(stored, name), lambda body: body[:-1])
    if index_lost:
        stored.lose_index()
    uploaded = stored.upload(2)
    assert uploaded.progress.packs_replaced == 1
    assert stored.restored(2) == stored.contents()


def test_distrusted_pack_is_stored_again(stored: Disk) -> None:
    packs = {_pack_of(stored, "f00"), _pack_of(stored, "large")}
    for pack in packs:
        stored.damage(pack, lambda body: bytes(len(body)))
    uploaded = stored.upload(2, earlier=EarlierBackups(distrusted=frozenset(packs)), **ONE_BY_ONE)
    assert set(stored.store.packs_put()) == {pack_name(p) for p in packs}
    assert uploaded.progress.packs_replaced == 2
    assert stored.restored(2) == stored.restored(1) == stored.contents()


def test_replaced_packs_are_told(stored: Disk) -> None:
    """Only those: a distrusted pack that nothing needs is not stored again."""
    needed, useless = _pack_of(stored, "f00"), "0" * 64
    uploaded = stored.upload(2, earlier=EarlierBackups(distrusted=frozenset({needed, useless})))
    assert uploaded.replaced == (needed,)
    assert stored.upload(3).replaced == ()


def test_content_of_a_distrusted_pack_may_move(stored: Disk) -> None:
    """With other company the content lands in a pack of another name, and that one counts."""
    pack = _pack_of(stored, "f00")
    stored.damage(pack, lambda body: bytes(len(body)))
    for number in range(5):
        (stored.root / f"f{number:02d}").unlink()
    uploaded = stored.upload(2, earlier=EarlierBackups(distrusted=frozenset({pack})))
    assert uploaded.replaced == ()
    assert stored.restored(2) == stored.contents()
    stored.store.packs_put()
    stored.upload(3, earlier=EarlierBackups(distrusted=frozenset({pack})))
    assert stored.store.packs_put() == []


def test_lagging_listing_is_asked_again_by_head(stored: Disk) -> None:
    stored.store.unlisted = lambda name: name.startswith("packs/")
    uploaded = stored.upload(2)
    assert stored.store.packs_put() == []
    assert len(stored.store.heads) == 5
    assert uploaded.progress.packs_replaced == 0


def test_each_pack_is_asked_for_once(stored: Disk) -> None:
    """The number of its files, and of those of other packs, does not matter."""
    stored.upload(2)
    assert sorted(stored.store.heads) == sorted(pack_name(p) for p in stored.repository.packs())


def test_packs_that_only_older_backups_need_cost_no_request_each(stored: Disk) -> None:
    (stored.root / "large").unlink()
    stored.upload(2)
    assert len(stored.store.heads) == 2


@pytest.mark.parametrize("name", ["f00", "f15", "large"])
@pytest.mark.parametrize("index_lost", [False, True])
def test_pack_that_is_listed_but_lost(stored: Disk, name: str, index_lost: bool) -> None:
    """A container may list an object for weeks that is lost: no backup may refer to it."""
    pack = _pack_of(stored, name)
    size = stored.repository.packs()[pack]
    stored.lose(pack)
    stored.store.ghosts[pack_name(pack)] = size
    if index_lost:
        stored.lose_index()
    uploaded = stored.upload(2, **ONE_BY_ONE)
    assert stored.restored(2) == stored.contents()
    if not index_lost:
        assert stored.store.packs_put() == [pack_name(pack)]
        assert stored.restored(1) == stored.contents()  # the older backup is whole again, too
        assert uploaded.progress.packs_replaced == 1
    assert uploaded.lost == frozenset()


def test_new_content_in_a_pack_that_is_listed_but_lost(stored: Disk) -> None:
    """The store lists a pack of just this name, from an upload that no backup refers to."""
    content = noise(700, PACK_SIZE)
    stored.store.ghosts[pack_name(hashlib.sha256(content).hexdigest())] = PACK_SIZE
    stored.write("new", content)
    stored.upload(2)
    assert stored.restored(2) == stored.contents()


def test_lost_packs_that_cannot_be_made_again_are_returned_once(stored: Disk) -> None:
    """Only older backups need them, and nothing said that these are damaged."""
    lost = {_pack_of(stored, "f00"), *(e.pack for e in stored.entries()["large"].extents)}
    for name in ("large", *(f"f{n:02d}" for n in range(10))):
        (stored.root / name).unlink()
    for pack in lost:
        stored.lose(pack)
    uploaded = stored.upload(2)
    assert uploaded.lost == lost
    assert uploaded.progress.packs_replaced == 0
    assert stored.harmed(lost) == {backup_id(1): 11}
    stored.mark_lost(lost)
    assert stored.upload(3).lost == frozenset()
    assert stored.restored(3) == stored.contents()


@pytest.mark.parametrize(
    "error",
    [NotFound("gone"), CorruptObject("other bytes"), StorageUnavailable("503"), AccessDenied("no")],
)
@pytest.mark.parametrize("fails", [1, 2])
def test_manifest_that_is_lost_does_not_fail_a_finished_upload(
    stored: Disk, error: BackupError, fails: int
) -> None:
    """It is listed but lost, or was deleted between two requests: the others are reported."""
    lost = {_pack_of(stored, "large")}
    stored.upload(2)
    name, reads = node_manifest_name(backup_id(2), HOST), []

    def fail(read: str) -> None:
        if read == name:
            reads.append(read)
            if len(reads) == fails:
                raise error

    stored.store.before_read = fail
    harm = harmed_backups(stored.repository, frozenset(lost), lambda: None)
    assert harm.files == {backup_id(1): 1}
    # One that is gone before it is looked at needs no pack.
    assert harm.complete is (isinstance(error, NotFound) and fails == 1)
    assert len(reads) == fails


def test_manifests_that_cannot_be_listed_do_not_fail_a_finished_upload(stored: Disk) -> None:
    def fail(name: str) -> bool:
        raise StorageUnavailable("503")

    stored.store.unlisted = fail
    lost = frozenset({_pack_of(stored, "large")})
    assert harmed_backups(stored.repository, lost, lambda: None) == Harm({}, complete=False)


def test_index_is_filled_without_a_manifest_that_is_listed_but_lost(stored: Disk) -> None:
    stored.store.ghosts[node_manifest_name(backup_id(7), HOST)] = 100
    stored.lose_index()
    stored.store.packs_put()
    stored.upload(2)
    assert stored.store.packs_put() == []
    assert stored.restored(2) == stored.contents()


def test_lost_pack_that_was_reported_is_made_again_when_it_can_be(stored: Disk) -> None:
    pack, content = _pack_of(stored, "large"), (stored.root / "large").read_bytes()
    (stored.root / "large").unlink()
    stored.lose(pack)
    assert stored.upload(2).lost == {pack}
    stored.mark_lost({pack})
    stored.write("large", content)
    assert stored.upload(3).lost == frozenset()
    assert stored.restored(3) == stored.contents()
    assert stored.restored(1)["large"] == content


def test_distrusted_pack_is_not_reported_as_lost(stored: Disk) -> None:
    pack = _pack_of(stored, "large")
    (stored.root / "large").unlink()
    stored.damage(pack, lambda body: bytes(len(body)))
    assert (
        stored.upload(2, earlier=EarlierBackups(distrusted=frozenset({pack}))).lost == frozenset()
    )


def test_lost_index_is_rebuilt_from_the_manifests(stored: Disk) -> None:
    """Even though other files come first now, so that all packs would be other ones."""
    stored.lose_index()
    stored.write("a", noise(500, 50))
    uploaded = stored.upload(2)
    assert len(stored.store.packs_put()) == 1
    assert uploaded.progress.bytes_uploaded == 50
    assert stored.restored(2) == stored.contents()


def test_rebuilt_index_is_as_good_as_the_lost_one(stored: Disk) -> None:
    stored.lose_index()
    stored.upload(2)
    stored.store.heads.clear()
    stored.upload(3)
    assert len(stored.store.heads) == 5


def test_lost_index_after_three_backups_knows_the_newest_place(stored: Disk) -> None:
    """The oldest place may be the damaged one that made the content move."""
    old = _pack_of(stored, "f00")
    for number in range(5):
        (stored.root / f"f{number:02d}").unlink()
    _backup(stored, 2, earlier=EarlierBackups(distrusted=frozenset({old})))
    new = _pack_of(stored, "f05", 2)
    assert new != old
    stored.lose_index()
    stored.store.packs_put()
    stored.upload(3)
    assert _pack_of(stored, "f05", 3) == new
    assert stored.store.packs_put() == []


def test_lost_index_without_any_manifest(disk: Disk) -> None:
    disk.write("f", noise(1, 100))
    disk.upload()
    disk.cluster.delete_backup(backup_id(1))
    disk.lose_index()
    disk.store.packs_put()
    disk.upload(2)
    assert disk.store.packs_put() == []  # the same files in the same order give the same packs
    assert disk.restored(2) == disk.contents()


@pytest.mark.parametrize("damage", [lambda body: body[:-1], lambda body: b"rubbish"])
def test_rebuild_leaves_out_a_useless_manifest(
    stored: Disk, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    newer = _backup(stored, 2).nodes[0].manifest.name
    stored.store.change(CONTAINER, newer, damage)
    stored.lose_index()
    stored.write("a", noise(500, 50))
    assert stored.upload(3).progress.bytes_uploaded == 50
    assert "an unreadable node manifest" in caplog.text
    assert newer in caplog.text
    assert stored.restored(3) == stored.contents()


@pytest.mark.parametrize("committed", [True, False])
def test_rebuild_learns_nothing_that_no_backup_names(stored: Disk, committed: bool) -> None:
    """Finding 23: another program stored a node manifest, of a committed backup or of none."""
    if committed:
        _backup(stored, 2)
    else:
        stored.upload(2)
    entries = stored.entries(2)
    one, other = entries["f00"], entries["f01"]
    forged = manifest_of([replace(one, extents=other.extents)], header(2))
    stored.store.change(CONTAINER, node_manifest_name(backup_id(2), HOST), lambda _: forged)
    stored.lose_index()
    stored.upload(3)
    assert stored.restored(3) == stored.contents()


def test_rebuild_reads_the_backups_that_the_catalogue_knows(stored: Disk) -> None:
    """Finding 17: a listing grows with backups times nodes."""
    stored.lose_index()
    stored.write("a", noise(500, 50))

    def unlisted(name: str) -> bool:
        assert not name.startswith("backups/")
        return False

    stored.store.unlisted = unlisted
    _, commit_ = stored.cluster.read_commit(backup_id(1))
    known = (CommittedBackup(backup_id(8)), CommittedBackup(backup_id(1), commit_.sha256))
    uploaded = stored.upload(2, earlier=EarlierBackups(known))
    assert uploaded.progress.bytes_uploaded == 50
    assert stored.restored(2) == stored.contents()


def test_rebuild_learns_nothing_of_a_backup_that_is_not_the_catalogues(
    stored: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (2, 3):
        _backup(stored, number)
    stored.lose_index()
    known = (CommittedBackup(backup_id(3), "0" * 64), CommittedBackup(backup_id(2)))
    stored.upload(4, earlier=EarlierBackups(known))
    assert "manifest.json is not what the catalogue knows" in caplog.text


def test_interrupted_rebuild_begins_again(stored: Disk) -> None:
    """What the second manifest would have taught must not be uploaded again."""
    content = (stored.root / "f00").read_bytes()
    (stored.root / "f00").unlink()
    _backup(stored, 2)
    stored.lose_index()
    stored.write("f00", content)
    older, reads = node_manifest_name(backup_id(1), HOST), list[str]()

    def fail(name: str) -> None:
        reads.append(name)
        if reads.count(older) == 3:  # its header, its digest, and now its files
            raise StorageUnavailable("503")

    stored.store.before_read = fail
    with pytest.raises(StorageUnavailable):
        stored.upload(3)
    assert stored.upload(3).progress.bytes_uploaded == 0
    assert stored.restored(3) == stored.contents()


def test_unusable_index_is_moved_aside(stored: Disk, caplog: pytest.LogCaptureFixture) -> None:
    stored.index_path.write_bytes(b"this is no database" * 1000)
    stored.upload(2)
    assert stored.store.packs_put() == []
    assert stored.index_path.with_suffix(".unusable").read_bytes()[:19] == b"this is no database"
    assert str(stored.index_path) in caplog.text
    assert stored.restored(2) == stored.contents()


def test_each_node_has_packs_of_its_own(tmp_path: Path, stored: Disk) -> None:
    other = Disk(tmp_path, stored.store, "22222222-2222-4222-8222-222222222222")
    for path in stored.root.iterdir():
        os.link(path, other.root / path.name)
    uploaded = other.upload(2)
    assert uploaded.progress.bytes_uploaded == 5 * PACK_SIZE
    assert other.restored(2) == stored.contents()

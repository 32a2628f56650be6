# SPDX-License-Identifier: Apache-2.0
"""Packs that are missing, damaged or not listed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

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
from tests.unit.repository.disk import (
    CLUSTER,
    HOST,
    ONE_BY_ONE,
    PACK_SIZE,
    PREFIX,
    Disk,
    backup_id,
    noise,
)
from tests.unit.repository.upload.earlier import pack_of

CONTAINER = cluster_container(PREFIX, CLUSTER)


@pytest.mark.parametrize("name", ["f00", "f15", "large"])
def test_missing_pack_is_stored_again_and_reported(stored: Disk, name: str) -> None:
    pack = pack_of(stored, name)
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
    pack = pack_of(stored, "f00")
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
    stored.damage(pack_of(stored, name), lambda body: body[:-1])
    if index_lost:
        stored.lose_index()
    uploaded = stored.upload(2)
    assert uploaded.progress.packs_replaced == 1
    assert stored.restored(2) == stored.contents()


def test_distrusted_pack_is_stored_again(stored: Disk) -> None:
    packs = {pack_of(stored, "f00"), pack_of(stored, "large")}
    for pack in packs:
        stored.damage(pack, lambda body: bytes(len(body)))
    uploaded = stored.upload(2, earlier=EarlierBackups(distrusted=frozenset(packs)), **ONE_BY_ONE)
    assert set(stored.store.packs_put()) == {pack_name(p) for p in packs}
    assert uploaded.progress.packs_replaced == 2
    assert stored.restored(2) == stored.restored(1) == stored.contents()


def test_replaced_packs_are_told(stored: Disk) -> None:
    """Only those: a distrusted pack that nothing needs is not stored again."""
    needed, useless = pack_of(stored, "f00"), "0" * 64
    uploaded = stored.upload(2, earlier=EarlierBackups(distrusted=frozenset({needed, useless})))
    assert uploaded.replaced == (needed,)
    assert stored.upload(3).replaced == ()


def test_content_of_a_distrusted_pack_may_move(stored: Disk) -> None:
    """With other company the content lands in a pack of another name, and that one counts."""
    pack = pack_of(stored, "f00")
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
    pack = pack_of(stored, name)
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
    lost = {pack_of(stored, "f00"), *(e.pack for e in stored.entries()["large"].extents)}
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
    lost = {pack_of(stored, "large")}
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
    lost = frozenset({pack_of(stored, "large")})
    assert harmed_backups(stored.repository, lost, lambda: None) == Harm({}, complete=False)


def test_index_is_filled_without_a_manifest_that_is_listed_but_lost(stored: Disk) -> None:
    stored.store.ghosts[node_manifest_name(backup_id(7), HOST)] = 100
    stored.lose_index()
    stored.store.packs_put()
    stored.upload(2)
    assert stored.store.packs_put() == []
    assert stored.restored(2) == stored.contents()


def test_lost_pack_that_was_reported_is_made_again_when_it_can_be(stored: Disk) -> None:
    pack, content = pack_of(stored, "large"), (stored.root / "large").read_bytes()
    (stored.root / "large").unlink()
    stored.lose(pack)
    assert stored.upload(2).lost == {pack}
    stored.mark_lost({pack})
    stored.write("large", content)
    assert stored.upload(3).lost == frozenset()
    assert stored.restored(3) == stored.contents()
    assert stored.restored(1)["large"] == content


def test_distrusted_pack_is_not_reported_as_lost(stored: Disk) -> None:
    pack = pack_of(stored, "large")
    (stored.root / "large").unlink()
    stored.damage(pack, lambda body: bytes(len(body)))
    assert (
        stored.upload(2, earlier=EarlierBackups(distrusted=frozenset({pack}))).lost == frozenset()
    )


def test_each_node_has_packs_of_its_own(tmp_path: Path, stored: Disk) -> None:
    other = Disk(tmp_path, stored.store, "22222222-2222-4222-8222-222222222222")
    for path in stored.root.iterdir():
        os.link(path, other.root / path.name)
    uploaded = other.upload(2)
    assert uploaded.progress.bytes_uploaded == 5 * PACK_SIZE
    assert other.restored(2) == stored.contents()

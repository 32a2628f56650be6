# SPDX-License-Identifier: Apache-2.0
"""An index that is lost or cannot be used, and is made again from the manifests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from magnetodb_backup.domain.backup.records import CommittedBackup
from magnetodb_backup.errors import (
    StorageUnavailable,
)
from magnetodb_backup.repository.format.names import (
    cluster_container,
    node_manifest_name,
)
from magnetodb_backup.repository.upload.upload import EarlierBackups
from tests.unit.repository.disk import (
    CLUSTER,
    HOST,
    PREFIX,
    Disk,
    backup_id,
    header,
    noise,
)
from tests.unit.repository.stages import manifest_of
from tests.unit.repository.upload.earlier import backup_of, pack_of

CONTAINER = cluster_container(PREFIX, CLUSTER)


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
    old = pack_of(stored, "f00")
    for number in range(5):
        (stored.root / f"f{number:02d}").unlink()
    backup_of(stored, 2, earlier=EarlierBackups(distrusted=frozenset({old})))
    new = pack_of(stored, "f05", 2)
    assert new != old
    stored.lose_index()
    stored.store.packs_put()
    stored.upload(3)
    assert pack_of(stored, "f05", 3) == new
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
    newer = backup_of(stored, 2).nodes[0].manifest.name
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
        backup_of(stored, 2)
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
        backup_of(stored, number)
    stored.lose_index()
    known = (CommittedBackup(backup_id(3), "0" * 64), CommittedBackup(backup_id(2)))
    stored.upload(4, earlier=EarlierBackups(known))
    assert "manifest.json is not what the catalogue knows" in caplog.text


def test_interrupted_rebuild_begins_again(stored: Disk) -> None:
    """What the second manifest would have taught must not be uploaded again."""
    content = (stored.root / "f00").read_bytes()
    (stored.root / "f00").unlink()
    backup_of(stored, 2)
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

# SPDX-License-Identifier: Apache-2.0
"""Deleting and undeleting: whatever a crash leaves is a whole backup or a deleted one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from magnetodb_backup.domain.settings.records import SettingKey, SettingKind
from magnetodb_backup.errors import CorruptObject, FormatProblem, NotFound
from magnetodb_backup.repository.deleted import DeletedBackups
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.settings import StoredSettings
from magnetodb_backup.repository.stored_backups import StoredBackup, StoredBackups, stored_backups
from tests.lab.settings import copy_of
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import CLUSTER, HOST, PREFIX, Disk, backup_id, noise

CONTAINER = layout.cluster_container(PREFIX, CLUSTER)
FIRST, OTHER = backup_id(1), backup_id(2)
MANIFEST, ASIDE = layout.manifest_name(FIRST), layout.deleted_manifest_name(FIRST)
AT = datetime(2026, 12, 1, 3, 4, 5, 678901, timezone.utc)
UNTIL = AT + timedelta(days=7)


class Crash(Exception):
    """The process ends before this write."""


@pytest.fixture
def backed_up(disk: Disk) -> Disk:
    """Two committed backups."""
    disk.write("f", noise(1, 100))
    for number in (1, 2):
        commit(disk.cluster, number, {disk.host_id: disk.upload(number)})
    return disk


def deleted_backups(disk: Disk) -> DeletedBackups:
    return DeletedBackups(disk.store, PREFIX, CLUSTER)


def delete(disk: Disk, *, until: datetime = UNTIL) -> None:
    """Do what a deletion does, from its begin."""
    deleted_backups(disk).set_aside(FIRST, AT, until)
    deleted_backups(disk).remove_manifest(FIRST)


def purge(disk: Disk) -> None:
    deleted_backups(disk).purge(FIRST, [HOST])


def undelete(disk: Disk) -> None:
    """Do what an undeletion does, from its begin; it may have been done."""
    deleted_backups(disk).put_back(FIRST)
    deleted_backups(disk).forget(FIRST)


def crash_before(disk: Disk, write: int) -> list[str]:
    """Let the process end before its write of this number; the list grows with the writes."""
    writes: list[str] = []

    def count(name: str) -> None:
        if len(writes) == write:
            raise Crash
        writes.append(name)

    disk.store.before_put = disk.store.before_delete = count
    return writes


def survive(disk: Disk) -> None:
    disk.store.before_put = disk.store.before_delete = lambda name: None


def names(disk: Disk, number: int = 1) -> list[str]:
    """Return the names of what the store has of a backup, besides packs."""
    found = (info.name for info in disk.store.list(CONTAINER))
    return [name for name in found if backup_id(number) in name]


def found(disk: Disk) -> StoredBackup:
    stored = StoredBackups(disk.store, PREFIX).backup(CLUSTER, FIRST)
    assert isinstance(stored, StoredBackup)
    return stored


def is_whole(disk: Disk) -> bool:
    """Return whether the backup is not deleted; it reads back in any case."""
    assert disk.restored(1) == disk.contents()
    return found(disk).deleted is None


def test_deleted_backup_keeps_everything_but_its_manifest(backed_up: Disk) -> None:
    before, body = names(backed_up), b"".join(backed_up.store.read(CONTAINER, MANIFEST))
    delete(backed_up)
    assert set(names(backed_up)) == {*before, ASIDE} - {MANIFEST}
    kept = found(backed_up).deleted
    assert kept is not None
    assert (kept.backup_id, kept.deleted_at, kept.undelete_until) == (FIRST, AT, UNTIL)
    assert kept.text == body
    with pytest.raises(NotFound, match="was not committed, or it was deleted"):
        backed_up.cluster.read_backup(FIRST)
    assert list(backed_up.cluster.deleted_ids()) == [FIRST]


def test_undeleted_backup_is_byte_for_byte_the_former_one(backed_up: Disk) -> None:
    """Manifests of older releases have another layout, and the record has their digest."""
    backed_up.store.change(CONTAINER, MANIFEST, lambda body: body.replace(b"\n", b"\r\n \n"))
    before = {name: b"".join(backed_up.store.read(CONTAINER, name)) for name in names(backed_up)}
    delete(backed_up)
    undelete(backed_up)
    after = {name: b"".join(backed_up.store.read(CONTAINER, name)) for name in names(backed_up)}
    assert after == before
    assert is_whole(backed_up)


def test_purge_removes_everything_but_packs_and_other_backups(backed_up: Disk) -> None:
    packs, other = backed_up.repository.packs(), names(backed_up, 2)
    delete(backed_up)
    purge(backed_up)
    assert names(backed_up) == []
    assert (backed_up.repository.packs(), names(backed_up, 2)) == (packs, other)
    purge(backed_up)
    assert list(backed_up.cluster.deleted_ids()) == []


def test_purge_removes_the_copy_of_the_mark_of_this_backup_alone(backed_up: Disk) -> None:
    settings = StoredSettings(backed_up.store, PREFIX, CLUSTER)
    marks = [
        replace(copy_of(SettingKind.MARK), key=SettingKey(SettingKind.MARK, id_, CLUSTER))
        for id_ in (FIRST, OTHER)
    ]
    for mark in marks:
        settings.put(mark)
    delete(backed_up)
    assert list(settings.newest()) == marks  # an undeletion needs it
    purge(backed_up)
    assert list(settings.newest()) == marks[1:]


def test_purge_reaches_what_is_not_listed_yet(backed_up: Disk) -> None:
    delete(backed_up)
    backed_up.store.unlisted = lambda name: True
    purge(backed_up)
    backed_up.store.unlisted = lambda name: False
    assert names(backed_up) == []


@pytest.mark.parametrize("write", range(3))
def test_trap_5_a_crash_in_a_deletion_leaves_a_whole_backup_or_a_deleted_one(
    backed_up: Disk, write: int
) -> None:
    """A deletion that removes data before the manifest leaves a backup that cannot be restored."""
    writes = crash_before(backed_up, write)
    crashed = False
    try:
        delete(backed_up)
    except Crash:
        crashed = True
    survive(backed_up)
    assert crashed == (write < 2)
    assert writes == [ASIDE, MANIFEST][:write]
    assert is_whole(backed_up) == (write < 2)
    if write == 2:
        undelete(backed_up)
        assert is_whole(backed_up)
        assert ASIDE not in names(backed_up)
    delete(backed_up)
    assert not is_whole(backed_up)


@pytest.mark.parametrize("write", range(3))
def test_trap_5_a_crash_in_an_undeletion_leaves_a_whole_backup_or_a_deleted_one(
    backed_up: Disk, write: int
) -> None:
    delete(backed_up)
    writes = crash_before(backed_up, write)
    crashed = False
    try:
        undelete(backed_up)
    except Crash:
        crashed = True
    survive(backed_up)
    assert crashed == (write < 2)
    assert writes == [MANIFEST, ASIDE][:write]
    assert is_whole(backed_up) == (write > 0)
    if write < 2:
        undelete(backed_up)
    assert is_whole(backed_up)
    assert ASIDE not in names(backed_up)


@pytest.mark.parametrize("write", range(6))
def test_trap_6_an_interrupted_purge_is_found_and_ends(backed_up: Disk, write: int) -> None:
    """The store alone says what is to be purged: what is set aside is removed last."""
    delete(backed_up)
    writes = crash_before(backed_up, write)
    crashed = False
    try:
        purge(backed_up)
    except Crash:
        crashed = True
    survive(backed_up)
    assert (
        writes
        == [
            MANIFEST,  # which is not there any more
            layout.node_manifest_name(FIRST, HOST),
            layout.schema_name(FIRST),
            layout.schema_rows_name(FIRST),
            ASIDE,
        ][:write]
    )
    assert crashed == (write < 5)
    assert (found(backed_up).deleted is not None) if crashed else names(backed_up) == []
    if 2 <= write < 5:
        with pytest.raises(NotFound):
            undelete(backed_up)  # too late, and it must not look whole
        assert found(backed_up).deleted is not None
    purge(backed_up)
    assert names(backed_up) == []
    assert backed_up.restored(2) == backed_up.contents()


def test_what_is_set_aside_first_stays(backed_up: Disk) -> None:
    """A conductor that is late with the same deletion does not prolong the period."""
    delete(backed_up)
    kept = deleted_backups(backed_up).set_aside(FIRST, AT + timedelta(1), UNTIL + timedelta(1))
    assert kept is not None
    assert (kept.deleted_at, kept.undelete_until) == (AT, UNTIL)


def test_another_deletion_has_a_period_of_its_own(backed_up: Disk) -> None:
    """An undeletion may have left what was set aside."""
    delete(backed_up)
    deleted_backups(backed_up).put_back(FIRST)
    kept = deleted_backups(backed_up).set_aside(FIRST, AT + timedelta(9), UNTIL + timedelta(9))
    assert kept is not None
    assert kept.undelete_until == UNTIL + timedelta(9)


def test_nothing_is_set_aside_of_a_backup_without_a_manifest(backed_up: Disk) -> None:
    backed_up.upload(3)
    assert deleted_backups(backed_up).set_aside(backup_id(3), AT, UNTIL) is None
    with pytest.raises(NotFound, match=f"no manifest of a deleted backup {backup_id(3)}"):
        deleted_backups(backed_up).remove_manifest(backup_id(3))
    assert list(backed_up.cluster.deleted_ids()) == []


def test_manifest_is_removed_only_if_it_is_set_aside(backed_up: Disk) -> None:
    with pytest.raises(NotFound):
        deleted_backups(backed_up).remove_manifest(FIRST)
    deleted_backups(backed_up).set_aside(FIRST, AT, UNTIL)
    backed_up.store.change(CONTAINER, MANIFEST, lambda body: body + b"\n")
    with pytest.raises(CorruptObject, match="repeat backup delete"):
        deleted_backups(backed_up).remove_manifest(FIRST)
    assert is_whole(backed_up)
    delete(backed_up)
    assert not is_whole(backed_up)


def test_what_is_set_aside_is_kept_while_the_backup_is_deleted(backed_up: Disk) -> None:
    delete(backed_up)
    with pytest.raises(NotFound):
        deleted_backups(backed_up).forget(FIRST)
    assert found(backed_up).deleted is not None


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe\xed\xb2\x80 \xc3\x9f", b'{"format": 2}'])
def test_a_manifest_that_is_none_is_deleted_but_not_undeleted(backed_up: Disk, body: bytes) -> None:
    backed_up.store.change(CONTAINER, MANIFEST, lambda _: body)
    delete(backed_up)
    assert backed_up.cluster.read_deleted(FIRST).text == body
    with pytest.raises(FormatProblem, match=ASIDE):
        undelete(backed_up)
    assert MANIFEST not in names(backed_up)
    purge(backed_up)
    assert names(backed_up) == []


def test_an_undeletion_proves_what_the_manifest_names(backed_up: Disk) -> None:
    delete(backed_up)
    digest = backed_up.cluster.read_deleted(FIRST).sha256
    with pytest.raises(CorruptObject, match=f"SHA-256 {digest}, the record of the backup has 00"):
        deleted_backups(backed_up).put_back(FIRST, manifest_sha256="00")
    schema = layout.schema_name(FIRST)
    backed_up.store.change(CONTAINER, schema, lambda body: body + b"x")
    with pytest.raises(CorruptObject, match=f"{schema} does not match the manifest of backup"):
        deleted_backups(backed_up).put_back(FIRST, manifest_sha256=digest)
    backed_up.store.change(CONTAINER, schema, lambda body: body[:-1])
    backed_up.store.change(
        CONTAINER, layout.node_manifest_name(FIRST, HOST), lambda body: body[:-1]
    )
    with pytest.raises(CorruptObject, match=r"nodes/.* does not match"):
        deleted_backups(backed_up).put_back(FIRST, manifest_sha256=digest)
    assert MANIFEST not in names(backed_up)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda body: body[:-20], FormatProblem, "is not JSON"),
        (lambda body: body.replace(b'"format": 1,\n "b', b'"format": 2,\n "b'), FormatProblem,
         "has format version 2"),
        (lambda body: body.replace(b"+00:00", b""), FormatProblem, "has no time zone"),
        (lambda body: body.replace(b'"undelete_until"', b'"x"'), FormatProblem, "undelete_until"),
        (lambda body: body.replace(b"CREATED", b"PARTIAL"), CorruptObject, "in it has SHA-256"),
        (lambda body: body.replace(b'"backup_id": "0', b'"backup_id": "1', 1), FormatProblem,
         "another program copied it there"),
    ],
)  # fmt: skip
def test_what_is_set_aside_is_not_trusted(
    backed_up: Disk, change: Callable[[bytes], bytes], error: type[Exception], told: str
) -> None:
    delete(backed_up)
    backed_up.store.change(CONTAINER, ASIDE, change)
    with pytest.raises(error, match=told) as refused:
        backed_up.cluster.read_deleted(FIRST)
    assert ASIDE in str(refused.value)
    with pytest.raises(error):
        undelete(backed_up)
    assert MANIFEST not in names(backed_up)


def test_catalogue_has_deleted_backups_in_order_and_once(backed_up: Disk) -> None:
    delete(backed_up)
    both = list(StoredBackups(backed_up.store, PREFIX).backups(CLUSTER))
    assert [type(each) for each in both] == [StoredBackup, StoredBackup]
    first, second = both
    assert isinstance(first, StoredBackup)
    assert isinstance(second, StoredBackup)
    assert (first.manifest.backup_id, second.manifest.backup_id) == (FIRST, OTHER)
    assert (first.deleted is None, second.deleted is None) == (False, True)
    assert [m.backup_id for m in stored_backups(backed_up.store, PREFIX, CLUSTER)] == [OTHER]
    backed_up.store.ghosts[MANIFEST] = 10  # a listing that lags still has its manifest
    assert list(StoredBackups(backed_up.store, PREFIX).backups(CLUSTER)) == both


def test_node_manifests_of_deleted_backups_are_found(backed_up: Disk) -> None:
    """A collection keeps their packs; a worker that lost its index uses them again."""
    delete(backed_up)
    assert FIRST in list(backed_up.cluster.ids_with_objects())
    backed_up.cluster.delete_backup(OTHER)
    backed_up.lose_index()
    backed_up.write("a", noise(500, 50))  # comes first now, so that all packs would be other ones
    assert backed_up.upload(3).progress.bytes_uploaded == 50
    assert backed_up.restored(3) == backed_up.contents()


def test_node_manifests_of_purged_backups_are_not_found(backed_up: Disk) -> None:
    delete(backed_up)
    purge(backed_up)
    assert FIRST not in list(backed_up.cluster.ids_with_objects())
    backed_up.cluster.delete_backup(OTHER)
    backed_up.lose_index()
    backed_up.write("a", noise(500, 50))
    assert backed_up.upload(3).progress.bytes_uploaded == 150

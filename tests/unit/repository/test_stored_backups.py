# SPDX-License-Identifier: Apache-2.0
"""What a store tells of its clusters and backups, with foreign and broken things in it."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable

import pytest

from magnetodb_backup.errors import AccessDenied, StorageUnavailable
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.stored_backups import (
    StoredBackup,
    StoredBackups,
    UnreadableBackup,
    clusters,
    stored_backups,
)
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import CLUSTER, HOST, PREFIX, Disk, backup_id, noise
from tests.unit.repository.stores import Store

CONTAINER = layout.cluster_container(PREFIX, CLUSTER)
FIRST = layout.manifest_name(backup_id(1))


@pytest.fixture
def backed_up(disk: Disk) -> Disk:
    """Two committed backups, and one that is not."""
    disk.write("f", noise(1, 100))
    for number in (1, 2):
        commit(disk.cluster, number, {disk.host_id: disk.upload(number)})
    disk.upload(3)
    return disk


def found(store: Store) -> list[StoredBackup | UnreadableBackup]:
    return list(StoredBackups(store, PREFIX).backups(CLUSTER))


def test_clusters_are_those_that_have_a_container() -> None:
    store = Store()
    for name in ("Größe", "a.b", "10", "102"):
        store.ensure_container(layout.cluster_container(PREFIX, name))
        store.ensure_container(layout.node_container(PREFIX, name, HOST))
    for foreign in (PREFIX, f"{PREFIX}.", f"{PREFIX}.%zz", f"{PREFIX}.%FF", f"{PREFIX}2.other"):
        store.ensure_container(foreign)
    assert sorted(clusters(store, PREFIX)) == ["10", "102", "Größe", "a.b"]
    assert list(clusters(store, "unused")) == []


def test_committed_backups_are_found_with_the_digest_of_what_is_stored(backed_up: Disk) -> None:
    backed_up.store.change(CONTAINER, FIRST, lambda body: body.replace(b"\n", b"\n\n"))
    first, second = found(backed_up.store)
    assert isinstance(first, StoredBackup)
    body = b"".join(backed_up.store.read(CONTAINER, FIRST))
    assert first.manifest_sha256 == hashlib.sha256(body).hexdigest()
    assert first.manifest == backed_up.cluster.read_backup(backup_id(1))
    assert isinstance(second, StoredBackup)
    assert second.manifest.backup_id == backup_id(2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body[:-20], f"{FIRST}: is not JSON"),
        (lambda body: body.replace(b'"format": 1', b'"format": 2'), "has format version 2"),
        (lambda body: body.replace(b'"nodes"', b'"nods"'), "malformed backup manifest"),
        (lambda body: body.replace(b"-000000000001", b"-000000000009"), "of backup 00000000-"),
        (
            lambda body: body.replace(CLUSTER.encode(), b"another"),
            "of cluster 'another'; another program",
        ),
    ],
)
def test_a_manifest_that_is_none_spares_the_others(
    backed_up: Disk, change: Callable[[bytes], bytes], told: str
) -> None:
    backed_up.store.change(CONTAINER, FIRST, change)
    first, second = found(backed_up.store)
    assert isinstance(first, UnreadableBackup)
    assert (first.cluster, first.backup_id, first.absent) == (CLUSTER, backup_id(1), False)
    assert told in first.reason
    assert isinstance(second, StoredBackup)


def test_what_is_no_backups_name_is_unreadable(backed_up: Disk) -> None:
    body = b"{}"
    md5 = hashlib.md5(body).hexdigest()
    backed_up.store.put(CONTAINER, "backups/mine/manifest.json", body, size=2, md5=md5)
    *_, last = found(backed_up.store)
    assert last == UnreadableBackup(CLUSTER, "mine", "'mine' is not the ID of a backup")


def test_a_backup_that_is_listed_but_deleted_is_absent(backed_up: Disk) -> None:
    backed_up.store.ghosts[layout.manifest_name(backup_id(5))] = 10
    last = found(backed_up.store)[-1]
    assert isinstance(last, UnreadableBackup)
    assert (last.backup_id, last.absent) == (backup_id(5), True)


def test_a_backup_that_was_not_committed_is_passed_over(backed_up: Disk) -> None:
    backed_up.upload(7)
    backed_up.store.put(
        CONTAINER, "backups/mine/notes", b"", size=0, md5=hashlib.md5(b"").hexdigest()
    )
    assert [type(each) for each in found(backed_up.store)] == [StoredBackup, StoredBackup]


def test_a_backup_that_is_not_listed_yet_is_found_by_its_id(backed_up: Disk) -> None:
    backed_up.store.unlisted = lambda name: True
    assert found(backed_up.store) == []
    one = StoredBackups(backed_up.store, PREFIX).backup(CLUSTER, backup_id(2))
    assert isinstance(one, StoredBackup)


def test_a_refused_object_spares_the_others_and_a_silent_store_ends_it(backed_up: Disk) -> None:
    def refuse(name: str) -> None:
        if name == FIRST:
            raise AccessDenied("not yours")

    def silent(name: str) -> None:
        raise StorageUnavailable("no answer")

    backed_up.store.before_read = refuse
    first, second = found(backed_up.store)
    assert first == UnreadableBackup(CLUSTER, backup_id(1), "not yours")
    assert isinstance(second, StoredBackup)
    backed_up.store.before_read = silent
    with pytest.raises(StorageUnavailable, match="no answer"):
        found(backed_up.store)


def test_the_readable_manifests_alone(backed_up: Disk, caplog: pytest.LogCaptureFixture) -> None:
    backed_up.store.change(CONTAINER, FIRST, lambda body: b"[]")
    backed_up.store.ghosts[layout.manifest_name(backup_id(5))] = 10
    with caplog.at_level(logging.WARNING):
        manifests = list(stored_backups(backed_up.store, PREFIX, CLUSTER))
    assert [m.backup_id for m in manifests] == [backup_id(2)]
    assert [r.getMessage() for r in caplog.records] == [
        f"backup {backup_id(1)} of cluster {CLUSTER!r}: {FIRST}: is not a JSON object"
    ]


def test_several_manifests_are_read_at_once_and_few_wait(backed_up: Disk) -> None:
    """Their order stays; not more are in memory than are read at the same time."""
    for number in range(4, 30):
        commit(backed_up.cluster, number, {backed_up.host_id: backed_up.upload(number)})
    together, lock, reading = threading.Barrier(4), threading.Lock(), [0, 0]

    def before(name: str) -> None:
        with lock:
            reading[0] += 1
            first = reading[0] <= 4
        if first:
            together.wait(20)  # breaks unless four read at the same time

    def used(backup: StoredBackup) -> str:
        with lock:
            reading[1] += 1
            assert reading[0] - reading[1] <= 4
        return backup.manifest.backup_id

    backed_up.store.before_read = before
    stored = StoredBackups(backed_up.store, PREFIX, readers=4)
    ids = list(stored.ids(CLUSTER))
    begun = stored.listed(CLUSTER, ids, used)
    read = [next(begun)]
    assert reading[0] <= 5
    read += [id_ for id_ in begun if id_ is not None]
    assert read == [id_ for id_ in ids if id_ != backup_id(3)]


def test_reading_ends_with_the_one_who_reads(backed_up: Disk) -> None:
    stored = StoredBackups(backed_up.store, PREFIX, readers=2)
    begun = stored.listed(CLUSTER, stored.ids(CLUSTER), lambda backup: backup)
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("manifest")]

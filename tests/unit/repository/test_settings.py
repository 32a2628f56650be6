# SPDX-License-Identifier: Apache-2.0
"""The copies of settings in the store: the newest is the one that counts."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from magnetodb_backup.domain.settings.records import SettingCopy, SettingKind
from magnetodb_backup.repository.format.names import cluster_container, setting_name
from magnetodb_backup.repository.settings import StoredSettings, UnreadableSetting
from tests.lab.settings import CLUSTER, copy_of, key_of
from tests.unit.repository.stores import Store

K = SettingKind
PREFIX = "backups"
CONTAINER = cluster_container(PREFIX, CLUSTER)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def settings(store: Store) -> StoredSettings:
    settings = StoredSettings(store, PREFIX, CLUSTER)
    settings.ensure()
    return settings


def names(store: Store) -> list[str]:
    return [info.name for info in store.list(CONTAINER)]


def name_of(copy: SettingCopy) -> str:
    return setting_name(copy.key, copy.generation)


def test_copies_of_all_kinds_are_found(settings: StoredSettings) -> None:
    copies = [copy_of(kind) for kind in K]
    for copy in copies:
        assert settings.put(copy) == copy.generation
    found = list(settings.newest())
    assert len(found) == 3
    assert all(copy in found for copy in copies)


def test_a_cluster_without_a_container_has_none(store: Store) -> None:
    assert list(StoredSettings(store, PREFIX, "other").newest()) == []


def test_a_newer_copy_replaces_an_older_one(store: Store, settings: StoredSettings) -> None:
    older, newer = copy_of(K.MARK, reason="a"), copy_of(K.MARK, 1, reason="b")
    other = replace(copy_of(K.MARK), key=key_of(K.MARK, "5c1d5a52-7c0b-4a53-8f0e-6a1f0c2d9e78"))
    settings.put(other)
    settings.put(older)
    settings.put(newer)
    assert names(store) == [name_of(newer), name_of(other)]
    assert list(settings.newest()) == [newer, other]


def test_an_older_copy_is_not_stored_after_a_newer_one(
    store: Store, settings: StoredSettings
) -> None:
    older, newer = copy_of(K.POLICY), replace(copy_of(K.POLICY, 1), setting=None)
    settings.put(newer)
    assert settings.put(older) == newer.generation
    assert names(store) == [name_of(newer)]


def test_a_write_that_comes_late_changes_nothing(store: Store, settings: StoredSettings) -> None:
    """A conductor stalls before its write; meanwhile another one stores a newer copy."""
    older, newer = copy_of(K.SCHEDULE), copy_of(K.SCHEDULE, 1, name="renamed")

    def meanwhile(name: str) -> None:
        store.before_put = lambda name: None
        settings.put(newer)

    store.before_put = meanwhile
    settings.put(older)
    assert list(settings.newest()) == [newer]
    assert names(store) == [name_of(older), name_of(newer)]
    last = copy_of(K.SCHEDULE, 2)
    settings.put(last)
    assert names(store) == [name_of(last)]


def test_storing_twice_is_storing_once(store: Store, settings: StoredSettings) -> None:
    copy = copy_of(K.MARK)
    settings.put(copy)
    before = b"".join(store.read(CONTAINER, name_of(copy)))
    assert settings.put(copy) == copy.generation
    assert (names(store), b"".join(store.read(CONTAINER, name_of(copy)))) == (
        [name_of(copy)], before,
    )  # fmt: skip


def test_what_cannot_be_read_is_reported_and_spares_the_others(
    store: Store, settings: StoredSettings
) -> None:
    mark, policy = copy_of(K.MARK), copy_of(K.POLICY)
    settings.put(mark)
    settings.put(policy)
    settings.put(copy_of(K.SCHEDULE))
    body = b'{"format": 2}\n'
    store.put(CONTAINER, name_of(mark), body, size=len(body), md5=hashlib.md5(body).hexdigest())
    store.ghosts = {setting_name(policy.key, policy.generation + 1): 10}
    found = {each.key.kind: each for each in settings.newest()}
    assert found.pop(K.SCHEDULE) == copy_of(K.SCHEDULE)
    refused, absent = found[K.MARK], found[K.POLICY]
    assert isinstance(refused, UnreadableSetting)
    assert "has format version 2" in refused.reason
    assert isinstance(absent, UnreadableSetting)
    assert absent.generation == policy.generation + 1
    assert absent.reason.endswith("is listed, but is not in the store; repeat when its listing "
                                  "is new")  # fmt: skip


def test_objects_of_other_programs_are_passed_over(store: Store, settings: StoredSettings) -> None:
    for name in ("settings/x", "settings/kept/../x.json", "settings/retention/1.json"):
        store.put(CONTAINER, name, b"", size=0, md5="d41d8cd98f00b204e9800998ecf8427e")
    assert list(settings.newest()) == []

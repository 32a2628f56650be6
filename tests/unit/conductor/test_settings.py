# SPDX-License-Identifier: Apache-2.0
"""Copying settings to the store: a process may end at any moment, and the store may be away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from magnetodb_backup.conductor.settings import SettingLoop
from magnetodb_backup.database import Database, SettingStore
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.records import ScheduleStatus
from magnetodb_backup.domain.settings.records import LATEST, SettingCopy, SettingKey, SettingKind
from magnetodb_backup.errors import StorageRefused, StorageUnavailable
from magnetodb_backup.repository.settings import StoredSettings
from tests.lab.catalogue import catalogue, recorded
from tests.lab.processes import wait_for
from tests.lab.schedules import CLUSTER, scheduled
from tests.unit.repository.stores import Store

K = SettingKind
PREFIX = "backups"


class Crash(Exception):
    """The process ends here."""


class Dying(SettingStore):
    """Loses the process before it records what the store has."""

    def copied(self, key: SettingKey, generation: int) -> None:
        raise Crash


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with catalogue(tmp_path) as database:
        yield database


@pytest.fixture
def store() -> Store:
    return Store()


def loop_of(database: Database, store: Store) -> SettingLoop:
    return SettingLoop(
        database, lambda: store, prefix=PREFIX, interval=60, stopping=threading.Event()
    )


@pytest.fixture
def loop(database: Database, store: Store) -> SettingLoop:
    return loop_of(database, store)


def stored(store: Store, cluster: str = CLUSTER) -> dict[SettingKey, SettingCopy]:
    found = list(StoredSettings(store, PREFIX, cluster).newest())
    assert all(isinstance(copy, SettingCopy) for copy in found)
    return {copy.key: copy for copy in found if isinstance(copy, SettingCopy)}


def crash(name: str) -> None:
    raise Crash


def test_each_change_of_each_kind_is_copied(
    database: Database, store: Store, loop: SettingLoop
) -> None:
    backup = recorded(database, CLUSTER, BackupStatus.CREATED)
    schedule = scheduled(database)
    renamed = schedule.as_request().changed({"name": "renamed"})
    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: database.schedules.set_status(schedule.id, ScheduleStatus.PAUSED),
        lambda: database.schedules.set_status(schedule.id, ScheduleStatus.ACTIVE),
        lambda: database.schedules.update(schedule.id, renamed),
        lambda: database.retention.put(CLUSTER, Policy(daily=7)),
        lambda: database.retention.put(CLUSTER, Policy(daily=8)),
        lambda: database.retention.mark(backup.id, CLUSTER, "audit"),
        lambda: database.retention.mark(backup.id, CLUSTER, ""),
        lambda: database.retention.remove(CLUSTER),
        lambda: database.schedules.delete(schedule.id),
    ]  # fmt: skip
    for change in changes:
        change()
        puts = len(store.puts)
        loop.look()
        assert len(store.puts) == puts + 1
        for key, copy in stored(store).items():
            assert copy.setting == database.settings.get(key)
        loop.look()
        assert len(store.puts) == puts + 1
    assert [copy.setting for copy in stored(store).values()] == [None, None, None]


@pytest.mark.parametrize("moment", ["before_put", "before_delete", "copied"])
def test_a_conductor_that_dies_between_the_change_and_the_copy_loses_nothing(
    database: Database, store: Store, loop: SettingLoop, moment: str
) -> None:
    """The next conductor stores the same bytes under the same name."""
    schedule = scheduled(database)
    loop.look()
    database.schedules.set_status(schedule.id, ScheduleStatus.PAUSED)
    if moment == "copied":
        database.settings.__class__ = Dying
    else:
        setattr(store, moment, crash)
    with pytest.raises(Crash):
        loop.look()
    database.settings.__class__ = SettingStore
    store.before_put = store.before_delete = lambda name: None
    assert len(database.settings.pending(10)) == 1
    loop_of(database, store).look()
    (copy,) = stored(store).values()
    assert copy.setting == database.settings.get(copy.key)
    assert database.schedules.get(schedule.id).status is ScheduleStatus.PAUSED
    assert database.settings.pending(10) == ()


def test_a_store_that_is_away_is_waited_for(
    database: Database, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    away = threading.Event()
    away.set()
    tried: list[str] = []

    def before_put(name: str) -> None:
        tried.append(name)
        if away.is_set():
            raise StorageUnavailable("the store does not answer")

    store.before_put = before_put
    stopping = threading.Event()
    loop = SettingLoop(database, lambda: store, prefix=PREFIX, interval=0.01, stopping=stopping)
    thread = threading.Thread(target=loop.run)
    with caplog.at_level(logging.WARNING):
        thread.start()
        try:
            schedule = scheduled(database)
            wait_for(lambda: len(tried) >= 3, deadline=30, what="three attempts", interval=0.01)
            assert stored(store) == {}
            away.clear()
            wait_for(lambda: stored(store), deadline=30, what="the copy", interval=0.01)
        finally:
            stopping.set()
            loop.wake()
            thread.join(30)
    assert [key.subject for key in stored(store)] == [schedule.id]
    warnings = [r.getMessage() for r in caplog.records if "cannot copy settings" in r.getMessage()]
    assert warnings == [
        "cannot copy settings to the store; trying again: the store does not answer"
    ]


def test_what_the_store_refuses_does_not_keep_up_the_rest(
    database: Database, store: Store, loop: SettingLoop, caplog: pytest.LogCaptureFixture
) -> None:
    refused, accepted = scheduled(database), scheduled(database, name="other")

    def before_put(name: str) -> None:
        if refused.id in name:
            raise StorageRefused("the store refuses this name")

    store.before_put = before_put
    with caplog.at_level(logging.ERROR):
        loop.look()
        loop.look()
    assert [key.subject for key in stored(store)] == [accepted.id]
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot copy schedule {refused.id} of cluster 'Test Cluster' to the store: the store "
        "refuses this name"
    ]
    store.before_put = lambda name: None
    loop.look()
    assert {key.subject for key in stored(store)} == {accepted.id, refused.id}


def test_a_change_while_its_older_copy_is_stored_is_copied_too(
    database: Database, store: Store, loop: SettingLoop
) -> None:
    database.retention.put(CLUSTER, Policy(daily=7))

    def meanwhile(container: str, name: str) -> None:
        store.after_put = lambda container, name: None
        database.retention.put(CLUSTER, Policy(daily=8))

    store.after_put = meanwhile
    loop.look()
    (waiting,) = database.settings.pending(10)
    loop.look()
    assert list(stored(store).values()) == [waiting]
    assert database.settings.pending(10) == ()


def test_a_stalled_conductor_does_not_bring_an_older_copy_back(
    database: Database, store: Store, loop: SettingLoop
) -> None:
    """Another one copies a newer change while the first one stands before its write."""
    database.retention.put(CLUSTER, Policy(daily=7))

    def meanwhile(name: str) -> None:
        store.before_put = lambda name: None
        database.retention.remove(CLUSTER)
        loop_of(database, store).look()

    store.before_put = meanwhile
    loop.look()
    assert [copy.setting for copy in stored(store).values()] == [None]
    assert database.settings.pending(10) == ()


def test_a_newer_copy_in_the_store_stays(
    database: Database, store: Store, loop: SettingLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """An older copy of the database was put back, and its clock is behind."""
    database.retention.put(CLUSTER, Policy(daily=7))
    newer = SettingCopy(SettingKey(K.POLICY, CLUSTER, CLUSTER), LATEST, None)
    settings = StoredSettings(store, PREFIX, CLUSTER)
    settings.ensure()
    settings.put(newer)
    with caplog.at_level(logging.WARNING):
        loop.look()
        loop.look()
    assert list(stored(store).values()) == [newer]
    (record,) = caplog.records
    assert "the store has a newer copy of policy Test Cluster" in record.getMessage()
    assert record.getMessage().endswith("catalogue rebuild records it")


def test_long_lists_are_copied_in_one_look(
    database: Database, store: Store, loop: SettingLoop
) -> None:
    for number in range(105):
        database.retention.put(f"c{number}", Policy(daily=1))
    loop.look()
    assert len(store.puts) == 105
    assert database.settings.pending(10) == ()

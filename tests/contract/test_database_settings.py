# SPDX-License-Identifier: Apache-2.0
"""Which settings have to be copied, and how copies come back, on every database."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.records import ScheduleStatus
from magnetodb_backup.domain.settings.judging import Verdict
from magnetodb_backup.domain.settings.records import (
    LATEST,
    MarkSetting,
    ScheduleSetting,
    Setting,
    SettingCopy,
    SettingKey,
    SettingKind,
    generation_at,
    time_of,
)
from magnetodb_backup.errors import Conflict, NotFound
from tests.contract.test_database_writers import WRITERS, at_once
from tests.lab.catalogue import MISSING, recorded
from tests.lab.schedules import scheduled
from tests.lab.settings import CLUSTER, ID, OTHER_ID, POLICY, SCHEDULE, copy_of, key_of
from tests.unit.domain.samples import BACKUP

K, V = SettingKind, Verdict
KINDS = list(K)


def learned(database: Database, backup_id: str = ID, **values: Any) -> Backup:
    """Record a complete backup that the store has."""
    backup = replace(BACKUP, id=backup_id, cluster=CLUSTER, status=BackupStatus.CREATED, **values)
    assert database.backups.learn(backup, [])
    return backup


def bring(database: Database, copy: SettingCopy, *, dry_run: bool = False) -> Verdict:
    return database.settings.bring_back(copy, dry_run=dry_run)[0]


def pending(database: Database) -> dict[SettingKey, SettingCopy]:
    return {copy.key: copy for copy in database.settings.pending(1000)}


def copied(database: Database) -> None:
    """Do as if the store had all copies."""
    for copy in database.settings.pending(1000):
        database.settings.copied(copy.key, copy.generation)


def test_each_change_is_to_be_copied(database: Database) -> None:
    backup, schedule = learned(database), scheduled(database, CLUSTER)
    retention, schedules = database.retention, database.schedules
    request = schedule.as_request().changed({"cron": "0 3 * * *"})
    changes: list[tuple[SettingKind, str, Callable[[], object]]] = [
        (K.SCHEDULE, schedule.id, lambda: None),
        (K.SCHEDULE, schedule.id, lambda: schedules.update(schedule.id, request)),
        (K.SCHEDULE, schedule.id,
         lambda: schedules.set_status(schedule.id, ScheduleStatus.PAUSED)),
        (K.POLICY, CLUSTER, lambda: retention.put(CLUSTER, POLICY)),
        (K.POLICY, CLUSTER, lambda: retention.put(CLUSTER, Policy(daily=1))),
        (K.MARK, backup.id, lambda: retention.mark(backup.id, CLUSTER, "audit 🐘")),
        (K.MARK, backup.id, lambda: retention.mark(backup.id, CLUSTER, "")),
        (K.POLICY, CLUSTER, lambda: retention.remove(CLUSTER)),
        (K.SCHEDULE, schedule.id, lambda: schedules.delete(schedule.id)),
    ]  # fmt: skip
    generations: dict[SettingKey, int] = {}
    for kind, subject, change in changes:
        change()
        key = SettingKey(kind, subject, CLUSTER)
        (copy,) = database.settings.pending(10)
        assert (copy.key, copy.setting) == (key, database.settings.get(key))
        assert copy.generation > generations.get(key, 0)
        generations[key] = copy.generation
        copied(database)
        assert database.settings.pending(10) == ()
    assert [database.settings.get(key) for key in generations] == [None, None, None]
    now = datetime.now(timezone.utc)
    for generation in generations.values():
        assert abs(time_of(generation) - now) < timedelta(minutes=5)


def test_a_schedule_that_runs_is_not_to_be_copied(database: Database) -> None:
    schedule = scheduled(database, CLUSTER)
    copied(database)
    database.scheduling.run_now(schedule.id)
    assert database.settings.pending(10) == ()


def test_a_change_that_is_refused_is_not_to_be_copied(database: Database) -> None:
    first = scheduled(database, CLUSTER)
    backup = recorded(database, CLUSTER)
    copied(database)
    with pytest.raises(Conflict):
        scheduled(database, CLUSTER)
    for missing in (
        lambda: database.schedules.delete(MISSING),
        lambda: database.retention.remove(CLUSTER),
        lambda: database.retention.mark(MISSING, CLUSTER, "audit"),
    ):
        with pytest.raises(NotFound):
            missing()
    with pytest.raises(Conflict):
        database.schedules.set_status(first.id, ScheduleStatus.ACTIVE)
    with pytest.raises(Conflict):
        database.retention.mark(backup.id, CLUSTER, "audit")
    database.retention.mark(backup.id, CLUSTER, "")
    assert database.settings.pending(10) == ()


def test_only_the_generation_that_was_copied_is_done(database: Database) -> None:
    database.retention.put(CLUSTER, POLICY)
    (first,) = database.settings.pending(10)
    database.retention.put(CLUSTER, Policy(daily=1))
    database.settings.copied(first.key, first.generation)
    (second,) = database.settings.pending(10)
    assert second.generation > first.generation == generation_at(first.changed_at)
    database.settings.copied(second.key, second.generation)
    assert database.settings.pending(10) == ()
    assert database.settings.generation(second.key) == second.generation
    assert database.settings.generation(key_of(K.MARK)) == 0


def test_pending_settings_are_read_in_pages(database: Database) -> None:
    for number in range(5):
        database.retention.put(f"c{number}", POLICY)
    schedule = scheduled(database, CLUSTER)
    found: list[str] = []
    last = None
    while page := database.settings.pending(2, after=last):
        found += [copy.key.subject for copy in page]
        last = page[-1].key
    assert found == [*(f"c{number}" for number in range(5)), schedule.id]


def test_changes_of_many_writers_have_different_generations(database: Database) -> None:
    at_once(lambda number: database.retention.put(CLUSTER, Policy(daily=number + 1)))
    (copy,) = database.settings.pending(10)
    assert copy.setting == database.settings.get(copy.key)
    at_once(lambda number: database.retention.put(f"c{number}", POLICY))
    assert len(database.settings.pending(100)) == WRITERS + 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_database_takes_a_copy(database: Database, kind: SettingKind) -> None:
    if kind is K.MARK:
        learned(database)
    copy = copy_of(kind)
    assert bring(database, copy, dry_run=True) is V.ADD
    assert database.settings.get(copy.key) is None
    assert bring(database, copy) is V.ADD
    assert database.settings.get(copy.key) == copy.setting
    assert database.settings.generation(copy.key) == copy.generation
    assert database.settings.recorded(CLUSTER) == {copy.key}
    assert bring(database, copy) is V.SAME
    assert database.settings.pending(10) == ()


def test_a_schedule_comes_back_as_it_was_and_makes_no_missed_run_up(database: Database) -> None:
    early = replace(SCHEDULE, created_at=datetime(2020, 1, 1, tzinfo=timezone.utc))
    copy = SettingCopy(key_of(K.SCHEDULE), generation_at(early.created_at), early)
    before = database.scheduling.survey().now
    assert bring(database, copy) is V.ADD
    schedule = database.schedules.get(ID)
    assert ScheduleSetting.of(schedule) == early
    assert before <= schedule.planned_until <= database.scheduling.survey().now
    assert database.scheduling.advance(ID) is None
    assert database.backups.list() == ()
    paused = replace(early, id=OTHER_ID, name="p", status=ScheduleStatus.PAUSED)
    assert bring(database, SettingCopy(key_of(K.SCHEDULE, OTHER_ID), 1, paused)) is V.ADD
    assert database.schedules.get(OTHER_ID).status is ScheduleStatus.PAUSED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_the_later_change_wins(database: Database, kind: SettingKind, seconds: int) -> None:
    if kind is K.MARK:
        learned(database)
    first = copy_of(kind)
    other: dict[SettingKind, dict[str, Any]] = {
        K.SCHEDULE: {"name": "other"}, K.POLICY: {"policy": Policy(yearly=9)},
        K.MARK: {"reason": "other"},
    }  # fmt: skip
    second = copy_of(kind, seconds, **other[kind])
    bring(database, first)
    expected = V.CHANGE if seconds > 0 else V.OLDER
    assert bring(database, second, dry_run=True) is expected
    assert database.settings.get(first.key) == first.setting
    assert database.settings.pending(10) == ()
    verdict, before = database.settings.bring_back(second)
    assert (verdict, before.setting) == (expected, first.setting)
    if seconds > 0:
        assert database.settings.get(first.key) == second.setting
        assert database.settings.pending(10) == ()
    else:  # the record is copied over what the store has
        assert database.settings.get(first.key) == first.setting
        (again,) = database.settings.pending(10)
        assert again.generation > second.generation


@pytest.mark.parametrize("kind", KINDS)
def test_a_removal_in_the_store_removes_nothing(database: Database, kind: SettingKind) -> None:
    if kind is K.MARK:
        learned(database)
    first = copy_of(kind)
    bring(database, first)
    assert bring(database, replace(copy_of(kind, 1), setting=None)) is V.REMOVED
    assert database.settings.get(first.key) == first.setting


@pytest.mark.parametrize("kind", [K.SCHEDULE, K.POLICY])
def test_what_was_removed_since_the_copy_stays_removed(
    database: Database, kind: SettingKind
) -> None:
    copy = copy_of(kind, -1e6)
    bring(database, copy)
    if kind is K.SCHEDULE:
        database.schedules.delete(ID)
    else:
        database.retention.remove(CLUSTER)
    copied(database)
    assert bring(database, copy) is V.NOTHING
    assert database.settings.get(copy.key) is None
    (again,) = database.settings.pending(10)  # the store has not heard of it
    assert again.setting is None
    assert bring(database, replace(copy, generation=1, setting=None)) is V.NOTHING


def test_the_mark_of_an_unknown_backup_or_of_another_cluster_is_passed_over(
    database: Database,
) -> None:
    learned(database, OTHER_ID, name="other")
    assert bring(database, copy_of(K.MARK)) is V.NOTHING
    elsewhere = SettingKey(K.MARK, OTHER_ID, "other cluster")
    assert bring(database, replace(copy_of(K.MARK), key=elsewhere)) is V.NOTHING
    assert database.backups.get(OTHER_ID).kept_reason == ""


def test_a_schedule_whose_name_is_taken_is_refused(database: Database) -> None:
    scheduled(database, CLUSTER, name=SCHEDULE.name)
    for dry_run in (True, False):
        with pytest.raises(Conflict, match=f"already has the name '{SCHEDULE.name}'"):
            bring(database, copy_of(K.SCHEDULE), dry_run=dry_run)
    with pytest.raises(NotFound):
        database.schedules.get(ID)


def test_a_change_after_the_return_is_newer_than_the_copy(database: Database) -> None:
    """The clock of the lost database may have been ahead."""
    ahead = SettingCopy(key_of(K.POLICY), LATEST - 5, copy_of(K.POLICY).setting)
    bring(database, ahead)
    database.retention.put(CLUSTER, Policy(daily=1))
    (copy,) = database.settings.pending(10)
    assert copy.generation == LATEST - 4


def test_a_mark_that_came_with_its_backup_is_known(database: Database) -> None:
    """A policy must not see a kept backup without its mark."""
    copy = copy_of(K.MARK)
    mark = copy.setting
    assert isinstance(mark, MarkSetting)
    learned(database, kept_reason=mark.reason, kept_at=mark.kept_at)
    database.retention.put(CLUSTER, Policy(redundancy=1))
    copied(database)
    assert bring(database, copy) is V.SAME
    assert database.settings.generation(copy.key) == copy.generation


def test_settings_are_copied_again_on_request(database: Database) -> None:
    database.retention.put(CLUSTER, POLICY)
    mark = copy_of(K.MARK).setting
    assert isinstance(mark, MarkSetting)
    learned(database, kept_reason=mark.reason, kept_at=mark.kept_at)
    copied(database)
    keys = database.settings.recorded(CLUSTER)
    assert keys == {key_of(K.POLICY), key_of(K.MARK)}
    for key in keys:
        database.settings.copy_again(key)
    settings: dict[SettingKey, Setting | None] = {
        key: copy.setting for key, copy in pending(database).items()
    }
    assert settings == {key: database.settings.get(key) for key in keys}


def test_a_purged_backup_has_no_mark_to_copy(database: Database) -> None:
    learned(database, kept_reason="audit", kept_at=datetime.now(timezone.utc),
            undelete_until=None)  # fmt: skip
    gone = replace(BACKUP, id=str(uuid.uuid4()), cluster=CLUSTER, status=BackupStatus.DELETED,
                   kept_reason="audit", undelete_until=None)  # fmt: skip
    database.backups.learn(gone, [])
    assert database.settings.recorded(CLUSTER) == {key_of(K.MARK)}

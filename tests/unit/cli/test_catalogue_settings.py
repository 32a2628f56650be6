# SPDX-License-Identifier: Apache-2.0
"""catalogue rebuild: schedules, retention policies and marks come back from the store alone."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.conductor.settings import SettingLoop
from magnetodb_backup.database import BackupStore, Database
from magnetodb_backup.domain.backup.from_manifest import records_of
from magnetodb_backup.domain.backup.records import Backup, NodeBackup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.records import Schedule, ScheduleStatus
from magnetodb_backup.domain.settings.records import (
    ScheduleSetting,
    SettingCopy,
    SettingKind,
    generation_at,
)
from magnetodb_backup.errors import NotFound
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.names import cluster_container, setting_name
from magnetodb_backup.repository.settings import StoredSettings
from tests.lab.catalogue import catalogue
from tests.lab.schedules import runs_of, scheduled
from tests.lab.settings import SCHEDULE, copy_of, key_of
from tests.unit.cli.conftest import CLUSTER, Shell
from tests.unit.cli.test_catalogue import PREFIX, S, stored

K = SettingKind
POLICY = Policy(redundancy=1)


@dataclass
class Lost:
    """The service whose database is lost, with what it has stored."""

    database: Database
    shell: Shell

    def backup(self, number: int, day: int, **values: Any) -> str:
        """Store and record a backup of a day of January; return its ID."""
        id_ = stored(
            self.shell, number, status="CREATED", missing_nodes=(),
            committed_at=f"2026-01-{day:02}T05:00:00+00:00", **values,
        )  # fmt: skip
        manifest, object_ = ClusterRepository(
            self.shell.catalogue.driver, PREFIX, CLUSTER
        ).read_commit(id_)
        backup, nodes = records_of(manifest, object_.sha256)
        assert self.database.backups.learn(backup, nodes)
        return id_

    def copy(self) -> None:
        """Store what has to be copied."""
        driver = self.shell.catalogue.driver
        SettingLoop(
            self.database, lambda: driver, prefix=PREFIX, interval=1, stopping=threading.Event()
        ).look()


@pytest.fixture
def lost(tmp_path: Path, shell: Shell) -> Iterator[Lost]:
    directory = tmp_path / "lost"
    directory.mkdir()
    with catalogue(directory) as database:
        yield Lost(database, shell)


def rebuilt(shell: Shell, *arguments: str, code: int = 0) -> dict[tuple[str, str], str]:
    """Rebuild; return the results by kind and ID."""
    outcome = shell("catalogue", "rebuild", "-f", "json", *arguments)
    assert outcome.code == code, outcome
    return {(row["kind"], row["id"]): row["result"] for row in outcome.json}


def settings_of(database: Database) -> tuple[object, ...]:
    schedules = [ScheduleSetting.of(state.schedule) for state in database.schedules.list()]
    marks = [(b.id, b.kept_reason, b.kept_at) for b in database.backups.list(sort="name:asc")]
    return schedules, database.retention.list(), marks


def put(shell: Shell, copy: SettingCopy, body: bytes = b"") -> None:
    """Store a copy, or something else under its name."""
    settings = StoredSettings(shell.catalogue.driver, PREFIX, CLUSTER)
    settings.ensure()
    settings.put(copy)
    if body:
        container, name = (
            cluster_container(PREFIX, CLUSTER),
            setting_name(copy.key, copy.generation),
        )
        md5 = hashlib.md5(body).hexdigest()
        shell.catalogue.driver.put(container, name, body, size=len(body), md5=md5)


def test_everything_comes_back_from_the_store_alone(shell: Shell, lost: Lost) -> None:
    first, second = lost.backup(1, 1), lost.backup(2, 2)
    active = scheduled(lost.database, CLUSTER, allow_partial=True, jitter=60)
    paused = scheduled(lost.database, CLUSTER, name="weekly", cron="0 3 * * 0", paused=True)
    gone = scheduled(lost.database, CLUSTER, name="gone")
    lost.copy()
    lost.database.schedules.delete(gone.id)
    lost.database.retention.put(CLUSTER, POLICY)
    lost.database.retention.mark(first, CLUSTER, "audit 🐘")
    lost.database.retention.mark(second, CLUSTER, "mistake")
    lost.database.retention.mark(second, CLUSTER, "")
    lost.copy()
    dry = rebuilt(shell, "--dry-run")
    assert settings_of(shell.database) == ([], (), [])
    results = rebuilt(shell)
    assert settings_of(shell.database) == settings_of(lost.database)
    assert dry == {key: f"would be {result}" for key, result in results.items()}
    policy = next(id_ for kind, id_ in results if kind == "policy")
    assert list(results) == [
        ("backup", second), ("backup", first), ("schedule", active.id), ("schedule", paused.id),
        ("mark", first), ("policy", policy),
    ] or list(results) == [
        ("backup", second), ("backup", first), ("schedule", paused.id), ("schedule", active.id),
        ("mark", first), ("policy", policy),
    ]  # fmt: skip
    assert re.fullmatch(
        r"added; it runs next at \d{4}-\d\d-\d\d 02:0[01]:\d\d UTC, and runs that were missed are "
        "not made up",
        results["schedule", active.id],
    )
    assert results["schedule", paused.id] == "added; it is paused, as before"
    assert results["mark", first] == results["policy", policy] == "added"
    assert set(rebuilt(shell).values()) == {"known"}
    assert shell.database.settings.pending(10) == ()


def test_a_kept_backup_is_not_expired_after_the_rebuild(shell: Shell, lost: Lost) -> None:
    kept, expired, newest = (lost.backup(n, n) for n in (1, 2, 3))
    lost.database.retention.put(CLUSTER, POLICY)
    lost.database.retention.mark(kept, CLUSTER, "audit")
    lost.copy()
    rebuilt(shell)
    decisions = shell.database.retention.plan(CLUSTER).decisions
    assert {d.candidate.id for d in decisions if d.kept} == {kept, newest}
    ids = [kept, expired, newest]
    assert set(shell.database.backups.expire(CLUSTER, ids)) == {kept, newest}
    statuses = [shell.database.backups.get(id_).status for id_ in ids]
    assert statuses == [S.CREATED, S.DELETING, S.CREATED]


def test_backups_of_a_schedule_keep_its_own_policy(shell: Shell, lost: Lost) -> None:
    """Runs come back by the names of their backups, so that no other policy decides."""
    own = asdict(Policy(redundancy=2))
    schedule = scheduled(lost.database, CLUSTER, retention=own)
    names = [f"{schedule.name}-2026010{day}T020000Z" for day in (1, 2, 3)]
    made = [lost.backup(n, n, name=name) for n, name in enumerate(names, 1)]
    by_hand = lost.backup(4, 4, name=f"{schedule.name}-before-the-move")
    newest = lost.backup(5, 5)
    lost.database.retention.put(CLUSTER, POLICY)
    lost.copy()
    rebuilt(shell)
    decisions = shell.database.retention.plan(CLUSTER).decisions
    assert {d.candidate.id for d in decisions if d.kept} == {*made[1:], newest}
    assert {d.candidate.id for d in decisions if not d.kept} == {made[0], by_hand}
    runs = runs_of(shell.database, schedule)
    assert [run.backup_id for run in runs] == made[::-1]
    assert set(rebuilt(shell).values()) == {"known"}
    assert runs_of(shell.database, schedule) == runs


def test_a_policy_never_sees_a_kept_backup_without_its_mark(shell: Shell, lost: Lost) -> None:
    """The policy was set again before the rebuild, and is applied while it runs."""
    kept = lost.backup(1, 1)
    lost.backup(2, 2)
    lost.database.retention.mark(kept, CLUSTER, "audit")
    lost.copy()
    shell.database.retention.put(CLUSTER, POLICY)

    class Applied(BackupStore):
        def learn_all(self, found: Sequence[tuple[Backup, Sequence[NodeBackup]]]) -> frozenset[str]:
            added = super().learn_all(found)
            self.expire(CLUSTER, [backup.id for backup, _ in found])
            return added

    shell.database.backups.__class__ = Applied
    rebuilt(shell)
    assert shell.database.backups.get(kept).status is BackupStatus.CREATED


def test_a_backup_whose_mark_cannot_be_read_is_kept(shell: Shell, lost: Lost) -> None:
    kept = lost.backup(1, 1)
    mark = replace(copy_of(K.MARK), key=key_of(K.MARK, kept))
    put(shell, mark, b'{"format": 2}\n')
    results = rebuilt(shell, code=3)
    assert results["backup", kept] == "added"
    assert re.fullmatch(
        "unreadable: settings/kept/.*: has format version 2, this version knows 1; .*; if its "
        "backup was not recorded, it is kept until backup unkeep",
        results["mark", kept],
    )
    assert "cannot be read" in shell.database.backups.get(kept).kept_reason
    assert shell("backup", "unkeep", kept).code == 0
    assert shell.database.backups.get(kept).kept_reason == ""


def test_the_mark_of_a_deleted_backup_is_no_finding(shell: Shell, lost: Lost) -> None:
    kept = lost.backup(1, 1)
    put(shell, copy_of(K.MARK))  # of a backup that the store does not have
    assert rebuilt(shell) == {("backup", kept): "added"}


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        (K.SCHEDULE, {"timing": replace(SCHEDULE.timing, cron="61 * * * *")}, "61"),
        (K.SCHEDULE, {"name": "a\nb"}, "control characters"),
        (K.SCHEDULE, {"id": "x"}, "another program changed it"),
        (K.POLICY, {"policy": Policy(floor=0)}, "floor is 0"),
        (K.MARK, {"reason": "x" * 1001}, "1001 characters"),
    ],
)
def test_values_that_no_request_may_have_are_refused(
    shell: Shell, lost: Lost, kind: SettingKind, changes: dict[str, Any], told: str
) -> None:
    first, good = lost.backup(1, 1), scheduled(lost.database, CLUSTER)
    lost.copy()
    put(shell, copy_of(kind, **changes))
    results = rebuilt(shell, code=3)
    assert results.pop(("backup", first)) == "added"
    assert results.pop(("schedule", good.id)).startswith("added")
    ((key, result),) = results.items()
    assert key[0] == kind.value
    assert result.startswith("unreadable: ")
    assert told in result
    assert shell.database.retention.list() == ()


def test_the_later_change_wins_and_the_output_says_why(shell: Shell, lost: Lost) -> None:
    """An older copy of the database was put back."""
    lost.backup(1, 1)
    schedule = scheduled(lost.database, CLUSTER)
    lost.database.retention.put(CLUSTER, POLICY)
    lost.copy()
    rebuilt(shell)
    lost.database.schedules.set_status(schedule.id, ScheduleStatus.PAUSED)  # newer in the store
    lost.copy()
    shell.database.retention.put(CLUSTER, Policy(daily=9))  # newer in the database
    for arguments, changed in ((["--dry-run"], "would be changed"), ([], "changed")):
        results = {kind: result for (kind, _), result in rebuilt(shell, *arguments).items()}
        moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        assert re.fullmatch(
            f"{changed}: the copy in the store, of {moment}, is newer than the record, of "
            f"{moment}; it is paused, as before",
            results["schedule"],
        )
        assert re.fullmatch(
            f"known; the copy in the store, of {moment}, is not newer than the record, of "
            f"{moment}, which stays; the conductor copies it",
            results["policy"],
        )
    assert shell.database.schedules.get(schedule.id).status is ScheduleStatus.PAUSED
    assert shell.database.retention.get(CLUSTER).policy == Policy(daily=9)


def test_a_removal_in_the_store_needs_attention(shell: Shell, lost: Lost) -> None:
    lost.backup(1, 1)
    schedule = scheduled(lost.database, CLUSTER)
    lost.copy()
    rebuilt(shell)
    lost.database.schedules.delete(schedule.id)
    lost.copy()
    result = rebuilt(shell, code=3)["schedule", schedule.id]
    assert result.startswith("known, but the store has its removal, of ")
    assert result.endswith("; schedule delete removes it, schedule set keeps it")
    assert shell.database.schedules.get(schedule.id).name == "nightly"
    assert shell("schedule", "delete", schedule.id).code == 0
    assert ("schedule", schedule.id) not in rebuilt(shell)


def test_a_schedule_with_a_name_that_is_taken_is_not_added(shell: Shell, lost: Lost) -> None:
    """It was created again by hand before the rebuild: two would make each backup twice."""
    lost.backup(1, 1)
    old = scheduled(lost.database, CLUSTER)
    lost.copy()
    new = scheduled(shell.database, CLUSTER)
    for arguments in (["--dry-run"], []):
        results = rebuilt(shell, *arguments, code=3)
        assert results["schedule", old.id] == (
            f"not added: schedule {new.id} already has the name 'nightly'; give it another name "
            "(schedule set), then repeat"
        )
        assert results["schedule", new.id] == (
            "known; the store has no copy, the conductor makes one"
        )
        assert rebuilt(shell, *arguments, "--no-schedules").keys() == {
            key for key in results if key[0] == "backup"
        }
    with pytest.raises(NotFound):
        shell.database.schedules.get(old.id)


def test_schedules_are_left_out_on_request(shell: Shell, lost: Lost) -> None:
    first = lost.backup(1, 1)
    scheduled(lost.database, CLUSTER)
    lost.database.retention.mark(first, CLUSTER, "audit")
    lost.copy()
    assert rebuilt(shell, "--no-schedules") == {
        ("backup", first): "added",
        ("mark", first): "added",
    }
    assert shell.database.schedules.list() == ()


def test_a_cluster_that_has_settings_only(shell: Shell, lost: Lost) -> None:
    schedule = scheduled(lost.database, CLUSTER)
    lost.copy()
    assert list(rebuilt(shell, "--cluster", CLUSTER)) == [("schedule", schedule.id)]


def test_runs_before_the_rebuild_are_not_made_up(shell: Shell, lost: Lost) -> None:
    schedule = scheduled(lost.database, CLUSTER, cron="* * * * *")
    setting = ScheduleSetting.of(schedule)
    old = datetime.now(timezone.utc) - timedelta(days=30)
    setting = replace(setting, created_at=old, updated_at=old)
    put(shell, SettingCopy(key_of(K.SCHEDULE, schedule.id, CLUSTER), generation_at(old), setting))
    rebuilt(shell)
    found: Schedule = shell.database.schedules.get(schedule.id)
    assert found.created_at == old
    assert found.planned_until > old + timedelta(days=29)
    assert shell.database.schedules.state(schedule.id).due_since is None

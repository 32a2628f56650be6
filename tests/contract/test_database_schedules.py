# SPDX-License-Identifier: Apache-2.0
"""What schedules and their runs promise, on every database, by its own clock."""

from __future__ import annotations

import threading
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import text

from magnetodb_backup.database import Database, connect
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.schedule.records import (
    Missed,
    Overlap,
    RunStatus,
    Schedule,
    ScheduleRequest,
    ScheduleStatus,
    Timing,
)
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound
from tests.lab.catalogue import MISSING, job_of
from tests.lab.schedules import BODY, backups_of, runs_of, scheduled

WHOLE = ScheduleRequest(
    "nächtlich 🐘",
    Timing(
        "*/5 1-3 L * MON#2", "America/Argentina/ComodRivadavia", 59, 7, 86400,
        Overlap.SKIP, Missed.SKIP,
    ),
    BackupRequest(
        {"type": "tables", "tables": ["k.t", 'k."T"']}, allow_partial=True, on_corrupt="mark",
        figures=True, data_centers=("dc1", "DC1"), cluster="ß",
    ),
    paused=True,
)  # fmt: skip


def make_due(database: Database, schedule: Schedule, minutes: int = 2) -> None:
    """Let planned times of the last minutes be undecided."""
    with database._engine.begin() as connection:
        values = {"at": _ago(minutes), "id": schedule.id}
        statement = "UPDATE schedules SET planned_until = :at WHERE id = :id"
        connection.execute(text(statement), values)


def _ago(minutes: int) -> str:
    moment = datetime.now(timezone.utc) - timedelta(minutes=minutes)
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"


def every_minute(database: Database, **fields: Any) -> Schedule:
    return scheduled(database, "c", cron="* * * * *", **fields)


def test_schedules_are_kept_whole(database: Database) -> None:
    made = database.schedules.create(WHOLE, "ß")
    found = database.schedules.get(made.id)
    assert found == made
    assert (found.name, found.cluster, found.status.value) == (WHOLE.name, "ß", "PAUSED")
    assert (found.timing, found.backup) == (WHOLE.timing, WHOLE.backup)
    assert found.as_request() == WHOLE
    assert found.planned_until == found.created_at
    assert abs((found.created_at - datetime.now(timezone.utc)).total_seconds()) < 60


def test_names_are_unique(database: Database) -> None:
    first, other = scheduled(database), scheduled(database, name="Nightly")
    with pytest.raises(Conflict, match=f"schedule {first.id} already has the name 'nightly'"):
        scheduled(database, "other")
    with pytest.raises(Conflict, match=f"schedule {first.id} already has the name 'nightly'"):
        database.schedules.update(other.id, first.as_request())
    database.schedules.update(first.id, first.as_request())
    database.schedules.delete(first.id)
    scheduled(database)


def test_a_name_that_two_want_at_once_is_given_to_one(
    database: Database, database_url: str
) -> None:
    databases = [connect(database_url) for _ in range(4)]
    barrier, ends = threading.Barrier(4), []

    def create(own: Database) -> None:
        barrier.wait(30)
        try:
            ends.append(scheduled(own).name)
        except Conflict:
            ends.append("")

    threads = [threading.Thread(target=create, args=(own,)) for own in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for own in databases:
        own.close()
    assert sorted(ends) == ["", "", "", "nightly"]
    assert len(database.schedules.list()) == 1


def test_found_by_id_name_and_digits(database: Database) -> None:
    one = scheduled(database)
    for text_ in (one.id, one.name, one.id[:8]):
        assert database.schedules.find(text_) == one
    for get in (database.schedules.get, database.schedules.find):
        with pytest.raises(NotFound, match=f"there is no schedule '{MISSING}'; see schedule list"):
            get(MISSING)


def test_pages(database: Database) -> None:
    made = [scheduled(database, str(n % 2), name=f"s{n}", paused=n == 3) for n in range(5)]
    made.sort(key=lambda schedule: (schedule.created_at, schedule.id), reverse=True)
    ids = [schedule.id for schedule in made]
    odd = [schedule.id for schedule in made if schedule.cluster == "1"]
    (paused,) = (schedule.id for schedule in made if schedule.name == "s3")

    def listed(**page: Any) -> list[str]:
        return [state.schedule.id for state in database.schedules.list(**page)]

    assert listed() == ids
    assert listed(limit=2) == ids[:2]
    assert listed(limit=2, marker=ids[1]) == ids[2:4]
    assert listed(cluster="1") == odd
    assert listed(status="PAUSED") == [paused]
    with pytest.raises(InvalidValue, match="use one of ACTIVE, PAUSED"):
        listed(status="RUNNING")


def test_only_other_planned_times_count_from_their_change_on(database: Database) -> None:
    schedule = every_minute(database)
    make_due(database, schedule)
    request = schedule.as_request()
    kept = database.schedules.update(schedule.id, request.changed({"missed": "skip"}))
    assert kept.planned_until < schedule.planned_until
    assert kept.timing.missed is Missed.SKIP
    changed = database.schedules.update(schedule.id, request.changed({"cron": "0 2 * * *"}))
    assert changed.planned_until >= schedule.planned_until
    assert changed.updated_at == changed.planned_until


def test_pausing_and_resuming(database: Database) -> None:
    schedule = every_minute(database)
    make_due(database, schedule)
    paused = database.schedules.set_status(schedule.id, ScheduleStatus.PAUSED)
    assert database.scheduling.advance(schedule.id) is None
    assert database.scheduling.survey().schedules == ()
    with pytest.raises(Conflict, match="schedule 'nightly' is already PAUSED"):
        database.schedules.set_status(schedule.id, ScheduleStatus.PAUSED)
    resumed = database.schedules.set_status(schedule.id, ScheduleStatus.ACTIVE)
    assert resumed.planned_until > paused.planned_until
    assert database.scheduling.survey().schedules == (resumed,)


def test_a_due_time_is_decided_once(database: Database) -> None:
    schedule = every_minute(database)
    assert database.scheduling.advance(schedule.id) is None
    make_due(database, schedule)
    run = database.scheduling.advance(schedule.id)
    assert run is not None
    now = database.scheduling.survey().now
    assert run.planned_at.second == run.planned_at.microsecond == 0
    assert run.planned_at <= run.decided_at <= now < run.planned_at + timedelta(minutes=2)
    (backup,) = backups_of(database)
    assert (run.backup_id, run.status) == (backup.id, RunStatus.RUNNING)
    assert backup.name == f"nightly-{run.planned_at:%Y%m%dT%H%M%SZ}"
    assert not job_of(database, backup.id).status.finished
    assert runs_of(database, schedule) == (run,)
    assert database.schedules.get(schedule.id).planned_until == run.planned_at
    # Whatever is recorded in the schedule, the row of the run is the claim.
    database.backups.set_status(backup.id, BackupStatus.CREATED)
    make_due(database, schedule)
    again = database.scheduling.advance(schedule.id)
    assert again is None or again.planned_at > run.planned_at


def claimed_at_once(databases: list[Database], schedule: Schedule) -> list[datetime]:
    """Return the planned times that conductors claimed when all tried at once."""
    barrier, runs, errors = threading.Barrier(len(databases)), [], []

    def claim(own: Database) -> None:
        barrier.wait(30)
        try:
            runs.append(own.scheduling.advance(schedule.id))
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=claim, args=(own,)) for own in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    return [run.planned_at for run in runs if run is not None]


def test_conductors_that_claim_at_once_make_one_backup(
    database: Database, database_url: str
) -> None:
    schedules = [every_minute(database, name=f"s{n}") for n in range(5)]
    databases = [connect(database_url) for _ in range(4)]
    for schedule in schedules:
        make_due(database, schedule)
        planned = claimed_at_once(databases, schedule)
        # A second one is possible where a minute ends meanwhile.
        assert planned
        assert len(planned) == len(set(planned)) == len(runs_of(database, schedule))
        for backup in backups_of(database):
            if backup.status is BackupStatus.CREATING:
                database.backups.set_status(backup.id, BackupStatus.CREATED)
    assert len(backups_of(database)) == sum(len(runs_of(database, s)) for s in schedules)
    for own in databases:
        own.close()


def test_nothing_of_a_run_stays_without_its_backup(database: Database) -> None:
    """Claim and backup are one transaction: a conductor that dies within it has claimed nothing."""
    schedule = every_minute(database)
    make_due(database, schedule)
    undecided = database.schedules.get(schedule.id)
    with database._engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME TO away"))
    with pytest.raises(Exception, match="jobs"):
        database.scheduling.advance(schedule.id)
    with database._engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO jobs"))
    assert database.schedules.get(schedule.id) == undecided
    assert (runs_of(database, schedule), backups_of(database)) == ((), ())
    assert database.scheduling.advance(schedule.id) is not None


def test_runs_of_users(database: Database) -> None:
    schedule = scheduled(database, paused=True)
    runs = [database.scheduling.run_now(schedule.id) for _ in range(3)]
    assert {run.manual for run in runs} == {True}
    assert len({run.backup_id for run in runs} | {run.planned_at for run in runs}) == 6
    assert runs_of(database, schedule) == tuple(reversed(runs))
    assert database.schedules.get(schedule.id) == schedule
    with pytest.raises(NotFound, match="see schedule list"):
        database.scheduling.run_now(MISSING)


def test_the_end_of_a_backup_is_that_of_its_run(database: Database) -> None:
    schedule = scheduled(database)
    first, second = (database.scheduling.run_now(schedule.id) for _ in range(2))
    ended = database.backups.set_status(first.backup_id, BackupStatus.CREATE_FAILED, error="ß 🐘")
    found = {run.backup_id: run for run in runs_of(database, schedule)}
    assert found[second.backup_id] == second
    run = found[first.backup_id]
    assert (run.status, run.reason) == (RunStatus.CREATE_FAILED, "ß 🐘")
    assert run.finished_at == ended.finished_at
    (state,) = database.schedules.list()
    assert state.last_run == second


def test_late_backups_are_cancelled_once(database: Database) -> None:
    schedule = scheduled(database, finish_within=60)
    run = database.scheduling.run_now(schedule.id)
    assert run.finish_by == run.decided_at + timedelta(seconds=60)
    assert database.scheduling.cancel_late() == ()
    with database._engine.begin() as connection:
        connection.execute(text("UPDATE schedule_runs SET finish_by = :at"), {"at": _ago(1)})
    assert database.scheduling.cancel_late() == (run.backup_id,)
    assert job_of(database, run.backup_id).cancel_requested
    assert database.scheduling.cancel_late() == ()
    (found,) = runs_of(database, schedule)
    assert found.reason.startswith("cancelled because it was not complete by ")


def test_a_deleted_schedule_leaves_its_backups(database: Database) -> None:
    schedule, other = scheduled(database), scheduled(database, name="other")
    run, kept = (database.scheduling.run_now(s.id) for s in (schedule, other))
    database.schedules.delete(schedule.id)
    with pytest.raises(NotFound):
        database.schedules.get(schedule.id)
    assert {b.id for b in backups_of(database)} == {run.backup_id, kept.backup_id}
    assert runs_of(database, other) == (kept,)
    database.backups.set_status(run.backup_id, BackupStatus.CREATED)
    with pytest.raises(NotFound, match="see schedule list"):
        database.schedules.delete(schedule.id)


def test_fields_of_a_newer_version_are_left_out(database: Database) -> None:
    schedule = scheduled(database)
    stored = '{"scope": {"type": "all"}, "encrypted": true}'
    with database._engine.begin() as connection:
        connection.execute(text("UPDATE schedules SET backup = :b"), {"b": stored})
    found = database.schedules.get(schedule.id)
    assert found.backup == BackupRequest({"type": "all"}, cluster=found.cluster)
    assert uuid.UUID(found.id)
    assert BODY["scope"] == found.backup.scope

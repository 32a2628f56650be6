# SPDX-License-Identifier: Apache-2.0
"""schedule create, list, show, set, delete, pause, resume, run."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.schedule.views import schedule_view
from tests.lab.schedules import runs_of, scheduled
from tests.unit.cli.conftest import CLUSTER, Shell, table
from tests.unit.domain.samples import REPORT

NIGHTLY = ("schedule", "create", "nightly", "--cron", "30 2 * * *", "--all-keyspaces")


def as_json(shell: Shell, *arguments: str) -> dict[str, Any]:
    """Return the record that a command shows, which is that of the database."""
    outcome = shell(*arguments, "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    state = shell.database.schedules.state(outcome.json["id"])
    assert outcome.json == schedule_view(state, with_runs=True)
    record: dict[str, Any] = outcome.json
    return record


def test_create_with_all_options(shell: Shell) -> None:
    shell.database.nodes.report(replace(REPORT, worker_id="w2", cluster="other"))
    record = as_json(
        shell, "schedule", "create", "weekly", "--cluster", CLUSTER, "--cron", "0 3 * * SUN",
        "--zone", "Europe/Berlin", "--jitter", "600", "--begin-within", "7200",
        "--finish-within", "14400", "--overlap", "skip", "--missed", "skip", "--keyspace", "k",
        "--dc", "dc1", "--allow-partial", "--on-corrupt", "mark", "--fingerprints", "--paused",
    )  # fmt: skip
    expected = {
        "name": "weekly", "cluster": CLUSTER, "status": "PAUSED", "cron": "0 3 * * SUN",
        "zone": "Europe/Berlin", "jitter": 600, "begin_within": 7200, "finish_within": 14400,
        "overlap": "skip", "missed": "skip", "scope": {"type": "keyspaces", "keyspaces": ["k"]},
        "data_centers": ["dc1"], "allow_partial": True, "on_corrupt": "mark", "figures": True,
    }  # fmt: skip
    assert {name: record[name] for name in expected} == expected
    assert shell.woken == 1


def test_create_with_defaults(shell: Shell) -> None:
    record = as_json(shell, *NIGHTLY)
    assert (record["zone"], record["status"], record["figures"]) == ("UTC", "ACTIVE", False)
    assert record["next_run_at"][10:] == "T02:30:00.000Z"


def test_wrong_values(shell: Shell) -> None:
    wrong = shell.refused(2, *NIGHTLY[:3], "--cron", "30 26 * * *", "--all-keyspaces")
    assert wrong.startswith("cron is '30 26 * * *' (bad hour); write five fields: minute, hour")
    assert "no time zone" in shell.refused(2, *NIGHTLY, "--zone", "Berlin")
    assert "several" not in shell.refused(4, *NIGHTLY, "--cluster", "other")
    shell(*NIGHTLY)
    assert "already has the name 'nightly'" in shell.refused(5, *NIGHTLY)
    assert "there is no schedule 'x'" in shell.refused(4, "schedule", "show", "x")
    assert "use 1 or more" in shell.refused(2, "schedule", "show", "nightly", "--runs", "0")
    assert "name an option" in shell.refused(2, "schedule", "set", "nightly")


def test_list(shell: Shell) -> None:
    schedule = scheduled(shell.database)
    scheduled(shell.database, "other", name="other", paused=True)
    rows = {row["name"]: row for row in shell("schedule", "list", "-f", "json").json}
    assert set(rows) == {"nightly", "other"}
    assert (rows["nightly"]["id"], rows["nightly"]["status"]) == (schedule.id, "ACTIVE")
    assert rows["nightly"]["last_run_status"] == rows["other"]["next_run_at"] == ""
    shell.database.scheduling.run_now(schedule.id)
    (row,) = shell("schedule", "list", "--status", "ACTIVE", "-f", "json").json
    assert row["last_run_status"] == "RUNNING"
    assert "nightly" in shell("schedule", "list").out


def test_show_says_when_it_ran_how_that_ended_and_when_it_runs_next(shell: Shell) -> None:
    schedule = scheduled(shell.database, zone="Asia/Tokyo", cron="0 2 * * *")
    run = shell.database.scheduling.run_now(schedule.id)
    shown = table(shell("schedule", "show", "nightly").out)
    assert shown["runs at"] == "0 2 * * * in Asia/Tokyo"
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d 02:00:00 Asia/Tokyo, \d{4}-\d\d-\d\d 17:00:00 UTC", shown["next run"]
    )
    moment = f"{run.planned_at:%Y-%m-%d %H:%M:%S} UTC"
    assert shown["last runs"] == f"{moment} (requested): RUNNING now, backup {run.backup_id}"
    shell.database.backups.set_status(run.backup_id, BackupStatus.CREATE_FAILED, error="disk full")
    shown = table(shell("schedule", "show", schedule.id[:8]).out)
    assert re.fullmatch(
        rf"{moment} \(requested\): CREATE_FAILED at .* UTC, backup {run.backup_id}, disk full",
        shown["last runs"],
    )
    assert "due" not in shown


def test_show_of_a_run_that_waits(shell: Shell) -> None:
    schedule = scheduled(shell.database, cron="* * * * *")
    other = shell.backup()
    with shell.database._engine.begin() as connection:
        begin = f"{schedule.created_at - timedelta(minutes=2):%Y-%m-%d %H:%M:%S.%f}"
        connection.execute(text("UPDATE schedules SET planned_until = :at"), {"at": begin})
    due = table(shell("schedule", "show", "nightly").out)["due"]
    assert due.endswith(f":00 UTC: waits for the end of backup {other.id}")
    shell.database.backups.set_status(other.id, BackupStatus.CREATED)
    due = table(shell("schedule", "show", "nightly").out)["due"]
    assert due.endswith(":00 UTC: a conductor begins it with its next look")


def test_show_of_few_runs_and_in_other_forms(shell: Shell) -> None:
    schedule = scheduled(shell.database)
    for _ in range(3):
        shell.database.scheduling.run_now(schedule.id)
    record = shell("schedule", "show", "nightly", "--runs", "2", "-f", "json").json
    newest = [run.backup_id for run in runs_of(shell.database, schedule)]
    assert [run["backup_id"] for run in record["runs"]] == newest[:2]
    long = table(shell("schedule", "show", "nightly", "--long").out)
    assert f"RUNNING: backup {newest[0]}" in long["last_run"]
    assert long["runs"].count("\n") == 2


def test_set(shell: Shell) -> None:
    schedule = scheduled(
        shell.database, allow_partial=True, figures=True, finish_within=600, data_centers=["dc1"]
    )
    kept = as_json(shell, "schedule", "set", "nightly", "--jitter", "60")
    assert kept == {**kept, "jitter": 60, "allow_partial": True, "figures": True,
                    "finish_within": 600, "data_centers": ["dc1"], "scope": {"type": "all"},
                    "cron": "0 2 * * *"}  # fmt: skip
    changed = as_json(
        shell, "schedule", "set", "nightly", "--name", "weekly", "--cron", "0 3 * * SUN",
        "--zone", "Europe/Berlin", "--no-allow-partial", "--no-fingerprints", "--all-dcs",
        "--no-finish-within", "--table", "k.t", "--on-corrupt", "mark",
    )  # fmt: skip
    assert changed == {**changed, "id": schedule.id, "name": "weekly", "cron": "0 3 * * SUN",
                       "zone": "Europe/Berlin", "allow_partial": False, "figures": False,
                       "data_centers": [], "finish_within": None, "jitter": 60,
                       "scope": {"type": "tables", "tables": ["k.t"]},
                       "on_corrupt": "mark"}  # fmt: skip


@pytest.mark.parametrize("flag", ["--allow-partial", "--fingerprints"])
def test_set_flags(shell: Shell, flag: str) -> None:
    scheduled(shell.database)
    record = as_json(shell, "schedule", "set", "nightly", flag)
    assert record["allow_partial"] is (flag == "--allow-partial")
    assert record["figures"] is (flag == "--fingerprints")


def test_pause_and_resume(shell: Shell) -> None:
    scheduled(shell.database)
    assert as_json(shell, "schedule", "pause", "nightly")["status"] == "PAUSED"
    shown = table(shell("schedule", "show", "nightly").out)
    assert shown["next run"] == "none: the schedule is paused"
    assert "already PAUSED" in shell.refused(5, "schedule", "pause", "nightly")
    assert as_json(shell, "schedule", "resume", "nightly")["status"] == "ACTIVE"


def test_run(shell: Shell) -> None:
    scheduled(shell.database)
    outcome = shell("schedule", "run", "nightly")
    (state,) = shell.database.schedules.list()
    assert state.last_run is not None
    assert f"backup show {state.last_run.backup_id}\n" in outcome.out
    record = shell("schedule", "run", "nightly", "-f", "json").json
    assert shell.database.backups.get(record["backup_id"]).status is BackupStatus.CREATING
    assert record["manual"] is True


def test_delete(shell: Shell) -> None:
    schedule = scheduled(shell.database)
    outcome = shell("schedule", "delete", "nightly")
    assert outcome.out == f"schedule {schedule.id} (nightly) is deleted\n"
    assert shell.database.schedules.list() == ()

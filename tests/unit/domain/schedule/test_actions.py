# SPDX-License-Identifier: Apache-2.0
"""What schedules verify, how their requests change, and how runs with jobs end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.backup.proofs import Rung
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.actions import Action, Verifying
from magnetodb_backup.domain.schedule.outcome import problem_of, remark_of, status_of
from magnetodb_backup.domain.schedule.records import RunStatus, ScheduleRequest
from magnetodb_backup.domain.schedule.timetable import Timetable
from magnetodb_backup.errors import InvalidValue
from tests.lab.schedules import BODY
from tests.unit.domain.samples import BACKUP_ID, JOB


def request(**fields: Any) -> ScheduleRequest:
    return ScheduleRequest.from_json({**BODY, **fields})


@pytest.mark.parametrize(
    ("verifying", "rungs"),
    [
        (Verifying(), (Rung.EXISTS,)),
        (Verifying(("schema", "parse")), (Rung.EXISTS, Rung.PARSE, Rung.SCHEMA)),
        (Verifying(sample=5), (Rung.READ_DATA,)),
        (Verifying(each_in=7), (Rung.READ_DATA,)),
        (Verifying(("parse",), sample=5), (Rung.EXISTS, Rung.PARSE)),
    ],
)
def test_rungs(verifying: Verifying, rungs: tuple[Rung, ...]) -> None:
    assert verifying.wanted == rungs
    assert Verifying.from_json({**verifying.as_json(), "of_a_newer_version": 1}) == verifying


def test_a_request_without_new_fields_is_one_for_backups() -> None:
    made = request()
    assert (made.action, made.verify, made.retention) == (Action.BACKUP, None, None)


def test_changes_of_what_is_verified() -> None:
    made = request(verify=["read-data"], sample=5.0)
    assert made.verify == Verifying(("read-data",), 5.0)
    assert made.changed({"jitter": 5}).verify == made.verify
    assert made.changed({"verify": ["parse"]}).verify == Verifying(("parse",), 5.0)
    assert made.changed({"each_in": 7}).verify == Verifying(("read-data",), None, 7)
    both = replace(made, verify=Verifying(("read-data",), 5.0, 7))  # each_in sets the sample
    assert both.changed({"sample": 2.0}).verify == Verifying(("read-data",), 2.0)
    assert made.changed({"sample": None}).verify == Verifying(("read-data",))
    assert made.changed({"verify": []}).verify is None
    with pytest.raises(InvalidValue, match="sample and each_in exclude each other"):
        made.changed({"sample": 5.0, "each_in": 7})


def test_changes_of_the_own_policy() -> None:
    made = request(retention={"daily": 7})
    assert made.retention == Policy(daily=7)
    assert made.changed({"jitter": 5}).retention == Policy(daily=7)
    assert made.changed({"retention": {"weekly": 2}}).retention == Policy(weekly=2)
    assert made.changed({"retention": None}).retention is None


@pytest.mark.parametrize(
    ("cron", "days", "fewest"),
    [
        ("0 2 * * *", 30, 30),
        ("0 2,14 * * *", 1, 2),
        ("0 2 1 * *", 30, 0),  # some months are longer
        ("0 2 1 * *", 31, 1),
        ("30 * * * *", 30, 720),
        ("* * * * *", 30, 43_200),
        ("0 2 * * MON-FRI", 7, 5),
        ("0 2 * * MON-FRI", 2, 0),
        ("0 0 29 2 *", 366, 0),
    ],
)
def test_fewest_runs_of_some_days(cron: str, days: int, fewest: int) -> None:
    assert Timetable(cron, "Europe/Berlin").fewest(days) == fewest


def test_problems_of_jobs() -> None:
    done = replace(JOB, status=JobStatus.DONE, result={"problem_count": 0})
    assert (problem_of(done), remark_of(done)) == ("", "")
    assert problem_of(replace(done, result={"problem_count": 3})) == (
        f"the verification of backup {BACKUP_ID} found 3 problems, see backup show {BACKUP_ID}"
    )
    failed = replace(JOB, status=JobStatus.FAILED, error="no worker")
    assert problem_of(failed) == f"the verification of backup {BACKUP_ID} is FAILED: no worker"
    expiry = replace(
        done, kind=JobKind.RETENTION, subject=Subject.cluster("c"), result={"left": [{}, {}]}
    )
    assert problem_of(expiry) == ""
    assert remark_of(expiry).startswith("2 deletions were refused")


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ([(JobStatus.DONE, "")], RunStatus.DONE),
        ([(JobStatus.DONE, ""), (JobStatus.DONE, "3 problems")], RunStatus.FAILED),
        ([(JobStatus.CANCELLED, "is CANCELLED"), (JobStatus.DONE, "")], RunStatus.CANCELLED),
        ([(JobStatus.CANCELLED, "x"), (JobStatus.FAILED, "x")], RunStatus.FAILED),
    ],
)
def test_the_end_of_a_run(ends: list[tuple[JobStatus, str]], status: RunStatus) -> None:
    assert status_of(ends) is status

# SPDX-License-Identifier: Apache-2.0
"""The rules of requests for schedules of other actions than backups, and for their options."""

from __future__ import annotations

from typing import Any

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.actions import Action, Verifying
from magnetodb_backup.domain.schedule.records import ScheduleRequest
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.requests.service import RecordedRequests
from tests.lab.catalogue import recorded
from tests.lab.schedules import BODY, CLUSTER

ALL = {"scope": {"type": "all"}}


@pytest.fixture
def requests(database: Database) -> RecordedRequests:
    return RecordedRequests(database, load_scope, lambda: None, known_within=60, prefix="p")


def wanted(action: str = "verify", **fields: Any) -> ScheduleRequest:
    return ScheduleRequest.from_json({"name": "n", "cron": "0 2 * * *", "action": action, **fields})


@pytest.mark.parametrize("action", list(Action))
def test_a_schedule_of_each_action(
    requests: RecordedRequests, database: Database, action: Action
) -> None:
    fields = ALL if action is Action.BACKUP else {}
    made = requests.create_schedule(wanted(action.value, **fields))
    assert (made.action, made.cluster) == (action, CLUSTER)
    assert database.schedules.get(made.id) == made
    changed = requests.change_schedule(made.id, {"cron": "0 3 * * *"})
    assert (changed.action, changed.timing.cron) == (action, "0 3 * * *")


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("backup", {}, "a schedule of backups needs a scope"),
    ("collect", ALL, "^scope cannot be used for a schedule whose action is collect; leave it out"),
    ("verify", {"allow_partial": True, "figures": True}, "^allow_partial, figures cannot be used"),
    ("expire", {"retention": {"daily": 7}}, "^retention cannot be used .* action is expire"),
    ("collect", {"verify": ["exists"]}, "^verify cannot be used .* action is collect"),
    ("expire", {"sample": 5.0}, "^sample cannot be used .* action is expire"),
    ("collect", {"each_in": 30}, "^each_in cannot be used .* action is collect"),
    ("backup", {**ALL, "each_in": 30}, "each_in is only for schedules whose action is verify"),
    ("backup", {**ALL, "retention": {"floor": 2}}, "the policy keeps nothing"),
    ("backup", {**ALL, "retention": {"daily": -1}}, "daily is -1; use 0 to 10000"),
    ("backup", {**ALL, "verify": ["exists"], "sample": 5.0}, "a sample is only for reading data"),
    ("verify", {"verify": ["all"]}, "'all' is not a rung; use one of exists, read-data"),
    ("verify", {"sample": 0.001}, "a sample of 0.001 % is not possible"),
    ("verify", {"verify": ["parse"], "each_in": 30}, "a sample is only for reading data"),
    ("verify", {"each_in": 0}, "each_in is 0 days; use 1 to 366"),
    ("verify", {"each_in": 367}, "each_in is 367 days; use 1 to 366"),
    ("verify", {"cron": "0 2 * * SUN", "each_in": 6}, "each_in is 6 days, but cron .* use more"),
]


@pytest.mark.parametrize(("action", "fields", "message"), WRONG)
def test_wrong_combinations(
    requests: RecordedRequests, database: Database, action: str, fields: dict[str, Any],
    message: str,
) -> None:  # fmt: skip
    with pytest.raises(InvalidValue, match=message):
        requests.create_schedule(wanted(action, **fields))
    assert database.schedules.list() == ()
    if "scope" in fields:  # the change of another schedule is refused alike
        made = requests.create_schedule(ScheduleRequest.from_json(BODY))
        if action == "backup":
            with pytest.raises(InvalidValue, match=message):
                requests.change_schedule(made.id, fields)


def test_a_cluster_without_workers(requests: RecordedRequests) -> None:
    with pytest.raises(NotFound, match="no worker reports a cluster 'other'"):
        requests.create_schedule(wanted(cluster="other"))


@pytest.mark.parametrize(
    ("cron", "days", "sample"),
    [
        ("0 2 * * *", 30, 3.34),
        ("0 * * * *", 30, 0.14),
        ("* * * * *", 366, 0.01),
        ("0 2 * * SUN", 14, 50.0),
        ("0 2 * * SUN", 7, None),  # each run reads all
    ],
)
def test_the_samples_of_so_many_days_are_all_data(
    requests: RecordedRequests, cron: str, days: int, sample: float | None
) -> None:
    made = requests.create_schedule(wanted(cron=cron, each_in=days))
    assert made.verify == Verifying((), sample, days)
    twice = requests.change_schedule(made.id, {"cron": "0 2,14 * * *"})
    assert twice.verify is not None
    assert twice.verify.sample == pytest.approx(max(0.01, 100 / (2 * days)), abs=0.01)


def test_the_end_of_a_policy_and_of_a_verification(requests: RecordedRequests) -> None:
    made = requests.create_schedule(
        wanted("backup", **ALL, retention={"daily": 7}, verify=["parse"])
    )
    assert (made.retention, made.verify) == (Policy(daily=7), Verifying(("parse",)))
    changed = requests.change_schedule(made.id, {"retention": None, "verify": []})
    assert (changed.retention, changed.verify) == (None, None)


def test_a_policy_of_a_schedule_is_enough_to_apply_retention(
    requests: RecordedRequests, database: Database
) -> None:
    with pytest.raises(NotFound, match="no cluster with a retention policy"):
        requests.apply_retention(None)
    requests.create_schedule(wanted("backup", **ALL, retention={"daily": 7}))
    plan = requests.plan_retention(None)
    assert (plan.cluster, plan.policy, [own.name for own in plan.schedules]) == (
        CLUSTER, None, ["n"],
    )  # fmt: skip
    assert requests.apply_retention(CLUSTER).cluster == CLUSTER
    with pytest.raises(NotFound, match="no cluster with a retention policy"):
        requests.clear_retention(None)


def test_runs_of_users(requests: RecordedRequests, database: Database) -> None:
    verify = requests.create_schedule(wanted())
    with pytest.raises(Conflict, match="cannot run: cluster 'Test Cluster' has no CREATED backup"):
        requests.run_schedule(verify.id)
    backup = recorded(database, CLUSTER, BackupStatus.CREATED)
    run = requests.run_schedule(verify.id)
    (job,) = run.jobs
    assert database.jobs.get(job).backup_id == backup.id
    with pytest.raises(Conflict, match=f"cannot run: job {job} of the cluster is not finished"):
        requests.run_schedule(verify.id)

# SPDX-License-Identifier: Apache-2.0
"""schedule create, set, show, list and run for other actions, policies and verifications."""

from __future__ import annotations

import argparse

import pytest

from magnetodb_backup.cli.policy_words import policy_from_words, words_of
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.retention.views import schedule_policy_view
from tests.lab.schedules import runs_of
from tests.unit.cli.conftest import CLUSTER, Shell, table
from tests.unit.cli.test_schedule import NIGHTLY, as_json

SCRUB = ("schedule", "create", "scrub", "--action", "verify", "--cron", "0 3 * * *")


def test_a_schedule_of_verifications(shell: Shell) -> None:
    record = as_json(shell, *SCRUB, "--sample", "5%")
    assert (record["action"], record["verify"], record["sample"]) == ("verify", ["read-data"], 5.0)
    shown = table(shell("schedule", "show", "scrub").out)
    assert (shown["action"], shown["verifies"]) == ("verify", "read-data; 5 % of the packs")
    assert "scope" not in shown
    changed = as_json(shell, "schedule", "set", "scrub", "--each-in", "30", "--verify", "read-data")
    assert (changed["sample"], changed["each_in"]) == (3.34, 30)
    shown = table(shell("schedule", "show", "scrub").out)
    assert shown["verifies"] == "read-data; 3.34 % of the packs; each in 30 days"
    whole = as_json(shell, "schedule", "set", "scrub", "--no-sample")
    assert (whole["verify"], whole["sample"], whole["each_in"]) == (["read-data"], None, None)
    as_json(shell, "schedule", "set", "scrub", "--no-verify")
    assert table(shell("schedule", "show", "scrub").out)["verifies"] == "exists"


@pytest.mark.parametrize("action", ["collect", "expire"])
def test_schedules_of_jobs_about_the_cluster(shell: Shell, action: str) -> None:
    shell.database.retention.put(CLUSTER, Policy(daily=7))
    record = as_json(shell, "schedule", "create", action, "--action", action, "--cron", "0 5 * * *")
    assert record["action"] == action
    outcome = shell("schedule", "run", action, "-f", "json")
    (job,) = outcome.json["jobs"]
    schedule = shell.database.schedules.find(action)
    assert "RUNNING now, job " + job in table(shell("schedule", "show", action).out)["last runs"]
    assert f"job {job} of the cluster is not finished" in shell.refused(
        5, "schedule", "run", action
    )
    ended = shell.database.jobs.finish(job, JobStatus.FAILED, error="no worker")
    shown = table(shell("schedule", "show", action).out)["last runs"]
    assert f"FAILED at {ended.updated_at:%Y-%m-%d %H:%M:%S} UTC, job {job}" in shown
    (row,) = shell("schedule", "list", "-f", "json").json
    assert (row["action"], row["last_run_status"]) == (action, "FAILED")
    assert (
        row["last_run_end"]
        == shell("schedule", "show", action, "-f", "json").json["last_run"]["finished_at"]
    )
    assert runs_of(shell.database, schedule)[0].finished_at == ended.updated_at


def test_wrong_combinations(shell: Shell) -> None:
    collect = (*SCRUB[:3], "--action", "collect", *SCRUB[5:])
    assert "scope cannot be used" in shell.refused(2, *collect, "--all-keyspaces")
    assert "needs a scope" in shell.refused(2, *SCRUB[:3], *SCRUB[5:])
    assert shell(*SCRUB, "--sample", "5%", "--each-in", "7").code == 2
    assert "'hourly=2' is not a rule" in shell(*NIGHTLY, "--retention", "hourly=2").err
    assert shell.database.schedules.list() == ()


def test_the_policy_of_a_schedule(shell: Shell) -> None:
    record = as_json(
        shell, *NIGHTLY, "--retention", "redundancy=3,window=7,time-zone=Asia/Tokyo",
        "--verify", "parse", "--verify", "schema",
    )  # fmt: skip
    assert record["retention"]["window_days"] == 7
    shown = table(shell("schedule", "show", "nightly").out)
    assert shown["retention"] == "redundancy=3,window=7,time-zone=Asia/Tokyo"
    assert shown["verifies"] == "exists, parse, schema"
    assert table(shell("retention", "show").out)["schedules"].startswith("nightly: redundancy=3,")
    policies = shell.database.retention.schedules(CLUSTER)
    assert shell("retention", "show", "-f", "json").json == {
        "cluster": CLUSTER, "schedules": [schedule_policy_view(own) for own in policies],
    }  # fmt: skip
    shell.backup(BackupStatus.CREATED)
    (row,) = shell("retention", "apply", "--dry-run", "-f", "json").json
    assert (row["schedule"], row["kept"]) == ("", True)
    changed = as_json(shell, "schedule", "set", "nightly", "--no-retention", "--no-verify")
    assert (changed["retention"], changed["verify"]) == (None, [])


@pytest.mark.parametrize("policy", [Policy(daily=7), Policy(1, 2, 3, 4, 5, 6, 7, 8, "Asia/Tokyo")])
def test_a_policy_in_words(policy: Policy) -> None:
    assert Policy(**policy_from_words(words_of(policy))) == policy


@pytest.mark.parametrize("text", ["", "daily", "daily=x", "hourly=1", "daily=1,daily=2"])
def test_wrong_words(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        policy_from_words(text)

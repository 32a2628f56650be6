# SPDX-License-Identifier: Apache-2.0
"""retention show, set, clear, apply; backup keep, unkeep; and deletions that lose something."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, Subject
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.retention.views import decision_view, policy_view
from tests.lab.processes import wait_for
from tests.unit.cli.conftest import CLUSTER, Meanwhile, Shell, table
from tests.unit.domain.samples import BACKUP, REPORT

S = BackupStatus


def learned(shell: Shell, days: float, **values: Any) -> str:
    end = datetime.now(timezone.utc) - timedelta(days=days)
    fields = {"id": str(uuid.uuid4()), "name": f"day-{days}", "cluster": CLUSTER, **values}
    backup = replace(BACKUP, created_at=end, updated_at=end, finished_at=end, **fields)
    assert shell.database.backups.learn(backup, [])
    return backup.id


def policy_of(shell: Shell, cluster: str = CLUSTER) -> Policy:
    return shell.database.retention.get(cluster).policy


def job_of(shell: Shell) -> Job | None:
    return shell.database.jobs.latest(Subject.cluster(CLUSTER), JobKind.RETENTION)


def test_setting_changes_what_is_given(shell: Shell) -> None:
    outcome = shell("retention", "set", "--redundancy", "3", "--time-zone", "Asia/Tokyo")
    assert outcome.code == 0, outcome.err
    assert policy_of(shell) == Policy(redundancy=3, time_zone="Asia/Tokyo")
    options = "--window 7 --daily 6 --weekly 5 --monthly 4 --yearly 2 --floor 3 --failed-days 1"
    outcome = shell("retention", "set", *options.split(), "--cluster", CLUSTER, "-f", "json")
    expected = Policy(3, 7, 6, 5, 4, 2, floor=3, failed_days=1, time_zone="Asia/Tokyo")
    assert policy_of(shell) == expected
    assert outcome.json == policy_view(shell.database.retention.get(CLUSTER))
    shell("retention", "set", "--redundancy", "0")
    assert policy_of(shell) == replace(expected, redundancy=0)


def test_wrong_values(shell: Shell) -> None:
    shell.database.nodes.forget(REPORT.worker_id)
    assert "no cluster with a worker or a backup" in shell.refused(
        4, "retention", "set", "--daily", "7"
    )
    shell.database.nodes.report(REPORT)
    assert "the policy keeps nothing" in shell.refused(2, "retention", "set", "--floor", "2")
    assert "no time zone 'CET/Nowhere'" in shell.refused(
        2, "retention", "set", "--daily", "7", "--time-zone", "CET/Nowhere"
    )
    assert shell("retention", "set", "--daily", "often").code == 2
    assert shell.database.retention.list() == ()


def test_show_and_clear(shell: Shell) -> None:
    for command in ("show", "clear", "apply"):
        message = shell.refused(4, "retention", command)
        assert message.startswith("there is no cluster with a retention policy, see retention set")
    made = shell.database.retention.put(CLUSTER, Policy(daily=7))
    assert table(shell("retention", "show").out)["daily"] == "7"
    assert shell("retention", "show", "-f", "json").json == {**policy_view(made), "schedules": []}
    shell.database.retention.put("other", Policy(daily=1))
    assert "name one: 'Test Cluster', 'other'" in shell.refused(2, "retention", "show")
    assert shell("retention", "clear", "--cluster", CLUSTER, "-f", "json").json["daily"] == 7
    assert [r.cluster for r in shell.database.retention.list()] == ["other"]


def test_a_dry_run_names_what_goes_and_what_stays_and_why(shell: Shell) -> None:
    shell.database.retention.put(CLUSTER, Policy(redundancy=1, daily=2))
    old, middle, new = learned(shell, 9), learned(shell, 3), learned(shell, 1)
    outcome = shell("retention", "apply", "--dry-run", "--no-wait", "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    rows = {row["backup_id"]: row for row in outcome.json}
    decisions = shell.database.retention.plan(CLUSTER).decisions
    assert outcome.json == [decision_view(decision) for decision in decisions]
    assert {id_: row["kept"] for id_, row in rows.items()} == {new: True, middle: True, old: False}
    assert rows[old]["reasons"] == ["no rule of the policy keeps it"]
    assert rows[new]["reasons"][0] == "redundancy: one of the last 1"
    assert rows[new]["scope"] == "all keyspaces"
    assert shell("retention", "apply", "--dry-run", "--no-wait").out.count("expires") == 1
    assert shell.database.jobs.unfinished() == ()
    assert job_of(shell) is None
    assert shell.woken == 0


def _surveyed(shell: Shell, meanwhile: Meanwhile, status: JobStatus, **values: Any) -> None:
    def conduct() -> None:
        wait_for(shell.database.jobs.unfinished, deadline=30, what="a job", interval=0.02)
        (job,) = shell.database.jobs.unfinished()
        assert job.kind == JobKind.SURVEY
        shell.database.jobs.finish(job.id, status, **values)

    meanwhile(conduct)


def test_a_dry_run_counts_the_bytes_that_go(shell: Shell, meanwhile: Meanwhile) -> None:
    shell.database.nodes.report(replace(REPORT, cluster=CLUSTER))
    shell.database.retention.put(CLUSTER, Policy(redundancy=1))
    expiring = [learned(shell, days) for days in (9, 3)]
    learned(shell, 1)
    found = {"backups": {min(expiring): 10_400_000}, "nodes": {"n": {"error": ""}}}
    _surveyed(shell, meanwhile, JobStatus.DONE, result=found)
    outcome = shell("retention", "apply", "--dry-run", "-f", "json")
    assert (outcome.code, len(outcome.json)) == (0, 3)
    assert "2 deletions would free 10.4 MB, once the undelete period is over" in outcome.err
    _surveyed(shell, meanwhile, JobStatus.DONE, result={**found, "nodes": {"n": {"error": "x"}}})
    uncounted = shell("retention", "apply", "--dry-run").err
    assert "warning: the bytes that this frees are not counted: node n: x" in uncounted
    _surveyed(shell, meanwhile, JobStatus.FAILED, error="no worker")
    uncounted = shell("retention", "apply", "--dry-run").err
    assert "warning: the bytes that this frees are not counted: no worker" in uncounted


def test_applying_records_a_job(shell: Shell) -> None:
    shell.database.retention.put(CLUSTER, Policy(redundancy=1))
    old, new = learned(shell, 2), learned(shell, 1)
    outcome = shell("retention", "apply", "-f", "json")
    job = job_of(shell)
    assert job is not None
    assert (outcome.code, outcome.err) == (0, f"job {job.id} records the deletions\n")
    assert {row["backup_id"]: row["kept"] for row in outcome.json} == {old: False, new: True}
    assert shell.woken == 1
    assert "a retention of cluster" in shell.refused(5, "retention", "apply")


def test_waiting_for_the_job(shell: Shell, meanwhile: Meanwhile) -> None:
    shell.database.retention.put(CLUSTER, Policy(redundancy=1))
    ends: list[tuple[JobStatus, dict[str, Any], int, str]] = [
        (JobStatus.DONE, {"deleted": ["a"], "left": [], "later": 0}, 0, "1 deletion recorded\n"),
        (
            JobStatus.DONE,
            {"deleted": [], "left": [{"backup_id": "x", "why": "it is read"}], "later": 2},
            3,
            "warning: backup x is left: it is read\n"
            "warning: 2 more backups expired; repeat retention apply\n"
            "0 deletions recorded\n",
        ),
        (JobStatus.FAILED, {}, 1, "error: the retention job is FAILED: no policy\n"),
    ]
    for status, result, code, told in ends:

        def conduct(status: JobStatus = status, result: dict[str, Any] = result) -> None:
            wait_for(shell.database.jobs.unfinished, deadline=30, what="a job", interval=0.02)
            (job,) = shell.database.jobs.unfinished()
            shell.database.jobs.finish(job.id, status, result=result, error="no policy")

        meanwhile(conduct)
        outcome = shell("retention", "apply", "--wait")
        assert (outcome.code, outcome.err) == (code, told)


def test_keep_and_unkeep(shell: Shell) -> None:
    backup = shell.backup(S.CREATED, "nightly")
    outcome = shell("backup", "keep", "nightly", "--reason", "audit 2026", "-f", "json")
    assert outcome.json == backup_view(shell.database.backups.get(backup.id))
    assert outcome.json["kept_reason"] == "audit 2026"
    assert table(shell("backup", "show", "nightly").out)["kept"] == "for ever: audit 2026"
    assert "is to be kept: audit 2026" in shell.refused(5, "backup", "delete", "nightly")
    assert "the reason is empty" in shell.refused(2, "backup", "keep", "nightly", "--reason", "")
    assert shell("backup", "keep", "nightly").code == 2
    assert "kept" not in table(shell("backup", "unkeep", "nightly").out)
    assert shell.database.backups.get(backup.id).kept_at is None
    failed = shell.backup(S.CREATE_FAILED)
    message = shell.refused(5, "backup", "keep", failed.id, "--reason", "audit")
    assert "is CREATE_FAILED; only CREATED and PARTIAL" in message


def test_a_deletion_that_loses_something_needs_a_word(shell: Shell) -> None:
    shell.database.retention.put(CLUSTER, Policy(window_days=7))
    backup_id = learned(shell, 1)
    message = shell.refused(5, "backup", "delete", backup_id)
    assert "of all keyspaces could be restored to no state (window)" in message
    assert "--allow-loss" in message
    assert shell.database.backups.get(backup_id).status is S.CREATED
    outcome = shell("backup", "delete", backup_id, "--allow-loss", "-f", "json")
    assert (outcome.code, outcome.json["status"]) == (0, "DELETING")

# SPDX-License-Identifier: Apache-2.0
"""backup cancel, backup delete, backup verify: what they ask for and how waiting ends."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from magnetodb_backup.cli.verification import running_lines
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view, job_view
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, Subject
from magnetodb_backup.repository.findings import Problem, VerificationReport
from tests.lab.catalogue import MISSING
from tests.lab.deployment import Outcome
from tests.lab.processes import wait_for
from tests.unit.cli.conftest import Meanwhile, Shell

S = BackupStatus


def view_of(shell: Shell, backup_id: str) -> object:
    return backup_view(shell.database.backups.get(backup_id))


def wait_for_job(shell: Shell, backup_id: str, kind: str) -> Job:
    found = wait_for(
        lambda: shell.database.jobs.latest(Subject.backup(backup_id), kind),
        deadline=30,
        what=f"a {kind}",
    )
    assert found is not None
    return found


@pytest.mark.parametrize("command", ["cancel", "delete", "verify", "files"])
def test_missing_backup_is_named(shell: Shell, command: str) -> None:
    assert f"no backup {MISSING!r}" in shell.refused(4, "backup", command, MISSING)
    shell.backup(S.CREATED)  # without a name: an empty argument must not mean it
    assert "no backup ''" in shell.refused(4, "backup", command, "")


def test_cancel_is_asked_for(shell: Shell) -> None:
    backup = shell.backup(name="nightly")
    outcome = shell("backup", "cancel", "nightly", "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json == view_of(shell, backup.id)
    assert shell.job(backup.id).cancel_requested
    assert shell.woken == 1


def test_only_what_runs_can_be_cancelled(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    message = shell.refused(5, "backup", "cancel", backup.id)
    assert message.startswith(f"backup {backup.id} is CREATED; only")


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        (S.CANCELLED, 0, ""),
        (S.CREATED, 1, "error: the backup is CREATED, not CANCELLED\n"),
        (S.CREATE_FAILED, 1, "error: the backup is CREATE_FAILED, not CANCELLED: no space\n"),
    ],
)
def test_waiting_for_a_cancellation(
    shell: Shell, meanwhile: Meanwhile, end: BackupStatus, code: int, told: str
) -> None:
    backup = shell.backup()

    def conduct() -> None:
        wait_for(lambda: shell.job(backup.id).cancel_requested, deadline=30, what="a cancellation")
        error = "no space" if end is S.CREATE_FAILED else ""
        shell.database.backups.set_status(backup.id, end, error=error)

    meanwhile(conduct)
    outcome = shell("backup", "cancel", backup.id, "--wait", "-f", "json")
    assert (outcome.code, outcome.err) == (code, told)
    assert outcome.json["status"] == end.value


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        (JobStatus.CANCELLED, 0, ""),
        (JobStatus.DONE, 1, "error: the verification is DONE, not CANCELLED\n"),
    ],
)
def test_cancelling_a_verification(
    shell: Shell, meanwhile: Meanwhile, end: JobStatus, code: int, told: str
) -> None:
    backup = shell.backup(S.CREATED)
    assert shell("backup", "verify", backup.id, "--parse", "--no-wait").code == 0
    job = shell.job(backup.id, JobKind.VERIFICATION)

    def conduct() -> None:
        wait_for(
            lambda: shell.database.jobs.get(job.id).cancel_requested,
            deadline=30,
            what="a cancellation",
        )
        shell.database.jobs.finish(job.id, end)

    meanwhile(conduct)
    outcome = shell("backup", "cancel", backup.id, "--wait", "-f", "json")
    assert (outcome.code, outcome.err) == (code, told)
    assert outcome.json["status"] == "CREATED"


def test_deletion_is_asked_for(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    outcome = shell("backup", "delete", backup.id, "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json == view_of(shell, backup.id)
    assert outcome.json["status"] == "DELETING"
    assert shell.job(backup.id, JobKind.DELETION).status is JobStatus.PENDING
    assert "a deletion of backup" in shell.refused(5, "backup", "delete", backup.id)


def test_waiting_for_the_deletion_of_what_runs(shell: Shell, meanwhile: Meanwhile) -> None:
    """It is CANCELLED for a while, which is not the end that was asked for."""
    backup, database = shell.backup(), shell.database

    def conduct() -> None:
        deletion = wait_for_job(shell, backup.id, JobKind.DELETION)
        database.backups.set_status(backup.id, S.CANCELLED)
        shell.wait_told("no conductor is running")  # so the command has looked at this state
        for status in (S.DELETING, S.DELETED):
            database.backups.set_status(backup.id, status)
        database.jobs.finish(deletion.id, JobStatus.DONE)

    meanwhile(conduct, seen=False)
    outcome = shell("backup", "delete", backup.id, "--wait", "-f", "json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["status"] == "DELETED"
    assert "error" not in outcome.err


def test_deletion_that_fails(shell: Shell, meanwhile: Meanwhile) -> None:
    backup, database = shell.backup(S.CREATED), shell.database

    def conduct() -> None:
        deletion = wait_for_job(shell, backup.id, JobKind.DELETION)
        database.backups.set_status(backup.id, S.DELETE_FAILED, error="no access")
        database.jobs.finish(deletion.id, JobStatus.FAILED, error="no access")

    meanwhile(conduct)
    outcome = shell("backup", "delete", backup.id, "--wait", "-f", "json")
    assert outcome.code == 1
    assert outcome.err == "error: the backup is DELETE_FAILED, not DELETED: no access\n"
    assert outcome.json["status"] == "DELETE_FAILED"


PROBLEM = Problem("host-1", "missing", "ab" * 32, "the pack is not there", ("k/t/x-Data.db",), 3)


def report(backup_id: str, *problems: Problem) -> VerificationReport:
    return VerificationReport(backup_id, True, files=9, bytes=90, packs=2, bytes_read=90,
                              problems=problems)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "rungs"),
    [
        ([], ["exists"]),
        (["--exists"], ["exists"]),
        (["--read-data"], ["read-data"]),
        (["--parse", "--schema", "--exists"], ["exists", "parse", "schema"]),
        (["--schema", "--read-data", "--parse"], ["read-data", "parse", "schema"]),
    ],
)
def test_verification_is_asked_for(shell: Shell, options: list[str], rungs: list[str]) -> None:
    backup = shell.backup(S.PARTIAL)
    outcome = shell("backup", "verify", backup.id, "--no-wait", "-f", "json", *options)
    assert (outcome.code, outcome.err) == (0, "")
    view = job_view(shell.job(backup.id, JobKind.VERIFICATION))
    assert view["parameters"] == {"read_data": "read-data" in rungs, "rungs": rungs}
    assert outcome.json == {name: view[name] for name in view if name != "result"}


@pytest.mark.parametrize("text", ["5", "5%", "5.0%"])
def test_a_sample_is_asked_for(shell: Shell, text: str) -> None:
    options = ("--read-data", "--sample", text, "--seed", "9", "--no-wait")
    backup = shell.backup(S.CREATED)
    assert shell("backup", "verify", backup.id, *options).code == 0
    sample = shell.job(backup.id, JobKind.VERIFICATION).parameters["sample"]
    assert (sample["percent"], sample["seed"]) == (5.0, 9)


def test_wrong_samples_are_refused(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    verify = ("backup", "verify", backup.id)
    assert "say --read-data too" in shell.refused(2, *verify, "--sample", "5%")
    assert "150 % is not possible" in shell.refused(2, *verify, "--read-data", "--sample", "150%")
    outcome = shell(*verify, "--read-data", "--sample", "half")
    assert outcome.code == 2
    assert "'half' is not a percentage" in outcome.err


def test_a_sample_that_was_read_is_what_was_asked_for(shell: Shell, meanwhile: Meanwhile) -> None:
    backup = shell.backup(S.CREATED)

    def conduct() -> None:
        job = wait_for_job(shell, backup.id, JobKind.VERIFICATION)
        result = asdict(report(backup.id)) | {"rungs": ["sample"], "read_data": False}
        shell.database.jobs.finish(job.id, JobStatus.DONE, result=result)

    meanwhile(conduct)
    outcome = shell("backup", "verify", backup.id, "--read-data", "--sample", "5%", "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json["rungs"] == ["sample"]


def test_the_nodes_of_a_running_verification_are_shown(shell: Shell, meanwhile: Meanwhile) -> None:
    backup = shell.backup(S.CREATED)
    nodes = [
        {"host_id": f"h{n}", "address": f"10.0.0.{n}", "files_total": 9, "files_done": 3 * n,
         "bytes_total": 9000, "bytes_done": 3000 * n, "done": n == 3}
        for n in (1, 2, 3)
    ]  # fmt: skip
    progress = {"step": "store", "nodes_total": 3, "nodes_done": 1, "nodes": nodes}

    def conduct() -> None:
        job = wait_for_job(shell, backup.id, JobKind.VERIFICATION)
        shell.database.jobs.show_progress(job.id, progress)
        shell.wait_told("10.0.0.2: 6 of 9 files, 6.0 kB of 9.0 kB, verified")
        shown = shell.database.jobs.get(job.id)
        lines = list(running_lines(shown))
        assert lines[0] == "PENDING, step store, 1 of 3 nodes done"
        assert "10.0.0.1: 3.0 kB of 9.0 kB" in lines
        assert "10.0.0.3: done, 9.0 kB of 9.0 kB" in lines
        shell.database.jobs.finish(job.id, JobStatus.DONE, result=asdict(report(backup.id)))

    meanwhile(conduct)
    assert shell("backup", "verify", backup.id, "--read-data", "-f", "json").code == 0
    assert list(running_lines(shell.job(backup.id, JobKind.VERIFICATION))) == []


@pytest.mark.parametrize("problems", [(), (PROBLEM,)])
def test_verification_is_waited_for(
    shell: Shell, meanwhile: Meanwhile, problems: tuple[Problem, ...]
) -> None:
    backup = shell.backup(S.CREATED)

    def conduct() -> None:
        job = wait_for_job(shell, backup.id, JobKind.VERIFICATION)
        result = asdict(report(backup.id, *problems))
        shell.database.jobs.finish(job.id, JobStatus.DONE, result=result)

    meanwhile(conduct)
    outcome = shell("backup", "verify", backup.id, "-f", "json")
    assert outcome.json["status"] == "DONE"
    assert (outcome.json["files"], outcome.json["bytes_read"]) == (9, 90)
    assert len(outcome.json["problems"]) == len(problems)
    if not problems:
        assert (outcome.code, outcome.err) == (0, "")
        return
    assert outcome.code == 1
    named, remedy = outcome.err.splitlines()
    assert named == f"error: node host-1: missing {'ab' * 32}: the pack is not there; 3 files"
    assert remedy.startswith("error: make a new backup")


def _verified(shell: Shell, meanwhile: Meanwhile, result: dict[str, Any]) -> Outcome:
    """Run ``backup verify --parse --schema`` until a conductor has stored a result."""
    backup = shell.backup(S.CREATED)

    def conduct() -> None:
        job = wait_for_job(shell, backup.id, JobKind.VERIFICATION)
        shell.database.jobs.show_progress(job.id, {"step": "parse", "files_total": 9})
        shell.database.jobs.finish(job.id, JobStatus.DONE, result=result)

    meanwhile(conduct)
    return shell("backup", "verify", backup.id, "--parse", "--schema", "-f", "json")


def test_each_kind_of_problem_has_its_remedy(shell: Shell, meanwhile: Meanwhile) -> None:
    problems = (
        Problem("host-1", "sstable", "", "k.t nb-1-big-Data.db: EOFException", ("k/t/x",), 1),
        Problem("host-2", "sstable", "", "k.u nb-1-big-Data.db: EOFException", ("k/u/x",), 1),
        Problem("", "statement", "", "index k.i: SASI indexes are disabled"),
        Problem("host-3", "unread", "", "its SSTables were not parsed: no Java"),
    )
    result = asdict(report("b", *problems)) | {"rungs": ["exists", "parse", "schema"]}
    outcome = _verified(shell, meanwhile, result)
    assert outcome.code == 1
    lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert lines[:4] == [
        "error: node host-1: sstable: k.t nb-1-big-Data.db: EOFException; 1 file",
        "error: node host-2: sstable: k.u nb-1-big-Data.db: EOFException; 1 file",
        "error: cluster: statement: index k.i: SASI indexes are disabled",
        "error: node host-3: unread: its SSTables were not parsed: no Java",
    ]
    scrub, setting, repeat = lines[4:]
    assert "nodetool scrub" in scrub
    assert "--skip" in setting
    assert "repeat the verification" in repeat


def test_conductor_of_an_older_release_is_noticed(shell: Shell, meanwhile: Meanwhile) -> None:
    """It ignores the rungs that it does not know."""
    outcome = _verified(shell, meanwhile, asdict(report("b")))
    assert outcome.code == 1
    assert "the conductor did not try parse, schema; install the same release" in outcome.err


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_verification_that_ends_otherwise(
    shell: Shell, meanwhile: Meanwhile, status: JobStatus
) -> None:
    backup = shell.backup(S.CREATED)

    def conduct() -> None:
        job = wait_for_job(shell, backup.id, JobKind.VERIFICATION)
        shell.database.jobs.finish(job.id, status, error="why")

    meanwhile(conduct)
    outcome = shell("backup", "verify", backup.id, "-f", "json")
    assert (outcome.code, outcome.json["status"]) == (1, status.value)
    assert outcome.err == f"error: the verification is {status.value}: why\n"


def test_only_complete_backups_can_be_verified(shell: Shell) -> None:
    backup = shell.backup(S.CREATE_FAILED)
    message = shell.refused(5, "backup", "verify", backup.id)
    assert message.startswith(f"backup {backup.id} is CREATE_FAILED; only CREATED and PARTIAL")

# SPDX-License-Identifier: Apache-2.0
"""backup cancel, backup delete, backup verify: what they ask for and how waiting ends."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view, job_view
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, Subject
from magnetodb_backup.repository.findings import Problem, VerificationReport
from tests.lab.catalogue import MISSING
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


@pytest.mark.parametrize("options", [[], ["--read-data"]])
def test_verification_is_asked_for(shell: Shell, options: list[str]) -> None:
    backup = shell.backup(S.PARTIAL)
    outcome = shell("backup", "verify", backup.id, "--no-wait", "-f", "json", *options)
    assert (outcome.code, outcome.err) == (0, "")
    view = job_view(shell.job(backup.id, JobKind.VERIFICATION))
    assert view["parameters"] == {"read_data": bool(options)}
    assert outcome.json == {name: view[name] for name in view if name != "result"}


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

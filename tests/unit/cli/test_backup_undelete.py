# SPDX-License-Identifier: Apache-2.0
"""backup undelete, and how deleted backups are shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from magnetodb_backup.cli.units import moment
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import time_view
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.domain.restore.records import RestoreStatus
from tests.lab.catalogue import MISSING
from tests.lab.processes import wait_for
from tests.unit.cli.conftest import Meanwhile, Shell, table
from tests.unit.domain.samples import TIME

S = BackupStatus


def deleted(shell: Shell, name: str = "", seconds: float = 1000) -> Backup:
    """Record a deleted backup that can be undeleted for so long."""
    backup = shell.backup(S.DELETING, name)
    now = shell.database.deletions.now()
    until = now + timedelta(seconds=seconds)
    return shell.database.deletions.record(backup.id, now, undelete_until=until)


def test_list_of_deleted_backups_says_until_when(shell: Shell) -> None:
    backup, kept = deleted(shell, "gone"), shell.backup(S.CREATED, "kept")
    (row,) = shell("backup", "list", "--status", "DELETED", "-f", "json").json
    assert (row["id"], row["deleted_at"]) == (backup.id, time_view(backup.deleted_at))
    assert row["undelete_until"] == time_view(backup.undelete_until)
    rows = {r["id"]: r for r in shell("backup", "list", "--all", "-f", "json").json}
    assert (rows[kept.id]["undelete_until"], rows[backup.id]["name"]) == (None, "gone")
    assert "undelete_until" not in shell("backup", "list").out
    assert "undelete_until" in shell("backup", "list", "--status", "DELETED").out


def test_show_says_until_when(shell: Shell) -> None:
    backup = deleted(shell)
    assert backup.undelete_until is not None
    shown = table(shell("backup", "show", backup.id).out)
    assert shown["deleted"] == moment(backup.deleted_at)
    assert shown["undelete"] == f"possible until {moment(backup.undelete_until)}"
    shell.database.deletions.record(backup.id, TIME, purged_at=TIME)
    shown = table(shell("backup", "show", backup.id).out)
    assert shown["undelete"] == f"not possible; purged {moment(TIME)}"
    assert table(shell("backup", "show", shell.backup(S.DELETED).id).out)["undelete"] == (
        "not possible"
    )
    assert "undelete" not in shell("backup", "show", shell.backup(S.CREATED).id).out


def test_undeletion_is_asked_for(shell: Shell) -> None:
    backup = deleted(shell)
    woken = shell.woken
    outcome = shell("backup", "undelete", backup.id[:13], "-f", "json")
    assert (outcome.code, outcome.err, outcome.json["status"]) == (0, "", "DELETED")
    assert shell.job(backup.id, JobKind.UNDELETION).status is JobStatus.PENDING
    assert shell.woken == woken + 1
    assert "an undeletion of backup" in shell.refused(5, "backup", "undelete", backup.id)
    assert "is already DELETED" in shell.refused(5, "backup", "delete", backup.id)


def test_undeletion_is_refused_by_name(shell: Shell) -> None:
    kept, older = shell.backup(S.CREATED, "kept"), shell.backup(S.DELETED)
    message = shell.refused(5, "backup", "undelete", "kept")
    assert message == f"backup {kept.id} is CREATED; only a backup that is DELETED can be undeleted"
    message = shell.refused(5, "backup", "undelete", older.id)
    assert message.startswith(f"backup {older.id} cannot be undeleted: an older release deleted it")
    over = deleted(shell, seconds=0)
    assert "its undelete period ended at" in shell.refused(5, "backup", "undelete", over.id)
    assert MISSING in shell.refused(4, "backup", "undelete", MISSING)


@pytest.mark.parametrize(
    ("status", "code"), [(S.CREATED, 0), (S.PARTIAL, 3)], ids=lambda value: str(value)
)
def test_undeletion_is_waited_for(
    shell: Shell, meanwhile: Meanwhile, status: BackupStatus, code: int
) -> None:
    backup, database = deleted(shell), shell.database

    def conduct() -> None:
        job = wait_for(
            lambda: database.jobs.latest(Subject.backup(backup.id), JobKind.UNDELETION),
            deadline=30,
            what="an undeletion",
        )
        assert job is not None
        database.deletions.undone(backup.id, status, TIME)
        database.jobs.finish(job.id, JobStatus.DONE)

    meanwhile(conduct)
    outcome = shell("backup", "undelete", backup.id, "--wait", "-f", "json")
    assert (outcome.code, outcome.err, outcome.json["status"]) == (code, "", status.value)
    assert outcome.json["deleted_at"] is outcome.json["undelete_until"] is None
    assert outcome.json["finished_at"] == time_view(TIME)


def test_undeletion_that_fails(shell: Shell, meanwhile: Meanwhile) -> None:
    backup, database = deleted(shell), shell.database

    def conduct() -> None:
        job = wait_for(
            lambda: database.jobs.latest(Subject.backup(backup.id), JobKind.UNDELETION),
            deadline=30,
            what="an undeletion",
        )
        assert job is not None
        database.jobs.finish(job.id, JobStatus.FAILED, error="a node manifest is missing")

    meanwhile(conduct)
    outcome = shell("backup", "undelete", backup.id, "--wait", "-f", "json")
    assert outcome.code == 1
    assert outcome.err == "error: the undeletion is FAILED: a node manifest is missing\n"


def test_deletion_of_what_is_read_names_the_reader(shell: Shell) -> None:
    restore = shell.restore()
    message = shell.refused(5, "backup", "delete", restore.backup_id)
    assert f"is read by restore {restore.id}; wait for the end or cancel it" in message
    shell.database.restores.set_status(restore.id, RestoreStatus.CANCELLED)
    assert shell("backup", "verify", restore.backup_id, "--no-wait").code == 0
    job = shell.job(restore.backup_id, JobKind.VERIFICATION)
    message = shell.refused(5, "backup", "delete", restore.backup_id)
    assert f"is read by verification {job.id}; wait for the end or cancel it" in message

# SPDX-License-Identifier: Apache-2.0
"""Waiting: time-outs, outages, interrupts, a missing conductor, a terminal."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus
from magnetodb_backup.domain.restore.records import RestoreStatus
from tests.lab.processes import wait_for
from tests.unit.cli.conftest import Meanwhile, Shell
from tests.unit.domain.samples import REPORT

S = BackupStatus
WAITS = [["create", "--all-keyspaces", "--wait"], ["verify", "nightly"]]


@pytest.mark.parametrize("command", [*WAITS, ["delete", "nightly", "--wait"]])
def test_time_out_ends_only_the_waiting(shell: Shell, command: list[str]) -> None:
    shell.backup(S.CREATED, "nightly")
    shell.database.nodes.conductor_seen("host:1")
    started = time.monotonic()
    message = shell.refused(1, "backup", *command, "--timeout", "0.2")
    assert time.monotonic() - started < 10
    assert message.endswith("is not finished after 0.2 s; it continues")
    (job,) = shell.database.jobs.unfinished()
    assert (job.status, job.cancel_requested) == (JobStatus.PENDING, False)
    assert (job.backup_id if command[0] == "create" else job.id) in message


def test_missing_conductor_is_told_once(shell: Shell) -> None:
    outcome = shell("backup", "create", "--all-keyspaces", "--wait", "--timeout", "1")
    assert outcome.code == 1
    told = "no conductor is running: start magnetodb-backup-conductor; still waiting\n"
    assert outcome.err.count(told) == 1


@pytest.mark.parametrize("command", WAITS)
def test_outage_of_the_database_is_waited_for(
    shell: Shell, meanwhile: Meanwhile, tmp_path: Path, command: list[str]
) -> None:
    backup, database = shell.backup(S.CREATED, "nightly"), shell.database
    path, aside = tmp_path / "catalogue.sqlite", tmp_path / "aside"

    def interrupt() -> None:
        (job,) = wait_for(database.jobs.unfinished, deadline=30, what="a job")
        database.close()
        path.rename(aside)
        path.mkdir()
        shell.wait_told("still waiting")
        path.rmdir()
        aside.rename(path)
        if job.kind == JobKind.BACKUP:
            database.backups.set_status(job.backup_id, S.CREATED)
        database.jobs.finish(job.id, JobStatus.DONE)

    meanwhile(interrupt)
    outcome = shell("backup", *command, "--timeout", "60", "-f", "json")
    assert outcome.code == 0, outcome.err
    assert "the database does not answer" in outcome.err
    assert outcome.json["status"] in ("CREATED", "DONE")
    assert database.backups.get(backup.id).status is S.CREATED


@pytest.mark.parametrize("command", WAITS)
def test_interrupt_ends_only_the_waiting(
    shell: Shell, meanwhile: Meanwhile, command: list[str]
) -> None:
    shell.backup(S.CREATED, "nightly")

    def interrupt() -> None:
        (job,) = wait_for(shell.database.jobs.unfinished, deadline=30, what="a job")
        if job.kind == JobKind.BACKUP:
            shell.database.backups.update(job.backup_id, phase="census")
        shell.wait_told("census" if job.kind == JobKind.BACKUP else "no conductor is running")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    meanwhile(interrupt, seen=False)
    outcome = shell("backup", *command)
    (job,) = shell.database.jobs.unfinished()
    assert (outcome.code, outcome.out) == (1, "")
    last = outcome.err.splitlines()[-1]
    assert last.startswith("error: interrupted; ")
    assert "continues." in last
    if command[0] == "create":
        assert f"backup show {job.backup_id}, or cancel it by backup cancel {job.backup_id}" in last
    assert not job.cancel_requested


def test_lines_are_few(shell: Shell, meanwhile: Meanwhile) -> None:
    """A line per phase, and one per node every few seconds."""
    backup, database = shell.backup(), shell.database

    def conduct() -> None:
        for number in range(3):
            database.backups.update(backup.id, phase=f"phase-{number}")
            for host in ("10.0.0.1", "10.0.0.2"):
                progress = Progress(files_done=number + 1, files_total=3)
                shell.node_backup(backup, host_id=host, address=host, progress=progress)
            shell.wait_told(f"phase-{number}")
        database.backups.set_status(backup.id, S.CANCELLED)

    meanwhile(conduct)
    outcome = shell("backup", "cancel", backup.id, "--wait")
    lines = outcome.err.splitlines()
    phases = [line for line in lines if "phase-" in line]
    assert phases == [f"{backup.id}: phase-{number}" for number in range(3)]
    assert sorted(line.partition(":")[0] for line in lines if "files" in line) == [
        "10.0.0.1",
        "10.0.0.2",
    ]


def test_terminal_shows_a_bar_for_each_node(shell: Shell, meanwhile: Meanwhile) -> None:
    backup, database = shell.backup(), shell.database
    shell.terminal = True

    def conduct() -> None:
        database.backups.update(backup.id, phase="upload")
        for host, phase in (("10.0.0.1", "upload"), ("10.0.0.2", "failed")):
            progress = Progress(bytes_total=100, bytes_done=50)
            shell.node_backup(backup, host_id=host, address=host, phase=phase, progress=progress)
        for text in ("10.0.0.1", "10.0.0.2", "upload", "failed"):
            shell.wait_told(text)
        database.backups.set_status(backup.id, S.CANCELLED)

    meanwhile(conduct)
    outcome = shell("backup", "cancel", backup.id, "--wait", "-f", "json")
    assert outcome.code == 0
    assert "50/100 bytes" in outcome.err
    assert outcome.json["status"] == "CANCELLED"


def test_what_a_backup_waits_for_is_shown_once(shell: Shell, meanwhile: Meanwhile) -> None:
    shell.database.nodes.report(REPORT)

    def wait() -> None:
        (job,) = wait_for(shell.database.jobs.unfinished, deadline=30, what="a job")
        text = "waits for restore 8c7a of this cluster"
        shell.database.jobs.show_waiting(job.id, text)
        shell.wait_told(f"backup {job.subject.id}: {text}")
        shell.database.backups.set_status(job.subject.id, S.CREATED)

    meanwhile(wait)
    outcome = shell("backup", "create", "--all-keyspaces", "--wait", "--timeout", "60")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("waits for restore 8c7a of this cluster") == 1


def test_what_a_restore_waits_for_is_shown_once(shell: Shell, meanwhile: Meanwhile) -> None:
    backup = shell.backup(S.CREATED, "nightly")

    def wait() -> None:
        (job,) = wait_for(shell.database.jobs.unfinished, deadline=30, what="a job")
        text = "waits for backup 8c7a of this cluster"
        shell.database.restores.update(job.subject.id, waiting_for=text)
        shell.wait_told(f"restore {job.subject.id}: {text}")
        shell.database.restores.set_status(job.subject.id, RestoreStatus.RESTORED)

    meanwhile(wait)
    outcome = shell("restore", "create", backup.id, "--wait", "--timeout", "60")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("waits for backup 8c7a of this cluster") == 1

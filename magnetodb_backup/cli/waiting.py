# SPDX-License-Identifier: Apache-2.0
"""Waits for jobs and shows their progress on standard error."""

from __future__ import annotations

import argparse
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from magnetodb_backup.cli.app import FAILED, ExitWith
from magnetodb_backup.cli.progress import (
    Display,
    NodeProgress,
    make_display,
    of_node_backup,
    of_node_restore,
    of_verification,
)
from magnetodb_backup.cli.services import Services
from magnetodb_backup.cli.steps import State, steps_of_backup, steps_of_restore
from magnetodb_backup.cli.verification import steps_of
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobStatus
from magnetodb_backup.domain.restore.records import Restore, RestoreStatus
from magnetodb_backup.errors import DatabaseUnavailable

Result = TypeVar("Result")
_LOOKS_BEFORE_CONDUCTOR = 4  # a job that a conductor takes needs no warning
_CONDUCTOR_SILENT = 15.0
_SHORTEST_PAUSE = 0.1  # seconds; a backup of unchanged files takes less than a second

_ENDS_OF_BACKUP = {
    BackupStatus.CREATED: State.DONE,
    BackupStatus.PARTIAL: State.DONE,
    BackupStatus.DELETED: State.DONE,
    BackupStatus.CREATE_FAILED: State.FAILED,
    BackupStatus.DELETE_FAILED: State.FAILED,
    BackupStatus.CANCELLED: State.CANCELLED,
}
_ENDS_OF_JOB = {
    JobStatus.DONE: State.DONE,
    JobStatus.FAILED: State.FAILED,
    JobStatus.CANCELLED: State.CANCELLED,
}
_ENDS_OF_RESTORE = {
    RestoreStatus.RESTORED: State.DONE,
    RestoreStatus.PLANNED: State.DONE,
    RestoreStatus.RESTORE_FAILED: State.FAILED,
    RestoreStatus.CANCELLED: State.CANCELLED,
}


def add_waiting(parser: ArgumentParser, *, default: bool | None) -> None:
    """Add the options about waiting."""
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=default,
        help="wait for the end of the job and show its progress",
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="maximum time to wait; the job continues"
    )


def _warnings(restore: Restore) -> Sequence[str]:
    """Return the warnings of the plan of a restore that changes something.

    They are known after preflight, before anything is changed. A dry run shows the whole plan.
    """
    if restore.request.dry_run:
        return ()
    found: Sequence[str] = (restore.plan or {}).get("warnings", ())
    return found


class _Record(Protocol):
    """A record that is waited for."""

    @property
    def id(self) -> str: ...

    @property
    def phase(self) -> str: ...


Watched = TypeVar("Watched", bound=_Record)


class Waiter:
    """Polls the database; ``timeout`` in seconds, None for no limit."""

    def __init__(self, services: Services, timeout: float | None) -> None:
        self._database, self._timeout = services.database(), timeout
        self._interval, self._command = services.poll_interval, services.command
        self._started = time.monotonic()
        self._written: set[str] = set()

    def backup(self, backup_id: str) -> Backup:
        """Return the backup when it is no longer CREATING or DELETING.

        :raises ExitWith: after the timeout, or on an interrupt; the backup continues.
        """
        backups = self._database.backups
        return self._shown(
            "backup",
            backup_id,
            steps=lambda: steps_of_backup(backups.get(backup_id)),
            read=lambda: backups.get(backup_id),
            nodes=lambda: [of_node_backup(n) for n in backups.node_backups(backup_id)],
            ended=self._end_of_backup,
        )

    def restore(self, restore_id: str) -> Restore:
        """Return the restore when it is no longer RESTORING.

        :raises ExitWith: after the timeout, or on an interrupt; the restore continues.
        """
        restores = self._database.restores
        return self._shown(
            "restore",
            restore_id,
            steps=lambda: steps_of_restore(restores.get(restore_id)),
            read=lambda: restores.get(restore_id),
            nodes=lambda: [of_node_restore(n) for n in restores.node_restores(restore_id)],
            ended=self._end_of_restore,
            warnings=_warnings,
        )

    def _end_of_backup(self, backup: Backup) -> State | None:
        end = _ENDS_OF_BACKUP.get(backup.status)
        if end is None and backup.waiting_for:
            self._write_once(f"backup {backup.id}: {backup.waiting_for}")
        return end

    def _end_of_restore(self, restore: Restore) -> State | None:
        end = _ENDS_OF_RESTORE.get(restore.status)
        if end is None and restore.waiting_for:
            self._write_once(f"restore {restore.id}: {restore.waiting_for}")
        return end

    def _shown(
        self,
        kind: str,
        id_: str,
        *,
        steps: Callable[[], Mapping[str, str]],
        read: Callable[[], Watched],
        nodes: Callable[[], list[NodeProgress]],
        ended: Callable[[Watched], State | None],
        warnings: Callable[[Watched], Sequence[str]] = lambda record: (),
    ) -> Watched:
        """Show progress, and warnings as soon as they are known, until the record has ended."""
        what = f"{kind} {id_}"
        display: Display | None = None
        warned: set[str] = set()

        def look() -> Watched | None:
            nonlocal display
            if display is None:  # the first look may meet an outage of the database too
                display = make_display(what.capitalize(), steps())
            record = read()
            end = ended(record)
            for text in warnings(record):
                if text not in warned:
                    warned.add(text)
                    display.warn(text)
            display.show(record.id, record.phase, nodes(), end)
            return record if end is not None else None

        remedy = f"See {self._command} {kind} show {id_}, or cancel it by {kind} cancel {id_}"
        try:
            return self._until(look, what, remedy)
        finally:
            if display is not None:
                display.close()

    def job(self, job_id: str) -> Job:
        """Return the job when it is finished.

        :raises ExitWith: after the timeout, or on an interrupt; the job continues.
        """

        def look() -> Job | None:
            job = self._database.jobs.get(job_id)
            return job if job.status.finished else None

        return self._until(look, f"job {job_id}", "")

    def verification(self, job_id: str) -> Job:
        """Return the job of a verification when it is finished, and show its progress.

        :raises ExitWith: after the timeout, or on an interrupt; the job continues.
        """
        jobs = self._database.jobs
        display: Display | None = None

        def look() -> Job | None:
            nonlocal display
            job = jobs.get(job_id)
            if display is None:
                display = make_display(f"Verification {job_id}", steps_of(job))
            progress, end = job.progress or {}, _ENDS_OF_JOB.get(job.status)
            display.show(job_id, str(progress.get("step", "")), of_verification(progress), end)
            return job if job.status.finished else None

        try:
            return self._until(look, f"job {job_id}", "")
        finally:
            if display is not None:
                display.close()

    def _until(self, look: Callable[[], Result | None], what: str, remedy: str) -> Result:
        try:
            while True:
                try:
                    found = look()
                    if found is not None:
                        return found
                    self._look_for_conductor()
                except DatabaseUnavailable as error:
                    self._write_once(f"{error}; still waiting")
                self._pause(what)
        except KeyboardInterrupt:
            raise ExitWith(FAILED, f"interrupted; {what} continues. {remedy}".strip()) from None

    def _write_once(self, text: str) -> None:
        if text not in self._written:
            self._written.add(text)
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def _look_for_conductor(self) -> None:
        if time.monotonic() - self._started < _LOOKS_BEFORE_CONDUCTOR * self._interval:
            return
        if not self._database.nodes.conductors(_CONDUCTOR_SILENT):
            self._write_once(
                "no conductor is running: start magnetodb-backup-conductor; still waiting"
            )

    def _pause(self, what: str) -> None:
        waited = time.monotonic() - self._started
        if self._timeout is not None and waited > self._timeout:
            raise ExitWith(
                FAILED, f"{what} is not finished after {self._timeout:g} s; it continues"
            )
        time.sleep(min(self._interval, _SHORTEST_PAUSE + waited / 10))

# SPDX-License-Identifier: Apache-2.0
"""Waits for jobs and shows their progress on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from magnetodb_backup.cli.app import FAILED, ExitWith
from magnetodb_backup.cli.services import Services
from magnetodb_backup.domain.records import Backup, Job, NodeBackup
from magnetodb_backup.domain.status import BackupStatus
from magnetodb_backup.errors import DatabaseUnavailable

Result = TypeVar("Result")
_LOOKS_BEFORE_CONDUCTOR = 4  # a job that a conductor takes needs no warning
_CONDUCTOR_SILENT = 15.0
_LINE_EVERY = 5.0


class _Bars:
    """A bar per node, for a terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[phase]}"),
            console=Console(stderr=True),
        )
        self._bars: dict[str, TaskID] = {}
        self._progress.start()

    def show(self, backup: Backup, nodes: Sequence[NodeBackup]) -> None:
        for node in nodes:
            if node.host_id not in self._bars:
                self._bars[node.host_id] = self._progress.add_task(
                    node.address, total=None, phase=""
                )
            self._progress.update(
                self._bars[node.host_id],
                total=node.progress.bytes_total or None,
                completed=node.progress.bytes_done,
                phase=backup.phase if node.phase != "failed" else "failed",
            )

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    """A line per phase, and one per node every few seconds, for logs."""

    def __init__(self) -> None:
        self._phase = ""
        self._told: dict[str, tuple[float, int]] = {}

    def show(self, backup: Backup, nodes: Sequence[NodeBackup]) -> None:
        if backup.phase != self._phase:
            self._phase = backup.phase
            sys.stderr.write(f"{backup.id}: {backup.phase}\n")
        now = time.monotonic()
        for node in nodes:
            last, done = self._told.get(node.host_id, (0.0, 0))
            if node.progress.files_done != done and now - last >= _LINE_EVERY:
                self._told[node.host_id] = (now, node.progress.files_done)
                p = node.progress
                sys.stderr.write(
                    f"{node.address}: {p.files_done}/{p.files_total} files, "
                    f"{p.bytes_done}/{p.bytes_total} bytes, {p.bytes_uploaded} uploaded\n"
                )
        sys.stderr.flush()

    def close(self) -> None:
        """Nothing is open."""


class Waiter:
    """Polls the database; ``timeout`` in seconds, None for ever."""

    def __init__(self, services: Services, timeout: float | None) -> None:
        self._database, self._timeout = services.database(), timeout
        self._interval = services.poll_interval
        self._started = time.monotonic()
        self._told: set[str] = set()

    def backup(self, backup_id: str) -> Backup:
        """Return the backup when it is no longer CREATING or DELETING.

        :raises ExitWith: when the time is over, or on an interrupt; the backup goes on.
        """
        display = _Bars() if sys.stderr.isatty() else _Lines()
        busy = (BackupStatus.CREATING, BackupStatus.DELETING)

        def look() -> Backup | None:
            backup = self._database.backups.get(backup_id)
            display.show(backup, self._database.backups.node_backups(backup_id))
            return None if backup.status in busy else backup

        remedy = (
            f"See magnetodb-backup-manage backup show {backup_id}, or cancel it by backup cancel "
            f"{backup_id}"
        )
        try:
            return self._until(look, f"backup {backup_id}", remedy)
        finally:
            display.close()

    def job(self, job_id: str) -> Job:
        """Return the job when it is finished.

        :raises ExitWith: when the time is over, or on an interrupt; the job goes on.
        """

        def look() -> Job | None:
            job = self._database.jobs.get(job_id)
            return job if job.status.finished else None

        return self._until(look, f"job {job_id}", "")

    def _until(self, look: Callable[[], Result | None], what: str, remedy: str) -> Result:
        try:
            while True:
                try:
                    found = look()
                    if found is not None:
                        return found
                    self._look_for_conductor()
                except DatabaseUnavailable as error:
                    self._tell_once(f"{error}; still waiting")
                self._pause(what)
        except KeyboardInterrupt:
            raise ExitWith(FAILED, f"interrupted; {what} goes on. {remedy}".strip()) from None

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def _look_for_conductor(self) -> None:
        if time.monotonic() - self._started < _LOOKS_BEFORE_CONDUCTOR * self._interval:
            return
        if not self._database.nodes.conductors(_CONDUCTOR_SILENT):
            self._tell_once(
                "no conductor is running: start magnetodb-backup-conductor; still waiting"
            )

    def _pause(self, what: str) -> None:
        if self._timeout is not None and time.monotonic() - self._started > self._timeout:
            raise ExitWith(FAILED, f"{what} is not finished after {self._timeout:g} s; it goes on")
        time.sleep(self._interval)

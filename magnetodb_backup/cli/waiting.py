# SPDX-License-Identifier: Apache-2.0
"""Waits for jobs and shows their progress on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from magnetodb_backup.cli.app import FAILED, ExitWith
from magnetodb_backup.cli.progress import (
    NodeProgress,
    make_display,
    of_node_backup,
    of_node_restore,
)
from magnetodb_backup.cli.services import Services
from magnetodb_backup.domain.backup.records import Backup, Job
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.restore.records import Restore, RestoreStatus
from magnetodb_backup.errors import DatabaseUnavailable

Result = TypeVar("Result")
_LOOKS_BEFORE_CONDUCTOR = 4  # a job that a conductor takes needs no warning
_CONDUCTOR_SILENT = 15.0


class _Record(Protocol):
    """What is waited for."""

    @property
    def id(self) -> str: ...

    @property
    def phase(self) -> str: ...


Watched = TypeVar("Watched", bound=_Record)


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
        backups, busy = self._database.backups, (BackupStatus.CREATING, BackupStatus.DELETING)
        return self._shown(
            f"backup {backup_id}",
            read=lambda: backups.get(backup_id),
            nodes=lambda: [of_node_backup(n) for n in backups.node_backups(backup_id)],
            ended=lambda backup: backup.status not in busy,
        )

    def restore(self, restore_id: str) -> Restore:
        """Return the restore when it is no longer RESTORING.

        :raises ExitWith: when the time is over, or on an interrupt; the restore goes on.
        """
        restores = self._database.restores
        return self._shown(
            f"restore {restore_id}",
            read=lambda: restores.get(restore_id),
            nodes=lambda: [of_node_restore(n) for n in restores.node_restores(restore_id)],
            ended=lambda restore: restore.status is not RestoreStatus.RESTORING,
        )

    def _shown(
        self,
        what: str,
        *,
        read: Callable[[], Watched],
        nodes: Callable[[], list[NodeProgress]],
        ended: Callable[[Watched], bool],
    ) -> Watched:
        """Show progress until the record of ``what`` (its kind and ID) has ended."""
        display = make_display()

        def look() -> Watched | None:
            record = read()
            display.show(record.id, record.phase, nodes())
            return record if ended(record) else None

        kind, _, id_ = what.partition(" ")
        remedy = (
            f"See magnetodb-backup-manage {kind} show {id_}, or cancel it by {kind} cancel {id_}"
        )
        try:
            return self._until(look, what, remedy)
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

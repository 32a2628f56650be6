# SPDX-License-Identifier: Apache-2.0
"""Keeps the database small: what ended jobs left goes by its age, in small batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from magnetodb_backup.database import Database
from magnetodb_backup.errors import BackupError

LOG = logging.getLogger(__name__)
_EVERY = 3600.0  # seconds between two looks once nothing is left to remove
_AT_ONCE = 50  # jobs or records in a transaction


@dataclass(frozen=True)
class PruningSettings:
    """Ages in seconds since the end of a job or record, or the last report of a worker.

    0 keeps them for ever.
    """

    steps_after: float
    jobs_after: float
    workers_after: float = 0.0


class Pruner:
    """Removes one batch at a look, then waits for an hour once there was no full batch.

    Every conductor has one. What several of them do at the same time is done once.
    """

    def __init__(
        self,
        database: Database,
        settings: PruningSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._due = clock, clock()
        pruning = database.pruning
        self._kinds = [
            ("the steps of jobs", settings.steps_after, pruning.steps),
            ("restores", settings.jobs_after, pruning.restores),
            ("backups that are gone", settings.jobs_after, pruning.backups),
            ("jobs", settings.jobs_after, pruning.jobs),
            ("runs of schedules", settings.jobs_after, pruning.schedule_runs),
            ("reports of silent workers", settings.workers_after, pruning.workers),
        ]

    def look(self) -> None:
        """Remove a batch of each kind if it is time to; errors are logged, and tried again."""
        if self._clock() < self._due:
            return
        try:
            full = [self._batch(*kind) for kind in self._kinds]
        except BackupError as error:
            LOG.warning("cannot remove old jobs and records; trying again later: %s", error)
            full = []
        if not any(full):
            self._due = self._clock() + _EVERY

    @staticmethod
    def _batch(what: str, age: float, remove: Callable[[float, int], int]) -> bool:
        """Return whether there may be more."""
        if age <= 0:
            return False
        if removed := remove(age, _AT_ONCE):
            LOG.info("removed %s from the database, older than %g days: %d", what, age / 86400,
                     removed)  # fmt: skip
        return removed == _AT_ONCE

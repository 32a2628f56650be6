# SPDX-License-Identifier: Apache-2.0
"""Begins the runs of schedules at their times; any number of conductors may do so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from magnetodb_backup.database import Database
from magnetodb_backup.database.scheduling import Survey
from magnetodb_backup.domain.schedule.decision import decide, next_due
from magnetodb_backup.domain.schedule.records import Schedule, ScheduleRun
from magnetodb_backup.errors import BackupError, NotFound, Permanent

LOG = logging.getLogger(__name__)


class ScheduleLoop:
    """Looks at the schedules, at the latest when the next run is due.

    ``interval``: maximum time in seconds between two looks. ``begun`` is called when a look has
    recorded a backup or a job, or asked for the end of one. The database decides what is due, by
    its own clock, and which conductor begins it.
    """

    def __init__(
        self,
        database: Database,
        begun: Callable[[], None],
        *,
        interval: float,
        stopping: threading.Event,
    ) -> None:
        self._database, self._begun, self._interval = database, begun, interval
        self._stopping = stopping
        self._woken = threading.Event()
        self._trouble = ""
        self._invalid: dict[str, str] = {}

    def wake(self) -> None:
        """Look at the schedules now instead of at the end of the interval."""
        self._woken.set()

    def run(self) -> None:
        """Look until stopped; an outage of the database is logged once and waited for."""
        while not self._stopping.is_set():
            self._woken.clear()
            pause = self._interval
            try:
                pause = self.look()
                self._trouble = ""
            except BackupError as error:
                if str(error) != self._trouble:
                    LOG.warning("cannot look at the schedules: %s", error)
                self._trouble = str(error)
            except Exception:
                LOG.exception("looking at the schedules failed; the next look follows")
            self._woken.wait(pause)

    def look(self) -> float:
        """Begin what is due; return for how many seconds there is nothing to do.

        :raises DatabaseUnavailable: if the database does not answer.
        """
        survey = self._database.scheduling.survey()
        changed = bool(self._cancelled())
        following = [survey.now + timedelta(seconds=self._interval)]
        for schedule in survey.schedules:
            try:
                run = self._decided(schedule, survey)
                due = next_due(schedule, survey.now)
            except NotFound:
                continue  # deleted since the survey
            except Permanent as error:
                self._report_invalid(schedule, error)
                continue
            changed = changed or bool(run and run.begun)
            following += [due] if due else []
        if changed:
            self._begun()
        return max(0.0, (min(following) - survey.now).total_seconds())

    def _decided(self, schedule: Schedule, survey: Survey) -> ScheduleRun | None:
        """Decide a schedule's time if one is due; mostly none is, and then nothing is locked."""
        set_back = schedule.planned_until > survey.now
        if not set_back and decide(schedule, survey.now, survey.busy[schedule.id]) is None:
            return None
        run = self._database.scheduling.advance(schedule.id)
        if run is not None:
            what = f"backup {run.backup_id}" if run.backup_id else f"no {schedule.action.value}"
            if run.jobs:
                what = f"{schedule.action.value}: {len(run.jobs)} jobs from {run.jobs[0]}"
            reason = f": {run.reason}" if run.reason else ""
            LOG.info("schedule %s (%s), %s: %s, %s%s", schedule.id, schedule.name,
                     _text(run.planned_at), run.status.value, what, reason)  # fmt: skip
        return run

    def _cancelled(self) -> tuple[str, ...]:
        late = self._database.scheduling.cancel_late()
        for id_ in late:
            LOG.warning("backup or job %s is cancelled: it was not complete in the time of its "
                        "schedule", id_)  # fmt: skip
        return late

    def _report_invalid(self, schedule: Schedule, error: BackupError) -> None:
        """Log once that a schedule cannot be used here: a machine may know fewer zones."""
        if self._invalid.get(schedule.id) != str(error):
            self._invalid[schedule.id] = str(error)
            LOG.error("schedule %s (%s) cannot run: %s", schedule.id, schedule.name, error)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"

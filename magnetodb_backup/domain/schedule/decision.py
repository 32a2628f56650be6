# SPDX-License-Identifier: Apache-2.0
"""What a schedule does at a moment: begin a run, leave it out, or wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from magnetodb_backup.domain.schedule.actions import Action
from magnetodb_backup.domain.schedule.records import (
    Missed,
    Overlap,
    RunStatus,
    Schedule,
    ScheduleRun,
    ScheduleState,
    ScheduleStatus,
)

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Decision:
    """How a planned time is decided: RUNNING, SKIPPED or MISSED."""

    status: RunStatus
    planned_at: datetime
    due_at: datetime
    reason: str = ""


def decide(schedule: Schedule, now: datetime, busy: str) -> Decision | None:
    """Return the decision for the latest planned time that is due, None if there is none.

    ``busy`` is the ID of what a run waits for, empty if there is none: a backup of the cluster that
    is CREATING, for other actions a job. None also means that the run waits for it. Earlier times
    that are due are never run: one run at the present moment is all that they could give.
    """
    planned = latest_due(schedule, now)
    if planned is None:
        return None
    timing, due = schedule.timing, schedule.due_at(planned)
    late = now - due > timedelta(seconds=timing.begin_within)
    notes = _overtaken(schedule, planned)
    if busy:
        if timing.overlap is Overlap.SKIP:
            reason = _unfinished(schedule, busy)
            return Decision(RunStatus.SKIPPED, planned, due, "; ".join([reason, *notes]))
        if not late or timing.missed is Missed.RUN:
            return None
    if late:
        notes.insert(0, _lateness(schedule, now - due, busy))
        if timing.missed is Missed.SKIP:
            return Decision(RunStatus.MISSED, planned, due, "; ".join(notes))
    return Decision(RunStatus.RUNNING, planned, due, "; ".join(notes))


def latest_due(schedule: Schedule, now: datetime) -> datetime | None:
    """Return the latest undecided planned time whose run is to begin by ``now``."""
    timetable = schedule.timing.timetable
    planned = timetable.latest(schedule.planned_until, now)
    while planned is not None and schedule.due_at(planned) > now:
        planned = timetable.latest(schedule.planned_until, planned - _SECOND)
    return planned


def next_due(schedule: Schedule, now: datetime) -> datetime | None:
    """Return when the first planned time that is not due yet begins, None if there is none."""
    begin = max(schedule.planned_until, now - timedelta(seconds=schedule.timing.jitter + 1))
    for planned in schedule.timing.timetable.after(begin):
        due = schedule.due_at(planned)
        if due > now:
            return due
    return None


def state_of(
    schedule: Schedule, now: datetime, busy: str, runs: tuple[ScheduleRun, ...]
) -> ScheduleState:
    """Return what is known of a schedule at a moment; ``runs`` are its newest, latest first."""
    last = runs[0] if runs else None
    if schedule.status is ScheduleStatus.PAUSED:
        return ScheduleState(schedule, last, runs=runs)
    planned = latest_due(schedule, now)
    due = None if planned is None else schedule.due_at(planned)
    waiting = busy if due is not None and schedule.timing.overlap is Overlap.QUEUE else ""
    return ScheduleState(schedule, last, next_due(schedule, now), due, waiting, runs)


def _overtaken(schedule: Schedule, planned: datetime) -> list[str]:
    """Say that times before ``planned`` are left out."""
    first = next(schedule.timing.timetable.after(schedule.planned_until), planned)
    if first >= planned:
        return []
    return [f"planned times from {_text(first)} on were left out, since none could begin in time"]


def _lateness(schedule: Schedule, late_by: timedelta, busy: str) -> str:
    cause = _unfinished(schedule, busy) if busy else "none could begin it"
    return (
        f"late by {late_by.total_seconds():.0f} s, {schedule.timing.begin_within} s are allowed: "
        f"{cause}"
    )


def _unfinished(schedule: Schedule, busy: str) -> str:
    if schedule.action is Action.BACKUP:
        return f"backup {busy} of the cluster was not complete"
    return f"job {busy} of the cluster was not finished"


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"

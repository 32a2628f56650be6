# SPDX-License-Identifier: Apache-2.0
"""What a schedule does at a moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.schedule.decision import decide, latest_due, next_due, state_of
from magnetodb_backup.domain.schedule.records import (
    Missed,
    Overlap,
    RunStatus,
    Schedule,
    ScheduleRun,
    ScheduleStatus,
    Timing,
)

MIDNIGHT = datetime(2026, 12, 1, tzinfo=timezone.utc)
BUSY = "8c7a66f6-5b9e-4f0c-9d43-0a3b7c1f2ad1"


def at(hour: int, minute: int = 0, second: int = 0, day: int = 0) -> datetime:
    return MIDNIGHT + timedelta(days=day, hours=hour, minutes=minute, seconds=second)


def schedule(**timing: Any) -> Schedule:
    """Return a schedule for two o'clock whose times up to midnight are decided."""
    return Schedule(
        "11111111-1111-4111-8111-111111111111", "nightly", "c", ScheduleStatus.ACTIVE,
        Timing("0 2 * * *", **timing), BackupRequest({"type": "all"}), MIDNIGHT, MIDNIGHT, MIDNIGHT,
    )  # fmt: skip


def test_nothing_is_due() -> None:
    assert decide(schedule(), at(1, 59, 59), "") is None
    assert next_due(schedule(), at(1, 59, 59)) == at(2)


def test_due_at_the_very_second() -> None:
    decision = decide(schedule(), at(2), "")
    assert decision is not None
    assert (decision.status, decision.planned_at) == (RunStatus.RUNNING, at(2))
    assert (decision.due_at, decision.reason) == (at(2), "")


def test_decided_times_are_not_due() -> None:
    decided = replace(schedule(), planned_until=at(2))
    assert decide(decided, at(23), "") is None


@pytest.mark.parametrize(
    ("overlap", "missed", "hour", "expected"),
    [
        (Overlap.QUEUE, Missed.RUN, 2, None),
        (Overlap.QUEUE, Missed.SKIP, 2, None),
        (Overlap.SKIP, Missed.RUN, 2, RunStatus.SKIPPED),
        (Overlap.SKIP, Missed.SKIP, 2, RunStatus.SKIPPED),
        (Overlap.QUEUE, Missed.RUN, 9, None),
        (Overlap.QUEUE, Missed.SKIP, 9, RunStatus.MISSED),
        (Overlap.SKIP, Missed.RUN, 9, RunStatus.SKIPPED),
        (Overlap.SKIP, Missed.SKIP, 9, RunStatus.SKIPPED),
    ],
)
def test_beside_another_backup(
    overlap: Overlap, missed: Missed, hour: int, expected: RunStatus | None
) -> None:
    decision = decide(schedule(overlap=overlap, missed=missed), at(hour), BUSY)
    assert (decision and decision.status) == expected
    if decision:
        assert f"backup {BUSY} of the cluster was not complete" in decision.reason


@pytest.mark.parametrize(
    ("missed", "second", "expected"),
    [
        (Missed.RUN, 0, RunStatus.RUNNING),
        (Missed.SKIP, 0, RunStatus.RUNNING),
        (Missed.RUN, 1, RunStatus.RUNNING),
        (Missed.SKIP, 1, RunStatus.MISSED),
    ],
)
def test_a_late_run(missed: Missed, second: int, expected: RunStatus) -> None:
    decision = decide(schedule(missed=missed, begin_within=600), at(2, 10, second), "")
    assert decision is not None
    assert decision.status is expected
    late = "late by 601 s, 600 s are allowed: none could begin it" if second else ""
    assert decision.reason == late


def test_after_a_long_outage_only_the_last_time_is_run() -> None:
    decision = decide(schedule(), at(2, 30, day=9), "")
    assert decision is not None
    assert (decision.status, decision.planned_at) == (RunStatus.RUNNING, at(2, day=9))
    assert decision.reason.startswith("planned times from 2026-12-01 02:00:00 UTC on were left out")


def test_jitter_is_that_of_each_planned_time_and_schedule() -> None:
    jittered = schedule(jitter=3600)
    dues = [jittered.due_at(at(2, day=day)) - at(2, day=day) for day in range(300)]
    assert dues == [jittered.due_at(at(2, day=day)) - at(2, day=day) for day in range(300)]
    assert min(dues) < timedelta(minutes=3) < timedelta(minutes=57) < max(dues)
    assert max(dues) <= timedelta(hours=1)
    other = replace(jittered, id="2")
    assert [other.due_at(at(2, day=day)) - at(2, day=day) for day in range(300)] != dues


def test_a_run_begins_when_its_jitter_is_over() -> None:
    jittered = schedule(jitter=3600)
    due = jittered.due_at(at(2))
    second = timedelta(seconds=1)
    assert due > at(2, 0, 1)
    assert decide(jittered, due - second, "") is None
    assert next_due(jittered, due - second) == due
    decision = decide(jittered, due, "")
    assert decision is not None
    assert (decision.planned_at, decision.due_at) == (at(2), due)
    assert next_due(jittered, due) == jittered.due_at(at(2, day=1))


def test_a_later_time_with_less_jitter_overtakes() -> None:
    """Requests refuse such a jitter; no time is run twice, or for ever ahead of others."""
    jittered = replace(schedule(), timing=Timing("* * * * *", jitter=600))
    now = at(3)
    found = latest_due(jittered, now)
    assert found is not None
    assert jittered.due_at(found) <= now
    later = [found + timedelta(minutes=n) for n in range(1, 11)]
    assert all(jittered.due_at(planned) > now for planned in later if planned <= now)


def test_state() -> None:
    active = schedule()
    run = ScheduleRun(active.id, at(2, day=-1), at(2, day=-1), RunStatus.CREATED, at(2, day=-1))
    quiet = state_of(active, at(1), "", (run,))
    assert (quiet.last_run, quiet.next_run_at, quiet.due_since) == (run, at(2), None)
    assert quiet.waiting_for == ""
    waiting = state_of(active, at(3), BUSY, ())
    assert (waiting.last_run, waiting.next_run_at) == (None, at(2, day=1))
    assert (waiting.due_since, waiting.waiting_for) == (at(2), BUSY)
    paused = state_of(replace(active, status=ScheduleStatus.PAUSED), at(3), BUSY, (run,))
    assert (paused.next_run_at, paused.due_since, paused.waiting_for) == (None, None, "")
    assert paused.runs == (run,)

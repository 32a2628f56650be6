# SPDX-License-Identifier: Apache-2.0
"""Planned times are those of a simple model, over every change of clocks of many zones."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from functools import cache, lru_cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.schedule.decision import decide
from magnetodb_backup.domain.schedule.records import Missed, RunStatus, Schedule, Timing
from magnetodb_backup.domain.schedule.records import ScheduleStatus as Status
from magnetodb_backup.domain.schedule.timetable import Timetable

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
# Changes by an hour, by half an hour, by two hours, at midnight, for Ramadan, in winter, and by
# a whole day.
ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll",
    "America/Santiago", "America/Havana", "Asia/Beirut", "Africa/Casablanca", "Europe/Dublin",
    "Pacific/Apia",
)  # fmt: skip


def utc(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """Return the first minute after each change of the zone's clocks, 2010 to 2028."""
    info, found = ZoneInfo(zone), []
    day = utc(2010, 1, 1)
    while day < utc(2028, 1, 1):
        low, high = day, day + DAY
        before = low.astimezone(info).utcoffset()
        if before != high.astimezone(info).utcoffset():
            while high - low > MINUTE:
                middle = low + (high - low) // 2
                middle -= timedelta(seconds=middle.second, microseconds=middle.microsecond)
                if middle.astimezone(info).utcoffset() == before:
                    low = middle
                else:
                    high = middle
            found.append(high)
        day += DAY
    return tuple(found)


@lru_cache(maxsize=4)
def clock_of(zone: str, around: datetime) -> list[tuple[datetime, datetime]]:
    """Return what clocks show in each minute of two days before and after a moment."""
    info = ZoneInfo(zone)
    elapsed = [around + n * MINUTE for n in range(-2 * 1440, 2 * 1440)]
    return [(m.astimezone(info).replace(tzinfo=None), m) for m in elapsed]


def model(
    zone: str, minutes: frozenset[int], hours: frozenset[int], around: datetime
) -> list[datetime]:
    """Return the planned times of two days before and after a moment.

    Each minute of elapsed time is looked at, and each minute that a clock on the wall may show.
    """
    shown = clock_of(zone, around)
    if len(hours) == 24:
        return [moment for wall, moment in shown if wall.minute in minutes]
    first: dict[datetime, datetime] = {}
    for wall, moment in shown:
        first.setdefault(wall, moment)
    planned = set()
    wall = shown[0][0]
    while wall <= shown[-1][0]:
        if wall.minute in minutes and wall.hour in hours:
            # A skipped time is that of the first minute after the gap.
            planned.add(first.get(wall) or min(m for w, m in shown if w > wall))
        wall += MINUTE
    return sorted(planned)


def timetable(zone: str, minutes: Iterable[int], hours: Iterable[int], star: bool) -> Timetable:
    """Return the timetable; ``star`` writes every Nth number as ``*/N``."""

    def field(numbers: Iterable[int], size: int) -> str:
        chosen = sorted(numbers)
        step = size // len(chosen)
        stepped = star and chosen == list(range(0, size, step))
        return f"*/{step}".removesuffix("/1") if stepped else ",".join(map(str, chosen))

    return Timetable(f"{field(minutes, 60)} {field(hours, 24)} * * *", zone)


def check_against_model(
    zone: str, minutes: frozenset[int], hours: frozenset[int], change: datetime, star: bool
) -> None:
    begin, end = change - DAY, change + DAY
    expected = [m for m in model(zone, minutes, hours, change) if begin < m <= end]
    after = timetable(zone, minutes, hours, star).after(begin)
    assert list(takewhile(lambda m: m <= end, after)) == expected


@pytest.mark.parametrize("zone", ZONES)
def test_every_change_of_clocks(zone: str) -> None:
    assert len(changes(zone)) >= 5
    everything = frozenset(range(24))
    for change in changes(zone):
        hour = (change - MINUTE).astimezone(ZoneInfo(zone)).hour
        near = frozenset({hour, (hour + 1) % 24})
        for minutes, hours in (
            (frozenset({30}), near),
            (frozenset({0, 15, 45}), near),
            (frozenset({0, 20, 40}), near),
            (frozenset({10}), frozenset(range(hour % 2, 24, 2))),
            (frozenset({0, 30}), everything),
        ):
            check_against_model(zone, minutes, hours, change, star=True)


_minutes = st.frozensets(st.integers(0, 59), min_size=1, max_size=4) | st.sampled_from(
    [frozenset(range(0, 60, step)) for step in (5, 15, 20, 30)]
)
_hours = st.frozensets(st.integers(0, 23), min_size=1, max_size=5) | st.sampled_from(
    [frozenset(range(0, 24, step)) for step in (1, 2, 3)]
)
_changes = st.sampled_from(ZONES).flatmap(
    lambda zone: st.tuples(st.just(zone), st.sampled_from(changes(zone)))
)
# Within two hours or two days of a change, with seconds and fractions.
_offsets = st.sampled_from([7_200_000_000, 172_800_000_000]).flatmap(
    lambda n: st.integers(-n, n).map(lambda number: timedelta(microseconds=number))
)


@given(_changes, _minutes, _hours, st.booleans())
def test_any_times_of_a_day(
    change: tuple[str, datetime], minutes: frozenset[int], hours: frozenset[int], star: bool
) -> None:
    zone, moment = change
    check_against_model(zone, minutes, hours, moment, star)


@given(_changes, _minutes, _hours, _offsets, _offsets)
def test_what_follows_does_not_depend_on_where_the_search_begins(
    change: tuple[str, datetime],
    minutes: frozenset[int],
    hours: frozenset[int],
    one: timedelta,
    other: timedelta,
) -> None:
    zone, moment = change
    table = timetable(zone, minutes, hours, star=True)
    early, late = sorted((moment + one, moment + other))
    following = next(table.after(late))
    assert following > late
    assert next(m for m in table.after(early) if m > late) == following
    found = table.latest(early, late)
    all_between = list(takewhile(lambda m: m <= late, table.after(early)))
    assert found == (all_between[-1] if all_between else None)


@given(
    st.sampled_from(ZONES),
    st.sampled_from(
        ["0 12 29 2 *", "15 */6 * * *", "0 0 L * *", "5 4 * * SUN#2", "*/7 * 1,15 * 3", "0 2 * * *"]
    ),
    st.integers(1_262_304_000, 1_830_000_000),
)
def test_later_and_later(zone: str, cron: str, begin: int) -> None:
    start = datetime.fromtimestamp(begin, timezone.utc)
    planned = list(islice(Timetable(cron, zone).after(start), 30))
    assert all(a < b for a, b in zip([start, *planned], planned, strict=False))
    assert len(planned) == 30 or cron.startswith("0 12 29")


@given(
    _changes,
    _minutes,
    _hours,
    st.integers(0, 59),
    st.sampled_from(Missed),
    st.lists(st.integers(0, 40_000), min_size=1, max_size=30),
)
def test_no_planned_time_is_decided_twice(
    change: tuple[str, datetime],
    minutes: frozenset[int],
    hours: frozenset[int],
    jitter: int,
    missed: Missed,
    pauses: list[int],
) -> None:
    """Whenever a conductor looks, and for however long none did."""
    zone, now = change[0], change[1] - DAY
    table = timetable(zone, minutes, hours, star=True)
    timing = Timing(table.cron, zone, jitter=jitter, missed=missed)
    backup = BackupRequest({"type": "all"})
    until, begin, decided = now, now, []
    for pause in pauses:
        now += timedelta(seconds=pause)
        schedule = Schedule("id", "n", "c", Status.ACTIVE, timing, backup, until, begin, begin)
        decision = decide(schedule, now, busy="")
        if decision is None:
            continue
        late = (now - decision.due_at).total_seconds() > timing.begin_within
        skipped = late and missed is Missed.SKIP
        assert decision.status is (RunStatus.MISSED if skipped else RunStatus.RUNNING)
        assert decision.planned_at <= decision.due_at <= now
        assert decision.due_at - decision.planned_at <= timedelta(seconds=jitter)
        decided.append(decision.planned_at)
        until = decision.planned_at
    assert decided == sorted(set(decided))
    assert set(decided) <= set(takewhile(lambda m: m <= now, table.after(begin)))

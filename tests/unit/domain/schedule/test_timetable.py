# SPDX-License-Identifier: Apache-2.0
"""Planned times, by examples that can be compared with a calendar."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import islice

import pytest

from magnetodb_backup.domain.schedule.timetable import Timetable
from magnetodb_backup.errors import InvalidValue


def local(cron: str, zone: str, begin: str, count: int) -> list[str]:
    """Return the first planned times after a UTC time, on the clock of the zone."""
    table = Timetable(cron, zone)
    start = datetime.fromisoformat(begin).replace(tzinfo=timezone.utc)
    return [f"{table.local(m):%m-%d %H:%M%z}" for m in islice(table.after(start), count)]


@pytest.mark.parametrize(
    ("cron", "begin", "expected"),
    [
        # 2026-03-29: at 02:00 clocks show 03:00.
        (
            "30 2 * * *", "2026-03-28",
            ["03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200"],
        ),
        ("*/20 2 * * *", "2026-03-29", ["03-29 03:00+0200", "03-30 02:00+0200"]),
        ("30 * * * *", "2026-03-28T23:45", ["03-29 01:30+0100", "03-29 03:30+0200"]),
        # 2026-10-25: at 03:00 clocks show 02:00.
        (
            "30 2 * * *", "2026-10-24",
            ["10-24 02:30+0200", "10-25 02:30+0200", "10-26 02:30+0100"],
        ),
        (
            "30 * * * *", "2026-10-24T23:45",
            ["10-25 02:30+0200", "10-25 02:30+0100", "10-25 03:30+0100"],
        ),
    ],
)  # fmt: skip
def test_changes_of_clocks_in_berlin(cron: str, begin: str, expected: list[str]) -> None:
    assert local(cron, "Europe/Berlin", begin, len(expected)) == expected


def test_a_search_within_the_repeated_hour_finds_nothing_of_the_past() -> None:
    """At 00:45 UTC clocks show 02:45; at 01:15 UTC they show 02:15 for the second time."""
    assert local("30 2 * * *", "Europe/Berlin", "2026-10-25T01:15", 1) == ["10-26 02:30+0100"]


def test_leap_days() -> None:
    after = Timetable("0 12 29 2 *", "UTC").after(datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert [m.year for m in islice(after, 3)] == [2028, 2032, 2036]


def test_the_latest_time_may_be_years_ago() -> None:
    table = Timetable("0 12 29 2 *", "UTC")
    begin, now = (datetime(year, 1, 1, tzinfo=timezone.utc) for year in (2019, 2027))
    assert table.latest(begin, now) == datetime(2024, 2, 29, 12, tzinfo=timezone.utc)
    assert table.latest(datetime(2025, 1, 1, tzinfo=timezone.utc), now) is None


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("61 * * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 2 * *", "wrong number of fields"),
        ("0 0 2 * * *", "wrong number of fields"),
        ("@daily", "wrong number of fields"),
        ("", "wrong number of fields"),
        ("* * * * " + "1," * 200 + "1", "wrong number of fields"),
    ],
)
def test_wrong_expressions(cron: str, reason: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        Timetable(cron, "UTC").check()
    assert str(raised.value).startswith(f"cron is {cron!r} ({reason}); write five fields: minute")


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "Europe", "", "localtime", "../UTC", "/etc/passwd", "U\0", "x" * 300]
)
def test_wrong_zones(zone: str) -> None:
    with pytest.raises(InvalidValue, match=r"no time zone; use .* for example UTC or Europe"):
        Timetable("0 2 * * *", zone).check()

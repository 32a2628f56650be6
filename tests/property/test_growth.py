# SPDX-License-Identifier: Apache-2.0
"""The fit of growth is the least-squares line through the sums, in constant memory."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import accumulate
from statistics import linear_regression

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnetodb_backup.domain.backup.growth import (
    DAYS,
    Added,
    Stored,
    TableBytes,
    growth,
)
from magnetodb_backup.errors import InvalidValue

NOW = datetime(2026, 11, 30, tzinfo=timezone.utc)
BACKUPS = st.lists(
    st.tuples(st.integers(0, DAYS * 24), st.integers(0, 10**15)), min_size=3, max_size=40
).map(sorted)


def at(days: float) -> datetime:
    return NOW - timedelta(days=DAYS) + timedelta(days=days)


def backup(number: int, days: float, **tables: int) -> list[Added]:
    return [
        Added(f"b{number:03}", at(days), TableBytes("ks", name, 10 * new, new))
        for name, new in tables.items()
    ]


def daily(new: int = 100, count: int = 11) -> list[Added]:
    return [each for day in range(count) for each in backup(day, day, t=new)]


@given(BACKUPS)
def test_the_rate_is_the_slope_of_the_sums(found: list[tuple[int, int]]) -> None:
    added = [a for n, (hour, new) in enumerate(found) for a in backup(n, hour / 24, t=new)]
    rate = growth("c", NOW, added, None).rate
    assert (rate.backups, rate.added) == (len(found), sum(new for _, new in found))
    days = [hour / 24 for hour, _ in found]
    if days[-1] - days[0] < 2:
        assert rate.per_day is None
        return
    sums = list(accumulate(new for _, new in found))
    expected = linear_regression(days, sums).slope
    assert rate.per_day == pytest.approx(expected, rel=1e-6, abs=1)


def test_the_first_full_backup_does_not_count_as_growth() -> None:
    added = backup(0, 0, t=10**12) + [a for n in range(1, 11) for a in backup(n, n, t=100)]
    rate = growth("c", NOW, added, None).rate
    assert rate.added == 10**12 + 1000
    assert rate.per_day == pytest.approx(100)


def test_each_table_has_a_rate_of_its_own() -> None:
    added = [a for n in range(5) for a in backup(n, n, busy=1000, still=0)]
    added += [*backup(5, 5, busy=1000, new=10**6)]
    found = growth("c", NOW, added, None)
    tables = {t.table: t for t in found.tables}
    assert [t.table for t in found.tables] == ["new", "busy", "still"]
    assert (tables["busy"].rate.per_day, tables["still"].rate.per_day) == (1000, 0)
    assert tables["new"].rate.per_day is None  # in one backup
    assert (tables["busy"].bytes, tables["busy"].rate.backups) == (10_000, 6)
    assert found.rate.backups == 6


@pytest.mark.parametrize(("count", "every"), [(2, 9.0), (9, 0.2), (0, 1.0)])
def test_not_enough_data(count: int, every: float) -> None:
    added = [a for n in range(count) for a in backup(n, n * every, t=5)]
    found = growth("c", NOW, added, Stored(NOW, 1))
    assert (found.rate.per_day, found.forecast) == (None, None)
    assert found.missing.startswith(f"not enough data: {count} backups")


def test_forecast_from_what_is_stored() -> None:
    found = growth("c", NOW, daily(), Stored(NOW - timedelta(days=2), 800, quota=2000))
    assert found.forecast is not None
    assert found.missing == ""
    assert (found.forecast.in_30_days, found.forecast.in_90_days) == (4000, 10_000)
    assert found.forecast.capacity == 2000
    assert found.forecast.days_left == pytest.approx(10)


def test_a_capacity_takes_the_place_of_the_quota() -> None:
    stored = Stored(NOW, 1000, quota=1500)
    left = {c: growth("c", NOW, daily(), stored, c).forecast for c in (2000, 900, None)}
    assert [f and f.days_left for f in left.values()] == [10, 0, 5]
    still = growth("c", NOW, daily(0), stored).forecast
    assert still is not None
    assert (still.in_90_days, still.days_left) == (1000, None)
    for wrong in (0, -1):
        with pytest.raises(InvalidValue, match=f"the capacity is {wrong} bytes"):
            growth("c", NOW, [], None, wrong)


def test_what_is_stored_is_not_known() -> None:
    found = growth("c", NOW, daily(), None)
    assert (found.forecast, found.rate.per_day) == (None, 100)
    assert "run repository show" in found.missing

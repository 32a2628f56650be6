# SPDX-License-Identifier: Apache-2.0
"""How fast backups fill the store, by table, and when it is full. Sizes in bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from magnetodb_backup.errors import InvalidValue

DAYS = 30  # that the fit looks back
LEAST_BACKUPS, LEAST_DAYS = 3, 2.0
_NEAR, _FAR = 30, 90  # days of a forecast
_DAY = 86400.0


@dataclass(frozen=True)
class TableBytes:
    """The files of one table in a backup: all, and those that were not in the store before."""

    keyspace: str
    table: str
    bytes: int
    new: int


@dataclass(frozen=True)
class Added:
    """What one backup, that ended then, has added for a table."""

    backup_id: str
    ended: datetime
    of: TableBytes


@dataclass(frozen=True)
class Rate:
    """What backups added: their number, the bytes, and bytes a day by the fit.

    ``per_day`` is None if there is not enough data.
    """

    backups: int
    added: int
    per_day: float | None


@dataclass(frozen=True)
class TableGrowth:
    """The growth of a table; ``bytes`` is what the newest backup has of it."""

    keyspace: str
    table: str
    bytes: int
    rate: Rate


@dataclass(frozen=True)
class Stored:
    """What the store held for a cluster, and the quota of its account, if that shows one."""

    at: datetime
    bytes: int
    quota: int | None = None


@dataclass(frozen=True)
class Forecast:
    """What the store will hold if nothing is removed, and in how many days it is full.

    ``days_left`` is None without a capacity, and if nothing is added.
    """

    in_30_days: int
    in_90_days: int
    capacity: int | None
    days_left: float | None


@dataclass(frozen=True)
class Growth:
    """The growth of a cluster's backups since a moment; tables that grow most come first.

    ``missing`` is why there is no forecast.
    """

    cluster: str
    since: datetime
    until: datetime
    rate: Rate
    tables: tuple[TableGrowth, ...]
    stored: Stored | None
    forecast: Forecast | None
    missing: str


class _Line:
    """The least-squares line through the sums of what was added, by days; in constant memory."""

    def __init__(self) -> None:
        self._first: datetime | None = None
        self._count, self._total, self._last = 0, 0, 0.0
        self._x = self._xx = self._y = self._xy = 0.0

    def add(self, at: datetime, added: int) -> None:
        """Add a backup; each is not older than the one before."""
        self._first = self._first or at
        day = (at - self._first).total_seconds() / _DAY
        self._count, self._total, self._last = self._count + 1, self._total + added, day
        self._x, self._xx = self._x + day, self._xx + day * day
        self._y, self._xy = self._y + self._total, self._xy + day * self._total

    def rate(self) -> Rate:
        """Return the sum and the slope."""
        if self._count < LEAST_BACKUPS or self._last < LEAST_DAYS:
            return Rate(self._count, self._total, None)
        spread = self._count * self._xx - self._x * self._x
        slope = (self._count * self._xy - self._x * self._y) / spread
        return Rate(self._count, self._total, max(0.0, slope))


class _Table:
    def __init__(self) -> None:
        self.line, self.bytes = _Line(), 0


def check_capacity(capacity: int | None) -> None:
    """Raise unless a capacity is a number of bytes.

    :raises InvalidValue: for one below 1.
    """
    if capacity is not None and capacity < 1:
        raise InvalidValue(f"the capacity is {capacity} bytes; use 1 or more")


def growth(
    cluster: str,
    until: datetime,
    added: Iterable[Added],
    stored: Stored | None,
    capacity: int | None = None,
) -> Growth:
    """Return the growth from what backups added, the oldest first, each with all of its tables.

    ``capacity`` is how much the store can hold for the cluster; without it the quota counts.

    :raises InvalidValue: for a capacity below 1.
    """
    check_capacity(capacity)
    whole, tables = _Line(), dict[tuple[str, str], _Table]()
    last: Added | None = None
    new = 0
    for each in added:
        if last is not None and each.backup_id != last.backup_id:
            whole.add(last.ended, new)
            new = 0
        table = tables.setdefault((each.of.keyspace, each.of.table), _Table())
        table.line.add(each.ended, each.of.new)
        table.bytes = each.of.bytes
        last, new = each, new + each.of.new
    if last is not None:
        whole.add(last.ended, new)
    rate = whole.rate()
    found = [TableGrowth(*name, table.bytes, table.line.rate()) for name, table in tables.items()]
    found.sort(key=lambda t: (-t.rate.added, t.keyspace, t.table))
    since = until - timedelta(days=DAYS)
    forecast = _forecast(rate, until, stored, capacity)
    missing = _missing(rate, stored)
    return Growth(cluster, since, until, rate, tuple(found), stored, forecast, missing)


def _missing(rate: Rate, stored: Stored | None) -> str:
    if rate.per_day is None:
        return (
            f"not enough data: {rate.backups} backups with recorded tables in {DAYS} days; "
            f"{LEAST_BACKUPS} over {LEAST_DAYS:g} days are needed"
        )
    if stored is None:
        return "what is stored is not known; run repository show or repository collect once"
    return ""


def _forecast(
    rate: Rate, until: datetime, stored: Stored | None, capacity: int | None
) -> Forecast | None:
    if rate.per_day is None or stored is None:
        return None
    # What backups added since the store was looked at is estimated too.
    now = stored.bytes + rate.per_day * (until - stored.at).total_seconds() / _DAY
    limit = stored.quota if capacity is None else capacity
    left = None
    if limit is not None and (rate.per_day > 0 or now >= limit):
        left = max(0.0, (limit - now) / rate.per_day) if now < limit else 0.0
    near, far = (round(now + days * rate.per_day) for days in (_NEAR, _FAR))
    return Forecast(near, far, limit, left)

# SPDX-License-Identifier: Apache-2.0
"""Planned times of a cron expression in a time zone, over changes of daylight saving time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from magnetodb_backup.errors import InvalidValue

_EXAMPLE = "write five fields: minute, hour, day of month, month, day of week, e.g. '0 2 * * *'"
_LONGEST_CRON, _LONGEST_ZONE = 255, 64
_SEARCHED_FROM = datetime(2024, 1, 1, tzinfo=timezone.utc)
# Names that Python finds but that mean another zone on each machine, or none.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})
# How far before a moment its latest planned time is searched first: most have one in the last
# hour or day, and an expression can have a time in every minute.
_LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=367))


@dataclass(frozen=True)
class Timetable:
    """A cron expression of five fields and the name of a time zone.

    An expression for every hour (``30 * * * *``) follows elapsed time: it has 23 or 25 runs on the
    days on which clocks change. Every other expression follows the clock on the wall: a time that
    clocks skip is planned once, for the end of the gap, and a time that clocks show twice is
    planned once, for the first of the two. Methods take and return aware times; they raise
    InvalidValue if the expression or the zone is not valid.
    """

    cron: str
    zone: str

    def check(self) -> None:
        """Check the expression and the zone.

        :raises InvalidValue: naming the wrong one, also if the expression has no time at all.
        """
        self._zone()
        next_one = next(self.after(datetime(2000, 1, 1, tzinfo=timezone.utc)), None)
        if next_one is None:
            raise InvalidValue(f"cron {self.cron!r} matches no date; {_EXAMPLE}")

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the planned times later than ``moment``, in UTC, each once and in order.

        It ends if there is none for 50 years.
        """
        last = moment.astimezone(timezone.utc)
        zone = self._zone()
        for planned in self._matches(last.astimezone(zone), zone):
            if planned > last:  # what clocks skip collapses; what they repeat has passed
                last = planned
                yield planned

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """Return the last planned time later than ``after`` and not later than ``until``."""
        for span in (*_LOOK_BACK, until - after):
            start = max(after, until - span)
            found = None
            for planned in self.after(start):
                if planned > until:
                    break
                found = planned
            if found is not None or start <= after:
                return found
        return None  # pragma: no cover - the last span reaches back to ``after``

    def fewest(self, days: int) -> int:
        """Return how many planned times so many days have at least, change of clocks apart.

        It is found in three years that begin with 2024, a leap year.
        """
        fields = self.cron.split()
        parsed = CronSim(self.cron, _SEARCHED_FROM)
        end, span = _SEARCHED_FROM + timedelta(days=1096), timedelta(days=days)
        waiting, fewest = deque[datetime](), days
        for day in Timetable(f"0 0 {' '.join(fields[2:])}", "UTC").after(_SEARCHED_FROM):
            while waiting and day > waiting[0] + span:
                waiting.popleft()
                fewest = min(fewest, len(waiting))
            if day > end:
                break
            waiting.append(day)
        return fewest * len(parsed.minutes) * len(parsed.hours)

    def local(self, moment: datetime) -> datetime:
        """Return a moment in the schedule's zone."""
        return moment.astimezone(self._zone())

    def _matches(self, start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Yield matching moments in UTC, perhaps too early ones and some twice."""
        fields = self.cron.split()
        try:
            if len(fields) != 5 or len(self.cron) > _LONGEST_CRON:
                raise CronSimError("wrong number of fields")
            parsed = CronSim(self.cron, start)
        except CronSimError as error:
            reason = str(error)[:1].lower() + str(error)[1:]
            raise InvalidValue(f"cron is {self.cron!r} ({reason}); {_EXAMPLE}") from None
        days = " ".join(fields[2:])
        if len(parsed.hours) == 24:
            # The library jumps from one matching minute to the next by the clock on the wall, and
            # so passes over some where clocks change by half an hour: it is asked for every minute.
            for found in CronSim(f"* * {days}", start):
                planned = found.astimezone(timezone.utc)
                if planned.astimezone(zone).minute in parsed.minutes:
                    yield planned
            return
        # Written without a star, minutes and hours follow the clock on the wall: the library moves
        # what clocks skip to the end of the gap, and takes the first of what they show twice.
        minutes, hours = _listed(parsed.minutes), _listed(parsed.hours)
        for found in CronSim(f"{minutes} {hours} {days}", start):
            yield found.astimezone(timezone.utc)

    def _zone(self) -> ZoneInfo:
        try:
            if self.zone in _NO_ZONES or len(self.zone) > _LONGEST_ZONE:
                raise ValueError
            return ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):  # of a directory, too
            raise InvalidValue(
                f"zone is {self.zone!r}, which is no time zone; use a name of the IANA database, "
                "for example UTC or Europe/Berlin"
            ) from None


def _listed(numbers: set[int]) -> str:
    return ",".join(map(str, sorted(numbers)))

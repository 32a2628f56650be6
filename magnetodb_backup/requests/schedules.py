# SPDX-License-Identifier: Apache-2.0
"""The rules of requests for schedules; those for the backups of each run are in ``backups``."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import islice, pairwise

from magnetodb_backup.domain.backup.records import check_backup_name
from magnetodb_backup.domain.schedule.records import ScheduleRequest, Timing
from magnetodb_backup.errors import InvalidValue

_LONGEST_NAME = 200  # the names of its backups end with a time
_DAY, _WEEK = 86400, 7 * 86400
_SHORTEST_FINISH = 60
_LOOKED_AT = 200  # planned times between which the shortest interval is searched


def check_request(request: ScheduleRequest) -> None:
    """Check the name and the timing.

    :raises InvalidValue: naming the value and what to use instead.
    """
    if not request.name or len(request.name) > _LONGEST_NAME:
        raise InvalidValue(
            f"the name of a schedule has 1 to {_LONGEST_NAME} characters, this one has "
            f"{len(request.name)}"
        )
    check_backup_name(request.name)
    check_timing(request.timing)


def check_timing(timing: Timing) -> None:
    """Check an expression, a zone and the windows.

    :raises InvalidValue: naming the value and what to use instead.
    """
    timing.timetable.check()
    _check_between("jitter", timing.jitter, 0, _DAY)
    _check_between("begin_within", timing.begin_within, 1, _WEEK)
    if timing.finish_within is not None:
        _check_between("finish_within", timing.finish_within, _SHORTEST_FINISH, _WEEK)
    shortest = _shortest_interval(timing)
    if timing.jitter >= shortest:
        raise InvalidValue(
            f"jitter is {timing.jitter} s, but two runs of cron {timing.cron!r} are only "
            f"{shortest:.0f} s apart; use a smaller jitter"
        )


def _check_between(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidValue(f"{name} is {value} s; use {least} to {most}")


def _shortest_interval(timing: Timing) -> float:
    """Return the shortest time in seconds between planned times, among the first of 2024."""
    begin = datetime(2024, 1, 1, tzinfo=timezone.utc)
    planned = islice(timing.timetable.after(begin), _LOOKED_AT)
    intervals = ((b - a).total_seconds() for a, b in pairwise(planned))
    return min(intervals, default=float("inf"))

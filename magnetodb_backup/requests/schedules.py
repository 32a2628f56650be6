# SPDX-License-Identifier: Apache-2.0
"""The rules of requests for schedules; those for the backups of each run are in ``backups``."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from datetime import datetime, timezone
from itertools import islice, pairwise

from magnetodb_backup.domain.backup.records import BackupRequest, check_backup_name
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.domain.retention.policy import check_policy
from magnetodb_backup.domain.schedule.actions import Action, Verifying
from magnetodb_backup.domain.schedule.records import ScheduleRequest, Timing
from magnetodb_backup.errors import InvalidValue
from magnetodb_backup.requests.verifications import check_sample

_LONGEST_NAME = 200  # the names of its backups end with a time
_DAY, _WEEK = 86400, 7 * 86400
_SHORTEST_FINISH = 60
_LOOKED_AT = 200  # planned times between which the shortest interval is searched
_WHOLE = 10_000  # hundredths of a percent
_MOST_DAYS = 366
_NO_BACKUP = BackupRequest({})


def checked_request(request: ScheduleRequest) -> ScheduleRequest:
    """Check the name, the timing and the options of the action; return the request.

    With a number of days in which all data is to be read, the sample of each run is set.

    :raises InvalidValue: naming the value and what to use instead.
    """
    if not request.name or len(request.name) > _LONGEST_NAME:
        raise InvalidValue(
            f"the name of a schedule has 1 to {_LONGEST_NAME} characters, this one has "
            f"{len(request.name)}"
        )
    check_backup_name(request.name)
    check_timing(request.timing)
    _check_action(request)
    return replace(request, verify=_checked_verifying(request))


def _check_action(request: ScheduleRequest) -> None:
    """Check that the options are those of the action."""
    action, own = request.action, request.retention
    if action is Action.BACKUP:
        if not request.backup.scope:
            raise InvalidValue("a schedule of backups needs a scope: what each run backs up")
        if own is not None:
            check_policy(own)
        return
    given = sorted(
        f.name
        for f in fields(BackupRequest)
        if f.name not in ("name", "cluster")
        and getattr(request.backup, f.name) != getattr(_NO_BACKUP, f.name)
    )
    given += ["retention"] if own is not None else []
    if action is not Action.VERIFY and request.verify is not None:
        given += [name for name in ("verify", "sample", "each_in") if _is_given(request, name)]
    if given:
        raise InvalidValue(
            f"{', '.join(given)} cannot be used for a schedule whose action is {action.value}; "
            "leave it out"
        )


def _is_given(request: ScheduleRequest, name: str) -> bool:
    assert request.verify is not None
    return bool(getattr(request.verify, "rungs" if name == "verify" else name))


def _checked_verifying(request: ScheduleRequest) -> Verifying | None:
    """Return what is verified, with the sample that follows from a number of days."""
    verify = request.verify
    if verify is None:
        return None
    if verify.each_in is not None:
        if request.action is not Action.VERIFY:
            raise InvalidValue(
                "each_in is only for schedules whose action is verify; give a sample instead"
            )
        verify = replace(verify, sample=_sample_of(request.timing, verify.each_in))
    sampled = verify.sample if verify.each_in is None else float(verify.each_in)
    check_sample(verify.wanted, sampled, None)
    if verify.sample is not None:
        verify = replace(verify, sample=Sample.of(verify.sample, 0).percent)
    return verify


def _sample_of(timing: Timing, days: int) -> float | None:
    """Return the percentage by which the runs of so many days read all data, None for all of it.

    :raises InvalidValue: if there are so many days without a run.
    """
    if not 1 <= days <= _MOST_DAYS:
        raise InvalidValue(f"each_in is {days} days; use 1 to {_MOST_DAYS}")
    runs = timing.timetable.fewest(days)
    if runs == 0:
        raise InvalidValue(
            f"each_in is {days} days, but cron {timing.cron!r} has intervals that are longer; use "
            "more days"
        )
    return None if runs == 1 else max(1, math.ceil(_WHOLE / runs)) / 100


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

# SPDX-License-Identifier: Apache-2.0
"""Retention policies of clusters and schedules, and the reasons that keep a backup."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from magnetodb_backup.errors import InvalidValue

_LARGEST = 10_000
_LONGEST_REASON = 1000  # characters
UTC = "UTC"


class Rule(str, enum.Enum):
    """What keeps a backup, each with one word."""

    KEPT = "kept"
    REDUNDANCY = "redundancy"
    WINDOW = "window"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"
    FLOOR = "floor"
    FAILED = "failed"
    UNLIMITED = "unlimited"


@dataclass(frozen=True)
class Policy:
    """What is kept of the backups of each scope; a rule of 0 keeps nothing.

    ``redundancy`` is a number of restorable backups; ``window_days`` the length of the recovery
    window in days; ``daily`` to ``yearly`` numbers of days, weeks, months and years of
    ``time_zone``, an IANA name; ``floor`` the number of restorable backups that remain in any
    case; ``failed_days`` for how many days failed and cancelled backups are shown.
    """

    redundancy: int = 0
    window_days: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    floor: int = 1
    failed_days: int = 7
    time_zone: str = UTC


COUNTS = ("redundancy", "window_days", "daily", "weekly", "monthly", "yearly")


@dataclass(frozen=True)
class ClusterPolicy:
    """The policy of a cluster as it is recorded."""

    cluster: str
    policy: Policy
    created_at: datetime
    updated_at: datetime


def policy_from_json(stored: Mapping[str, Any]) -> Policy:
    """Return a stored policy; fields that a newer version stored are left out."""
    known = {f.name for f in fields(Policy)}
    return Policy(**{name: value for name, value in stored.items() if name in known})


def check_policy(policy: Policy) -> None:
    """Check the numbers and the time zone.

    :raises InvalidValue: naming the value and what is possible.
    """
    for name in (*COUNTS, "failed_days", "floor"):
        lowest = 1 if name == "floor" else 0
        value = getattr(policy, name)
        if not lowest <= value <= _LARGEST:
            raise InvalidValue(f"{name} is {value}; use {lowest} to {_LARGEST}")
    if not any(getattr(policy, name) for name in COUNTS):
        raise InvalidValue(
            f"the policy keeps nothing; set one or more of {', '.join(COUNTS)} to 1 or more"
        )
    zone_of(policy.time_zone)


def zone_of(name: str) -> tzinfo:
    """Return the time zone of an IANA name.

    :raises InvalidValue: if the machine does not know it.
    """
    if name == UTC:
        return timezone.utc  # which no machine lacks
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise InvalidValue(
            f"there is no time zone {name!r}; use a name like Europe/Berlin, and install tzdata "
            "where the service runs"
        ) from None


def check_reason(reason: str) -> None:
    """Check the reason for which a backup is kept.

    :raises InvalidValue: if it is empty or too long.
    """
    if not reason.strip():
        raise InvalidValue("the reason is empty; say why the backup is to be kept")
    if len(reason) > _LONGEST_REASON or any(ord(c) < 32 for c in reason):
        raise InvalidValue(
            f"the reason has {len(reason)} characters; write one line of at most {_LONGEST_REASON}"
        )

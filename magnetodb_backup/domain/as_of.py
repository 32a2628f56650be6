# SPDX-License-Identifier: Apache-2.0
"""The moment whose state of the store a verification, a restore or a rebuild reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from magnetodb_backup.errors import InvalidValue

PARAMETER = "as_of"  # of a job


def parse_as_of(text: str) -> datetime:
    """Return the moment that ISO 8601 describes, in UTC; a text without an offset is UTC.

    :raises InvalidValue: for another text.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidValue(
            f"{text!r} is not a time; write it as ISO 8601 in UTC, such as 2026-11-30T12:00:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)


def check_as_of(moment: datetime, now: datetime) -> None:
    """Raise InvalidValue for a moment after ``now``: what is then is not known."""
    if moment > now:
        raise InvalidValue(
            f"{moment.isoformat()} is in the future; use a time in the past, in UTC (now it is "
            f"{now.isoformat(timespec='seconds')})"
        )


def as_of_in(parameters: Mapping[str, Any]) -> datetime | None:
    """Return the moment in the parameters of a job; None if the job reads the present store."""
    text = parameters.get(PARAMETER)
    return parse_as_of(text) if text else None

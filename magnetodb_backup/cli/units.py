# SPDX-License-Identifier: Apache-2.0
"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import datetime, timezone

from rich.filesize import decimal


def size(count: float) -> str:
    """Return a number of bytes with a unit, for example ``1.5 MB``."""
    return decimal(int(count))


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1: ``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return seconds as ``0.4 s``, ``12 s``, ``3 min 5 s`` or ``2 h 10 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def moment(time: datetime | None) -> str:
    """Return a time in UTC to the second, an empty text for None."""
    return "" if time is None else f"{time.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def share(part: float, whole: float) -> str:
    """Return a part in percent of the whole, an empty text if there is no whole."""
    return f"{100 * part / whole:.0f} %" if whole else ""

# SPDX-License-Identifier: Apache-2.0
"""The readable form of the growth of a cluster's backups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from magnetodb_backup.cli.units import count, size
from magnetodb_backup.domain.backup.growth import DAYS

_SHOWN = 20  # tables, those that grow most


def growth_fields(growth: Mapping[str, Any]) -> dict[str, str]:
    """Return what a table shows of a growth; empty values are left out there."""
    forecast = growth["forecast"]
    return {
        f"added in {DAYS} days": _rate(growth),
        "added by table": "\n".join(_tables(growth["tables"])),
        "forecast": "\n".join(_forecast(forecast)) if forecast else growth["missing"],
    }


def _rate(rate: Mapping[str, Any]) -> str:
    per_day = rate["per_day"]
    daily = "not enough data for a rate" if per_day is None else f"{size(per_day)} a day"
    return f"{size(rate['added'])} by {count(rate['backups'], 'backup')}, {daily}"


def _tables(tables: list[Mapping[str, Any]]) -> Iterator[str]:
    for table in tables[:_SHOWN]:
        yield f"{table['table']}: {_rate(table)}"
    if more := tables[_SHOWN:]:
        rest = size(sum(table["added"] for table in more))
        yield f"{count(len(more), 'more table')}: {rest}; see --long"


def _forecast(forecast: Mapping[str, Any]) -> Iterator[str]:
    near, far = size(forecast["in_30_days"]), size(forecast["in_90_days"])
    yield f"{near} in 30 days, {far} in 90 days, if nothing is removed"
    if (capacity := forecast["capacity"]) is None:
        return
    left = forecast["days_left"]
    full = "not full: nothing is added" if left is None else f"full in {count(int(left), 'day')}"
    yield f"{full}, at {size(capacity)}"

# SPDX-License-Identifier: Apache-2.0
"""The form of growth in the REST API and in ``-f json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from magnetodb_backup.domain.backup.growth import Growth, Rate
from magnetodb_backup.domain.backup.views import time_view


def growth_view(growth: Growth) -> dict[str, Any]:
    """Return the fields of a growth."""
    stored, forecast = growth.stored, growth.forecast
    return {
        "cluster": growth.cluster,
        "since": time_view(growth.since),
        "until": time_view(growth.until),
        **_rate(growth.rate),
        "tables": [
            {"table": f"{t.keyspace}.{t.table}", "bytes": t.bytes, **_rate(t.rate)}
            for t in growth.tables
        ],
        "stored": {**asdict(stored), "at": time_view(stored.at)} if stored else None,
        "forecast": asdict(forecast) if forecast else None,
        "missing": growth.missing,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    per_day = None if rate.per_day is None else round(rate.per_day)
    return {"backups": rate.backups, "added": rate.added, "per_day": per_day}

# SPDX-License-Identifier: Apache-2.0
"""Schedules for tests."""

from __future__ import annotations

from typing import Any

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.schedule.records import Schedule, ScheduleRequest, ScheduleRun

CLUSTER = "Test Cluster"
BODY: dict[str, Any] = {"name": "nightly", "cron": "0 2 * * *", "scope": {"type": "all"}}


def scheduled(database: Database, cluster: str = CLUSTER, **fields: Any) -> Schedule:
    """Record a schedule for two o'clock, or with other fields of a request."""
    return database.schedules.create(ScheduleRequest.from_json({**BODY, **fields}), cluster)


def runs_of(database: Database, schedule: Schedule) -> tuple[ScheduleRun, ...]:
    """Return the runs of a schedule, latest first."""
    return database.schedules.state(schedule.id, runs=10_000).runs


def backups_of(database: Database) -> tuple[Backup, ...]:
    """Return all backups, the oldest first."""
    return database.backups.list(sort="created_at:asc", include_deleted=True)

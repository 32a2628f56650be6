# SPDX-License-Identifier: Apache-2.0
"""Settings of each kind, and their copies, for tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.records import Missed, Overlap, ScheduleStatus, Timing
from magnetodb_backup.domain.settings.records import (
    MarkSetting,
    PolicySetting,
    ScheduleSetting,
    Setting,
    SettingCopy,
    SettingKey,
    SettingKind,
    generation_at,
)

CLUSTER = "Test Cluster"
ID, OTHER_ID = "3b0d5a52-7c0b-4a53-8f0e-6a1f0c2d9e77", "5c1d5a52-7c0b-4a53-8f0e-6a1f0c2d9e78"
THEN = datetime(2026, 12, 1, 3, 4, 5, 678901, timezone.utc)
POLICY = Policy(1, 2, 3, 4, 5, 6, floor=2, failed_days=0, time_zone="Europe/Berlin")
SCHEDULE = ScheduleSetting(
    ID, "nightly 🐘", CLUSTER, ScheduleStatus.ACTIVE,
    Timing("30 2 * * *", "Europe/Berlin", 60, 7200, 14400, Overlap.SKIP, Missed.SKIP),
    BackupRequest(
        {"type": "keyspaces", "keyspaces": ["k"]}, "", CLUSTER, "full", True, "mark", True, ("dc1",)
    ),
    THEN, THEN + timedelta(hours=1),
)  # fmt: skip
SETTINGS: dict[SettingKind, Setting] = {
    SettingKind.SCHEDULE: SCHEDULE,
    SettingKind.POLICY: PolicySetting(OTHER_ID, POLICY, THEN, THEN),
    SettingKind.MARK: MarkSetting("before the migration", THEN),
}


def key_of(kind: SettingKind, subject: str = ID, cluster: str = CLUSTER) -> SettingKey:
    """Return the key of a setting; that of a policy has the cluster's name."""
    return SettingKey(kind, cluster if kind is SettingKind.POLICY else subject, cluster)


def copy_of(kind: SettingKind, seconds: float = 0, **changes: Any) -> SettingCopy:
    """Return the copy of a setting that was changed so many seconds after ``THEN``."""
    setting = replace(SETTINGS[kind], **changes)
    return SettingCopy(key_of(kind), generation_at(THEN + timedelta(seconds=seconds)), setting)

# SPDX-License-Identifier: Apache-2.0
"""Settings that users have made: schedules, retention policies, and marks of kept backups.

The store has a copy of each, so that a lost database loses none. Times are aware, in UTC.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, TypeAlias

import msgspec

from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.actions import Action, Verifying
from magnetodb_backup.domain.schedule.records import Schedule, ScheduleStatus, Timing

_SECOND = 1_000_000  # generations
LATEST = 250_000_000_000 * _SECOND  # in the year 9892
AwareTime: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]


class SettingKind(str, enum.Enum):
    """What a setting is."""

    SCHEDULE = "schedule"
    POLICY = "policy"
    MARK = "mark"


@dataclass(frozen=True)
class SettingKey:
    """Identifies a setting.

    ``subject`` is the ID of the schedule or of the kept backup; of a policy, the cluster's name.
    """

    kind: SettingKind
    subject: str
    cluster: str


@dataclass(frozen=True)
class ScheduleSetting:
    """A schedule, without what it has done."""

    id: str
    name: str
    cluster: str
    status: ScheduleStatus
    timing: Timing
    backup: BackupRequest
    created_at: AwareTime
    updated_at: AwareTime
    action: Action = Action.BACKUP
    verify: Verifying | None = None
    retention: Policy | None = None

    @classmethod
    def of(cls, schedule: Schedule) -> ScheduleSetting:
        """Return the setting of a schedule."""
        return cls(
            schedule.id, schedule.name, schedule.cluster, schedule.status, schedule.timing,
            schedule.backup, schedule.created_at, schedule.updated_at,
            schedule.action, schedule.verify, schedule.retention,
        )  # fmt: skip

    def schedule(self, planned_until: datetime) -> Schedule:
        """Return the schedule, whose planned times up to ``planned_until`` do not count."""
        return Schedule(
            self.id, self.name, self.cluster, self.status, self.timing, self.backup,
            planned_until, self.created_at, self.updated_at,
            self.action, self.verify, self.retention,
        )  # fmt: skip


@dataclass(frozen=True)
class PolicySetting:
    """The retention policy of a cluster."""

    id: str
    policy: Policy
    created_at: AwareTime
    updated_at: AwareTime


@dataclass(frozen=True)
class MarkSetting:
    """Why a backup is to be kept for ever, and since when."""

    reason: str
    kept_at: AwareTime


Setting: TypeAlias = ScheduleSetting | PolicySetting | MarkSetting
CLASSES: dict[SettingKind, type[ScheduleSetting] | type[PolicySetting] | type[MarkSetting]] = {
    SettingKind.SCHEDULE: ScheduleSetting,
    SettingKind.POLICY: PolicySetting,
    SettingKind.MARK: MarkSetting,
}


@dataclass(frozen=True)
class SettingCopy:
    """A setting at one generation; ``setting`` is None once it is removed."""

    key: SettingKey
    generation: int
    setting: Setting | None

    @property
    def changed_at(self) -> datetime:
        """When the setting was changed to this."""
        return time_of(self.generation)


def generation_at(moment: datetime, before: int = 0) -> int:
    """Return the generation of a change at ``moment``, after the generation ``before``.

    It is the time in microseconds since 1970, so that the generations of a database and of the one
    that replaces it compare; a clock that was set back makes no older generation.
    """
    seconds = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds()
    return max(before + 1, round(seconds * _SECOND))


def time_of(generation: int) -> datetime:
    """Return the time of a generation from 0 to ``LATEST``."""
    return datetime.fromtimestamp(generation / _SECOND, timezone.utc)

# SPDX-License-Identifier: Apache-2.0
"""Which wins if a setting is both recorded and in the store: the later change."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from magnetodb_backup.domain.settings.records import Setting, SettingCopy, time_of


@dataclass(frozen=True)
class RecordedSetting:
    """A setting as it is recorded; its generation is 0 if no change was ever recorded."""

    generation: int
    setting: Setting | None

    @property
    def changed_at(self) -> datetime:
        """When the record was last changed."""
        return time_of(self.generation)


class Verdict(enum.Enum):
    """What a rebuild does about a copy."""

    NOTHING = "neither the store nor the database has the setting, or only its removal is newer"
    ADD = "the setting is not recorded"
    SAME = "the record is the same"
    CHANGE = "the copy is newer than the record"
    OLDER = "the record is another one, and not older than the copy"
    REMOVED = "the removal of a recorded setting is newer than the record"


def judge(copy: SettingCopy, recorded: RecordedSetting) -> Verdict:
    """Compare a copy with the record of the same setting."""
    newer = copy.generation > recorded.generation
    if recorded.setting is None:
        return Verdict.ADD if newer and copy.setting is not None else Verdict.NOTHING
    if copy.setting == recorded.setting:
        return Verdict.SAME
    if not newer:
        return Verdict.OLDER
    return Verdict.REMOVED if copy.setting is None else Verdict.CHANGE

# SPDX-License-Identifier: Apache-2.0
"""Brings schedules, retention policies and marks back from their copies in the store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from magnetodb_backup.domain.retention.policy import check_policy, check_reason
from magnetodb_backup.domain.schedule.actions import Action
from magnetodb_backup.domain.schedule.decision import next_due
from magnetodb_backup.domain.schedule.records import ScheduleStatus
from magnetodb_backup.domain.settings.judging import RecordedSetting, Verdict
from magnetodb_backup.domain.settings.records import (
    MarkSetting,
    PolicySetting,
    ScheduleSetting,
    Setting,
    SettingCopy,
    SettingKey,
    SettingKind,
    time_of,
)
from magnetodb_backup.errors import Conflict, FormatProblem, Permanent
from magnetodb_backup.repository.settings import StoredSettings, UnreadableSetting
from magnetodb_backup.repository.stored_backups import StoredBackups
from magnetodb_backup.requests import backups, schedules
from magnetodb_backup.requests.rebuild_finding import ADDED, WOULD_BE_ADDED, Finding

if TYPE_CHECKING:
    from magnetodb_backup.database import SettingStore

_UNREADABLE_MARK = "the copy of its mark in the store cannot be read, see catalogue rebuild"
# Policies come last: what they let expire must have its mark, if it has one.
_ORDER = (SettingKind.SCHEDULE, SettingKind.MARK, SettingKind.POLICY)
_REMEDIES = {
    SettingKind.SCHEDULE: "schedule delete removes it, schedule set keeps it",
    SettingKind.MARK: "backup unkeep removes it, backup keep keeps it",
    SettingKind.POLICY: "retention clear removes it, retention set keeps it",
}


@dataclass(frozen=True)
class FoundSettings:
    """The copies of a cluster's settings, in the order in which they are to be recorded."""

    copies: tuple[SettingCopy, ...]
    unreadable: tuple[UnreadableSetting, ...]

    @property
    def marks(self) -> Mapping[str, MarkSetting]:
        """The marks of backups, by their IDs.

        A backup whose mark cannot be read is kept: nothing else is safe.
        """
        marks = {
            found.key.subject: MarkSetting(_UNREADABLE_MARK, time_of(found.generation))
            for found in self.unreadable
            if found.key.kind is SettingKind.MARK
        }
        for copy in self.copies:
            if isinstance(copy.setting, MarkSetting):
                marks[copy.key.subject] = copy.setting
        return marks

    def __bool__(self) -> bool:
        return bool(self.copies or self.unreadable)


class SettingRebuild:
    """Records the settings that the store has; may be repeated.

    The later change wins, in the store or in the database. Nothing is removed. Without
    ``with_schedules`` there are none: another service may run them.
    """

    def __init__(
        self,
        settings: SettingStore,
        stored: StoredBackups,
        *,
        dry_run: bool = False,
        with_schedules: bool = True,
    ) -> None:
        self._settings, self._stored, self._dry_run = settings, stored, dry_run
        left_out = () if with_schedules else (SettingKind.SCHEDULE,)
        self._kinds = [kind for kind in _ORDER if kind not in left_out]

    def read(self, cluster: str) -> FoundSettings:
        """Return what the store has; a copy with a value that is not valid is unreadable."""
        copies: list[SettingCopy] = []
        unreadable: list[UnreadableSetting] = []
        for found in StoredSettings(self._stored.driver, self._stored.prefix, cluster).newest():
            if found.key.kind not in self._kinds:
                continue
            if isinstance(found, UnreadableSetting):
                unreadable.append(found)
                continue
            try:
                _check(found)
                copies.append(found)
            except Permanent as error:
                unreadable.append(UnreadableSetting(found.key, found.generation, str(error)))
        copies.sort(key=lambda copy: self._kinds.index(copy.key.kind))
        return FoundSettings(tuple(copies), tuple(unreadable))

    def findings(
        self, cluster: str, found: FoundSettings, new_backups: Collection[str]
    ) -> Iterator[Finding]:
        """Record the settings of a cluster; yield what was done about each.

        The marks of ``new_backups`` have been recorded with them, or would be in a dry run.
        """
        for unreadable in found.unreadable:
            yield self._unreadable(unreadable)
        for copy in found.copies:
            try:
                verdict, recorded = self._settings.bring_back(copy, dry_run=self._dry_run)
            except Conflict as error:
                text = f"not added: {error}; give it another name (schedule set), then repeat"
                yield _finding(copy.key, copy.setting, text, doubtful=True)
                continue
            except Permanent as error:
                yield _finding(copy.key, copy.setting, f"unreadable: {error}", doubtful=True)
                continue
            if copy.key.kind is SettingKind.MARK and copy.key.subject in new_backups:
                verdict = Verdict.ADD if copy.setting is not None else Verdict.NOTHING
            if verdict is not Verdict.NOTHING:
                yield self._judged(copy, recorded, verdict)
        yield from self._without_copy(cluster, found)

    def _unreadable(self, found: UnreadableSetting) -> Finding:
        text = f"unreadable: {found.reason}"
        if found.key.kind is SettingKind.MARK:
            text += "; if its backup was not recorded, it is kept until backup unkeep"
        setting = self._settings.get(found.key)
        return _finding(found.key, setting, text, doubtful=True)

    def _without_copy(self, cluster: str, found: FoundSettings) -> Iterator[Finding]:
        have = {copy.key for copy in found.copies} | {other.key for other in found.unreadable}
        recorded = self._settings.recorded(cluster) - have
        order = sorted(recorded, key=lambda key: (_ORDER.index(key.kind), key.subject))
        for key in order:
            if key.kind in self._kinds:
                if not self._dry_run:
                    self._settings.copy_again(key)
                text = "known; the store has no copy, the conductor makes one"
                yield _finding(key, self._settings.get(key), text)

    def _judged(self, copy: SettingCopy, recorded: RecordedSetting, verdict: Verdict) -> Finding:
        times = f"{_text(copy.changed_at)}", f"{_text(recorded.changed_at)}"
        if verdict is Verdict.ADD:
            text = (WOULD_BE_ADDED if self._dry_run else ADDED) + _runs(copy.setting)
            return _finding(copy.key, copy.setting, text)
        if verdict is Verdict.CHANGE:
            done = "would be changed" if self._dry_run else "changed"
            text = "{}: the copy in the store, of {}, is newer than the record, of {}{}".format(
                done, *times, _runs(copy.setting)
            )
            return _finding(copy.key, copy.setting, text)
        if verdict is Verdict.OLDER:
            text = (
                "known; the copy in the store, of {}, is not newer than the record, of {}, which "
                "stays; the conductor copies it"
            ).format(*times)
            return _finding(copy.key, recorded.setting, text)
        if verdict is Verdict.REMOVED:
            text = (
                "known, but the store has its removal, of {}, which is newer than the record, of "
                "{}; {}"
            ).format(*times, _REMEDIES[copy.key.kind])
            return _finding(copy.key, recorded.setting, text, doubtful=True)
        return _finding(copy.key, recorded.setting, "known")


def _check(copy: SettingCopy) -> None:
    """Check the values of a setting as those of a request, because the store is not trusted.

    :raises InvalidValue: naming the value.
    :raises FormatProblem: if the setting is that of another copy.
    """
    setting, key = copy.setting, copy.key
    if isinstance(setting, ScheduleSetting):
        if (setting.id, setting.cluster) != (key.subject, key.cluster):
            raise FormatProblem(
                f"the copy of schedule {key.subject} is one of schedule {setting.id!r} of cluster "
                f"{setting.cluster!r}; another program changed it"
            )
        schedules.checked_request(setting.schedule(setting.updated_at).as_request())
        if setting.action is Action.BACKUP:
            backups.check_request(setting.backup)
    elif isinstance(setting, PolicySetting):
        check_policy(setting.policy)
    elif isinstance(setting, MarkSetting):
        check_reason(setting.reason)


def _runs(setting: Setting | None) -> str:
    """Say when a schedule that came back runs."""
    if not isinstance(setting, ScheduleSetting):
        return ""
    if setting.status is ScheduleStatus.PAUSED:
        return "; it is paused, as before"
    now = datetime.now(timezone.utc)
    due = next_due(setting.schedule(now), now)
    when = f"it runs next at {_text(due)}" if due else "it never runs again"
    return f"; {when}, and runs that were missed are not made up"


def _finding(
    key: SettingKey, setting: Setting | None, result: str, *, doubtful: bool = False
) -> Finding:
    id_, name, status, created_at = key.subject, "", "", None
    if isinstance(setting, ScheduleSetting):
        name, status, created_at = setting.name, setting.status.value, setting.created_at
    elif isinstance(setting, PolicySetting):
        id_, created_at = setting.id, setting.created_at
    elif isinstance(setting, MarkSetting):
        created_at = setting.kept_at
    return Finding(id_, key.cluster, result, doubtful, name, status, created_at, key.kind.value)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"

# SPDX-License-Identifier: Apache-2.0
"""The settings that the store has copies of: which to copy, and how they come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from sqlalchemy import select, tuple_, update
from sqlalchemy.orm import Session

from magnetodb_backup.database.models import BackupRow
from magnetodb_backup.database.retention_guard import policy_of
from magnetodb_backup.database.schedule_runs import bring_back_runs
from magnetodb_backup.database.schedules import (
    columns_of,
    refuse_name,
    schedule_record,
    time_in,
)
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.database.setting_changes import add_copy_row, copy_row, record_change
from magnetodb_backup.database.setting_models import RetentionPolicyRow, ScheduleRow, SettingCopyRow
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.settings.judging import RecordedSetting, Verdict, judge
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


class SettingStore:
    """Reads settings of all kinds and brings them back; each method is one transaction.

    Tests set another ``clock``, in seconds since the epoch.
    """

    def __init__(self, transactions: Transactions, clock: Callable[[], float] | None) -> None:
        self._transactions, self._clock = transactions, clock

    def pending(self, limit: int, after: SettingKey | None = None) -> tuple[SettingCopy, ...]:
        """Return settings that have to be copied, as they are now, in the order of their keys."""

        def work(session: Session) -> tuple[SettingCopy, ...]:
            order = (SettingCopyRow.kind, SettingCopyRow.subject)
            query = select(SettingCopyRow).where(SettingCopyRow.pending.is_(True))
            if after is not None:
                query = query.where(tuple_(*order) > (after.kind.value, after.subject))
            rows = session.scalars(query.order_by(*order).limit(limit)).all()
            keys = [SettingKey(SettingKind(r.kind), r.subject, r.cluster) for r in rows]
            return tuple(
                SettingCopy(key, row.generation, _setting(session, key))
                for key, row in zip(keys, rows, strict=True)
            )

        return self._transactions.run(work)

    def copied(self, key: SettingKey, generation: int) -> None:
        """Record that the store has this generation; a newer one has to be copied still."""

        def work(session: Session) -> None:
            statement = update(SettingCopyRow).where(
                SettingCopyRow.kind == key.kind.value,
                SettingCopyRow.subject == key.subject,
                SettingCopyRow.generation == generation,
            )
            session.execute(statement.values(pending=False))

        self._transactions.write(work)

    def recorded(self, cluster: str) -> frozenset[SettingKey]:
        """Return the settings that a cluster has."""

        def work(session: Session) -> frozenset[SettingKey]:
            schedules = select(ScheduleRow.id).where(ScheduleRow.cluster == cluster)
            policies = select(RetentionPolicyRow.cluster).where(
                RetentionPolicyRow.cluster == cluster
            )
            exists = (BackupRow.status != BackupStatus.DELETED.value) | (
                BackupRow.undelete_until.is_not(None)
            )
            marks = select(BackupRow.id).where(
                BackupRow.cluster == cluster, BackupRow.kept_reason != "", exists
            )
            queries = {
                SettingKind.SCHEDULE: schedules,
                SettingKind.POLICY: policies,
                SettingKind.MARK: marks,
            }
            return frozenset(
                SettingKey(kind, subject, cluster)
                for kind, query in queries.items()
                for subject in session.scalars(query)
            )

        return self._transactions.run(work)

    def get(self, key: SettingKey) -> Setting | None:
        """Return a setting, or None."""
        return self._transactions.run(lambda session: _setting(session, key))

    def generation(self, key: SettingKey) -> int:
        """Return the generation of a setting, 0 if no change was ever recorded."""

        def work(session: Session) -> int:
            row = copy_row(session, key, lock=False)
            return 0 if row is None else row.generation

        return self._transactions.run(work)

    def copy_again(self, key: SettingKey) -> None:
        """Record that a setting has to be copied, whether the store has a copy or not."""

        def work(session: Session) -> None:
            row = copy_row(session, key, lock=True)
            if row is None:
                record_change(session, key.kind, key.subject, key.cluster)
            else:
                row.pending = True

        self._transactions.write(work)

    def bring_back(
        self, copy: SettingCopy, *, dry_run: bool = False
    ) -> tuple[Verdict, RecordedSetting]:
        """Record the setting of a copy, unless the record is the same or not older.

        Return what was decided, and the record before. A recorded setting whose removal is newer
        stays too. Missed runs of a schedule do not count.

        :raises Conflict: if another schedule has the name.
        """

        def work(session: Session) -> tuple[Verdict, RecordedSetting]:
            row = copy_row(session, copy.key, lock=not dry_run)
            recorded = _recorded(session, copy.key, row)
            verdict = judge(copy, recorded)
            if verdict in (Verdict.ADD, Verdict.CHANGE):
                if isinstance(copy.setting, ScheduleSetting):
                    refuse_name(session, copy.setting.name, copy.key.subject)
                elif copy.key.kind is SettingKind.MARK and not _has_backup(session, copy.key):
                    return Verdict.NOTHING, recorded
            if not dry_run:
                self._carry_out(session, copy, verdict, row)
            return verdict, recorded

        return self._transactions.write(work, serializable=True)

    def _carry_out(
        self, session: Session, copy: SettingCopy, verdict: Verdict, row: SettingCopyRow | None
    ) -> None:
        key = copy.key
        if verdict is Verdict.NOTHING and row is not None and copy.setting is not None:
            row.pending = True  # the store has not the removal
        if verdict is Verdict.OLDER:
            if row is None or row.generation == copy.generation:
                record_change(session, key.kind, key.subject, key.cluster)
            else:
                row.pending = True
        if verdict in (Verdict.ADD, Verdict.CHANGE):
            self._write(session, copy)
        if verdict in (Verdict.ADD, Verdict.CHANGE, Verdict.SAME):
            if row is None:
                add_copy_row(session, key, copy.generation, pending=False)
            elif row.generation <= copy.generation:
                row.generation, row.pending = copy.generation, False

    def _write(self, session: Session, copy: SettingCopy) -> None:
        if isinstance(copy.setting, ScheduleSetting):
            self._write_schedule(session, copy.setting)
        elif isinstance(copy.setting, PolicySetting):
            _write_policy(session, copy.key.cluster, copy.setting)
        elif isinstance(copy.setting, MarkSetting):
            marked = update(BackupRow).where(BackupRow.id == copy.key.subject)
            reason, kept_at = copy.setting.reason, copy.setting.kept_at
            session.execute(marked.values(kept_reason=reason, kept_at=kept_at))

    def _write_schedule(self, session: Session, setting: ScheduleSetting) -> None:
        schedule = setting.schedule(time_in(session, self._clock))
        row = session.get(ScheduleRow, schedule.id, with_for_update=True)
        if row is None:
            row = ScheduleRow(id=schedule.id, cluster=schedule.cluster)
            session.add(row)
        row.status, row.planned_until = schedule.status.value, schedule.planned_until
        row.created_at, row.updated_at = schedule.created_at, schedule.updated_at
        for name, value in columns_of(schedule.as_request()).items():
            setattr(row, name, value)
        bring_back_runs(session, schedule)


def _write_policy(session: Session, cluster: str, setting: PolicySetting) -> None:
    query = select(RetentionPolicyRow).where(RetentionPolicyRow.cluster == cluster)
    row = session.scalars(query.with_for_update()).first()
    if row is None:
        row = RetentionPolicyRow(id=setting.id, cluster=cluster)
        session.add(row)
    for name, value in asdict(setting.policy).items():
        setattr(row, name, value)
    row.created_at, row.updated_at = setting.created_at, setting.updated_at


def _recorded(session: Session, key: SettingKey, row: SettingCopyRow | None) -> RecordedSetting:
    setting = _setting(session, key)
    if row is not None:
        return RecordedSetting(row.generation, setting)
    if setting is None:
        return RecordedSetting(0, None)
    changed = setting.kept_at if isinstance(setting, MarkSetting) else setting.updated_at
    return RecordedSetting(generation_at(changed), setting)


def _setting(session: Session, key: SettingKey) -> Setting | None:
    if key.kind is SettingKind.SCHEDULE:
        row = session.get(ScheduleRow, key.subject)
        return None if row is None else ScheduleSetting.of(schedule_record(row))
    if key.kind is SettingKind.POLICY:
        query = select(RetentionPolicyRow).where(RetentionPolicyRow.cluster == key.cluster)
        found = session.scalars(query).first()
        if found is None:
            return None
        return PolicySetting(found.id, policy_of(found), found.created_at, found.updated_at)
    mark = session.execute(
        select(BackupRow.kept_reason, BackupRow.kept_at, BackupRow.updated_at).where(
            BackupRow.id == key.subject, BackupRow.cluster == key.cluster
        )
    ).first()
    if mark is None or not mark.kept_reason:
        return None
    return MarkSetting(mark.kept_reason, mark.kept_at or mark.updated_at)


def _has_backup(session: Session, key: SettingKey) -> bool:
    query = select(BackupRow.id).where(
        BackupRow.id == key.subject, BackupRow.cluster == key.cluster
    )
    return session.scalars(query).first() is not None

# SPDX-License-Identifier: Apache-2.0
"""Retention policies, the marks of backups to be kept, and what a policy decides now."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.models import BackupRow
from magnetodb_backup.database.records import now
from magnetodb_backup.database.retention_guard import (
    candidates,
    database_now,
    lock_policies,
    policies_of,
    policy_of,
)
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.database.setting_changes import record_change
from magnetodb_backup.database.setting_models import RetentionPolicyRow, ScheduleRow
from magnetodb_backup.domain.backup.status import BackupStatus, check_restorable
from magnetodb_backup.domain.retention.decide import Decision
from magnetodb_backup.domain.retention.policies import Policies, SchedulePolicy
from magnetodb_backup.domain.retention.policy import ClusterPolicy, Policy
from magnetodb_backup.domain.settings.records import SettingKind
from magnetodb_backup.errors import NotFound


@dataclass(frozen=True)
class Plan:
    """What the policies decide on a cluster's backups at a moment of the database's clock.

    ``policy`` is None if only schedules have one.
    """

    cluster: str
    policy: ClusterPolicy | None
    schedules: tuple[SchedulePolicy, ...]
    now: datetime
    decisions: tuple[Decision, ...]

    def schedule_of(self, decision: Decision) -> str:
        """Return the name of the schedule by whose own policy a backup is judged, or nothing."""
        return Policies(None, self.schedules).name_of(decision.candidate.schedule_id)


class RetentionStore:
    """Reads and writes policies and marks; each method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def put(self, cluster: str, policy: Policy) -> ClusterPolicy:
        """Give a cluster a policy, in place of one that it has."""

        def work(session: Session) -> ClusterPolicy:
            changed = now()
            query = select(RetentionPolicyRow).where(RetentionPolicyRow.cluster == cluster)
            row = session.scalars(query.with_for_update()).first()
            if row is None:
                row = RetentionPolicyRow(id=str(uuid.uuid4()), cluster=cluster, created_at=changed)
                session.add(row)
            for name, value in asdict(policy).items():
                setattr(row, name, value)
            row.updated_at = changed
            record_change(session, SettingKind.POLICY, cluster, cluster)
            session.flush()
            return _record(row)

        return self._transactions.write(work)

    def get(self, cluster: str) -> ClusterPolicy:
        """Return the policy of a cluster.

        :raises NotFound: if it has none.
        """
        return self._transactions.run(lambda session: _get(session, cluster))

    def list(self) -> tuple[ClusterPolicy, ...]:
        """Return all policies, by cluster."""

        def work(session: Session) -> tuple[ClusterPolicy, ...]:
            query = select(RetentionPolicyRow).order_by(RetentionPolicyRow.cluster)
            return tuple(_record(row) for row in session.scalars(query))

        return self._transactions.run(work)

    def remove(self, cluster: str) -> ClusterPolicy:
        """Remove the policy of a cluster, and return it: nothing expires any more.

        :raises NotFound: if it has none.
        """

        def work(session: Session) -> ClusterPolicy:
            record = _get(session, cluster)
            session.execute(delete(RetentionPolicyRow).where(RetentionPolicyRow.cluster == cluster))
            record_change(session, SettingKind.POLICY, cluster, cluster)
            return record

        return self._transactions.write(work)

    def plan(self, cluster: str) -> Plan:
        """Return what the policies of a cluster and its schedules decide now.

        :raises NotFound: if there is none.
        """

        def work(session: Session) -> Plan:
            policies = policies_of(session, cluster)
            if not policies.schedules:
                _get(session, cluster)
            record = None if policies.cluster is None else _get(session, cluster)
            moment = database_now(session)
            decisions = policies.decide(candidates(session, cluster, policies), moment)
            return Plan(cluster, record, policies.schedules, moment, decisions)

        return self._transactions.run(work)

    def schedules(self, cluster: str) -> tuple[SchedulePolicy, ...]:
        """Return the policies that schedules of a cluster have for their own backups."""
        return self._transactions.run(lambda session: policies_of(session, cluster).schedules)

    def covered(self) -> tuple[str, ...]:
        """Return the names of the clusters that have a policy, or a schedule with one."""

        def work(session: Session) -> tuple[str, ...]:
            own = select(ScheduleRow.cluster).where(ScheduleRow.retention.is_not(None))
            queries = (select(RetentionPolicyRow.cluster), own)
            return tuple(sorted({name for query in queries for name in session.scalars(query)}))

        return self._transactions.run(work)

    def mark(self, backup_id: str, cluster: str, reason: str) -> None:
        """Keep a backup of the cluster for ever; an empty reason ends that.

        :raises NotFound: if there is no such backup.
        :raises Conflict: if it has no data to keep.
        """

        def work(session: Session) -> None:
            lock_policies(session, cluster)  # no deletion is decided on at the same time
            row = session.get(BackupRow, backup_id, with_for_update=True)
            if row is None:
                raise NotFound(f"there is no backup {backup_id!r}; see backup list")
            if reason:
                check_restorable(row.id, BackupStatus(row.status))
            if reason or row.kept_reason:
                record_change(session, SettingKind.MARK, row.id, row.cluster)
            row.kept_reason, row.updated_at = reason, now()
            row.kept_at = row.updated_at if reason else None

        self._transactions.write(work)

    def clusters(self) -> tuple[str, ...]:
        """Return the names of the clusters that have a backup which is not deleted."""

        def work(session: Session) -> tuple[str, ...]:
            not_deleted = BackupRow.status != BackupStatus.DELETED.value
            query = select(BackupRow.cluster).where(not_deleted).distinct()
            return tuple(sorted(session.scalars(query)))

        return self._transactions.run(work)


def _get(session: Session, cluster: str) -> ClusterPolicy:
    query = select(RetentionPolicyRow).where(RetentionPolicyRow.cluster == cluster)
    row = session.scalars(query).first()
    if row is None:
        raise NotFound(f"cluster {cluster!r} has no retention policy; see retention set")
    return _record(row)


def _record(row: RetentionPolicyRow) -> ClusterPolicy:
    return ClusterPolicy(row.cluster, policy_of(row), row.created_at, row.updated_at)

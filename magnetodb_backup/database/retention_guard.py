# SPDX-License-Identifier: Apache-2.0
"""What retention says of a deletion, inside the transaction that records the deletion."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from magnetodb_backup.database.clock import DatabaseTime
from magnetodb_backup.database.models import (
    AffectedBackupRow,
    BackupRow,
    DamagedPackRow,
    FindingRow,
    ProofRow,
)
from magnetodb_backup.database.setting_models import RetentionPolicyRow, ScheduleRow, ScheduleRunRow
from magnetodb_backup.domain.backup.findings import DamagedObject
from magnetodb_backup.domain.backup.notes import needs_lost_packs
from magnetodb_backup.domain.backup.proofs import Outcome
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.retention.candidates import Candidate, group_of, state_of
from magnetodb_backup.domain.retention.decide import Decision
from magnetodb_backup.domain.retention.policies import Policies, SchedulePolicy
from magnetodb_backup.domain.retention.policy import Policy, policy_from_json
from magnetodb_backup.errors import Conflict, NotFound

_SHOWN = 5  # losses in a message
# A backup without one of them is damaged; one without fingerprints can be restored.
_NEEDED = (DamagedObject.MANIFEST.value, DamagedObject.SCHEMA.value)


def lock_policies(session: Session, cluster: str) -> Policies:
    """Return the policies of a cluster and its schedules, locked until the transaction ends.

    Each transaction that decides by the cluster's backups calls this before it reads anything, so
    that it decides on what the transaction before has left.
    """
    return policies_of(session, cluster, lock=True)


def policies_of(session: Session, cluster: str, *, lock: bool = False) -> Policies:
    """Return the policies of a cluster and of its schedules, which may be none."""
    whole = select(RetentionPolicyRow).where(RetentionPolicyRow.cluster == cluster)
    own = select(ScheduleRow).where(
        ScheduleRow.cluster == cluster, ScheduleRow.retention.is_not(None)
    )
    own = own.order_by(ScheduleRow.id)
    if lock:
        whole, own = whole.with_for_update(), own.with_for_update()
    row = session.scalars(whole).first()
    schedules = [
        SchedulePolicy(found.id, found.name, policy_from_json(found.retention))
        for found in session.scalars(own)
    ]
    return Policies(None if row is None else policy_of(row), tuple(schedules))


def policy_of(row: RetentionPolicyRow) -> Policy:
    """Return the policy of a row."""
    return Policy(**{field.name: getattr(row, field.name) for field in fields(Policy)})


def database_now(session: Session) -> datetime:
    """Return the time by the database's clock, on which all processes agree."""
    seconds = session.scalar(select(DatabaseTime()))
    assert seconds is not None
    return datetime.fromtimestamp(seconds, timezone.utc)


def candidates(session: Session, cluster: str, policies: Policies) -> tuple[Candidate, ...]:
    """Return the cluster's backups that retention decides on."""
    columns = (
        BackupRow.id, BackupRow.name, BackupRow.status, BackupRow.scope, BackupRow.data_centers,
        BackupRow.created_at, BackupRow.finished_at, BackupRow.kept_reason, BackupRow.notes,
    )  # fmt: skip
    query = select(*columns).where(
        BackupRow.cluster == cluster, BackupRow.status != BackupStatus.DELETED.value
    )
    damaged = _damaged(session, cluster)
    made_by = _made_by(session, policies)
    found = []
    for row in session.execute(query):
        broken = row.id in damaged or needs_lost_packs(row.notes or ())
        state = state_of(BackupStatus(row.status), damaged=broken)
        if state is not None:
            group = group_of(row.scope, row.data_centers or ())
            moment = row.finished_at or row.created_at
            schedule = made_by.get(row.id, "")
            found.append(
                Candidate(row.id, group, state, moment, row.kept_reason, row.name, schedule)
            )
    return tuple(found)


def _made_by(session: Session, policies: Policies) -> dict[str, str]:
    """Return the IDs of the schedules that have a policy, by the backups that they made."""
    ids = [own.schedule_id for own in policies.schedules]
    query = select(ScheduleRunRow.backup_id, ScheduleRunRow.schedule_id).where(
        ScheduleRunRow.schedule_id.in_(ids), ScheduleRunRow.backup_id != ""
    )
    return {row.backup_id: row.schedule_id for row in session.execute(query)} if ids else {}


def _damaged(session: Session, cluster: str) -> set[str]:
    """Return the IDs of the backups that need what a verification has found damaged."""
    packs = select(DamagedPackRow.backup_id).where(DamagedPackRow.cluster == cluster)
    shared = select(AffectedBackupRow.backup_id).where(AffectedBackupRow.cluster == cluster)
    proofs = (
        select(ProofRow.backup_id)
        .join(BackupRow, BackupRow.id == ProofRow.backup_id)
        .where(BackupRow.cluster == cluster, ProofRow.outcome == Outcome.FAILED.value)
    )
    objects = select(FindingRow.name).where(
        FindingRow.cluster == cluster,
        FindingRow.object.in_(_NEEDED),
        FindingRow.healed_at.is_(None),
    )
    return {
        id_
        for query in (packs, shared, proofs, objects)
        for id_ in session.scalars(query.distinct())
    }


def refuse_loss(
    session: Session, backup: BackupRow, policies: Policies, *, allow_loss: bool
) -> dict[str, Any]:
    """Check that a deletion breaks no promise; return the parameters of its job.

    With ``allow_loss`` the loss is allowed, and the parameters name it.

    :raises Conflict: naming what is lost.
    """
    if not policies and not backup.kept_reason:
        return {}
    now, found = database_now(session), candidates(session, backup.cluster, policies)
    losses = policies.promise_broken(found, {backup.id}, now)
    if not losses:
        return {}
    if allow_loss:
        return {"allow_loss": True, "losses": [asdict(loss) for loss in losses]}
    texts = [loss.text for loss in losses[:_SHOWN]]
    more = f"; and {len(losses) - _SHOWN} more" if len(losses) > _SHOWN else ""
    raise Conflict(
        f"the deletion of backup {backup.id} loses what retention promises: {'; '.join(texts)}"
        f"{more}. Make another backup first, or allow it by --allow-loss (REST: allow_loss=true)"
    )


def decisions_now(session: Session, cluster: str, policies: Policies) -> dict[str, Decision]:
    """Return what the policies of a cluster decide now, by the IDs of the backups.

    :raises NotFound: if there is none.
    """
    if not policies:
        raise NotFound(f"cluster {cluster!r} has no retention policy; see retention set")
    found = candidates(session, cluster, policies)
    decisions = policies.decide(found, database_now(session))
    return {decision.candidate.id: decision for decision in decisions}

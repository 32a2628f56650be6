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
    RetentionPolicyRow,
)
from magnetodb_backup.domain.backup.findings import DamagedObject
from magnetodb_backup.domain.backup.notes import needs_lost_packs
from magnetodb_backup.domain.backup.proofs import Outcome
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.retention.candidates import Candidate, group_of, state_of
from magnetodb_backup.domain.retention.decide import Decision, decide
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.retention.promise import promise_broken
from magnetodb_backup.errors import Conflict, NotFound

_SHOWN = 5  # losses in a message
# A backup without one of them is damaged; one without fingerprints can be restored.
_NEEDED = (DamagedObject.MANIFEST.value, DamagedObject.SCHEMA.value)


def lock_policy(session: Session, cluster: str) -> Policy | None:
    """Return the cluster's policy, locked until the transaction ends; None if it has none.

    Each transaction that decides by the cluster's backups calls this before it reads anything, so
    that it decides on what the transaction before has left.
    """
    query = select(RetentionPolicyRow).where(RetentionPolicyRow.cluster == cluster)
    row = session.scalars(query.with_for_update()).first()
    return policy_of(row) if row is not None else None


def policy_of(row: RetentionPolicyRow) -> Policy:
    """Return the policy of a row."""
    return Policy(**{field.name: getattr(row, field.name) for field in fields(Policy)})


def database_now(session: Session) -> datetime:
    """Return the time by the database's clock, on which all processes agree."""
    seconds = session.scalar(select(DatabaseTime()))
    assert seconds is not None
    return datetime.fromtimestamp(seconds, timezone.utc)


def candidates(session: Session, cluster: str) -> tuple[Candidate, ...]:
    """Return the cluster's backups that retention decides on."""
    columns = (
        BackupRow.id, BackupRow.name, BackupRow.status, BackupRow.scope, BackupRow.data_centers,
        BackupRow.created_at, BackupRow.finished_at, BackupRow.kept_reason, BackupRow.notes,
    )  # fmt: skip
    query = select(*columns).where(
        BackupRow.cluster == cluster, BackupRow.status != BackupStatus.DELETED.value
    )
    damaged = _damaged(session, cluster)
    found = []
    for row in session.execute(query):
        broken = row.id in damaged or needs_lost_packs(row.notes or ())
        state = state_of(BackupStatus(row.status), damaged=broken)
        if state is not None:
            group = group_of(row.scope, row.data_centers or ())
            moment = row.finished_at or row.created_at
            found.append(Candidate(row.id, group, state, moment, row.kept_reason, row.name))
    return tuple(found)


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
    session: Session, backup: BackupRow, policy: Policy | None, *, allow_loss: bool
) -> dict[str, Any]:
    """Check that a deletion breaks no promise; return the parameters of its job.

    With ``allow_loss`` the loss is allowed, and the parameters name it.

    :raises Conflict: naming what is lost.
    """
    if policy is None and not backup.kept_reason:
        return {}
    now = database_now(session)
    losses = promise_broken(policy, candidates(session, backup.cluster), {backup.id}, now)
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


def decisions_now(session: Session, cluster: str, policy: Policy | None) -> dict[str, Decision]:
    """Return what the policy of a cluster decides now, by the IDs of the backups.

    :raises NotFound: if the cluster has none.
    """
    if policy is None:
        raise NotFound(f"cluster {cluster!r} has no retention policy; see retention set")
    decisions = decide(policy, candidates(session, cluster), database_now(session))
    return {decision.candidate.id: decision for decision in decisions}

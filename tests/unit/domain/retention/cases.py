# SPDX-License-Identifier: Apache-2.0
"""Backups of retention's tests, named by the hours since a fixed begin."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from magnetodb_backup.domain.retention.candidates import Candidate, State, group_of
from magnetodb_backup.domain.retention.decide import decide
from magnetodb_backup.domain.retention.policy import Policy

BEGIN = datetime(2026, 11, 1, tzinfo=timezone.utc)  # a Sunday
ALL = group_of({"type": "all"})
ORDERS = group_of({"type": "tables", "tables": ["shop.orders"]})


def at(days: float) -> datetime:
    """Return the moment so many days after the begin."""
    return BEGIN + timedelta(days=days)


def backup(
    name: str, days: float, state: State = State.RESTORABLE, group: str = ALL, kept: str = ""
) -> Candidate:
    """Return a backup that ended so many days after the begin."""
    return Candidate(name, group, state, at(days), kept)


def kept(policy: Policy, backups: Iterable[Candidate], days: float) -> set[str]:
    """Return the names of the backups that the policy keeps at a moment."""
    return {d.candidate.id for d in decide(policy, backups, at(days)) if d.kept}

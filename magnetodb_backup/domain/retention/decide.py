# SPDX-License-Identifier: Apache-2.0
"""Decides which backups are kept and which expire, with the reasons.

Each group is decided on alone: a backup of a table is no substitute for one of all keyspaces. The
rules are applied to the restorable backups first, as if there were no others. Then they are applied
to all backups that have data, which keeps partial and damaged ones as long as a restorable one of
their age, and never instead of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from magnetodb_backup.domain.retention.candidates import Candidate, State, grouped, restorable
from magnetodb_backup.domain.retention.policy import Policy, Rule
from magnetodb_backup.domain.retention.rules import Reason, Rules

_NO_RULE = "no rule of the policy keeps it"
_REPEATED = "its deletion failed and is repeated"


@dataclass(frozen=True)
class Decision:
    """What happens to a backup. One without ``reasons`` expires; ``expires`` says why."""

    candidate: Candidate
    reasons: tuple[Reason, ...] = ()
    expires: str = ""

    @property
    def kept(self) -> bool:
        """True if something keeps the backup."""
        return bool(self.reasons)

    @property
    def why(self) -> str:
        """The reasons as a text."""
        return "; ".join(f"{r.rule.value}: {r.detail}" for r in self.reasons) or self.expires


def decide(policy: Policy, candidates: Iterable[Candidate], now: datetime) -> tuple[Decision, ...]:
    """Return the decision on each backup, by group and newest first."""
    rules = Rules(policy, now)
    return tuple(
        decision for group in grouped(candidates).values() for decision in _group(rules, group)
    )


def _group(rules: Rules, group: Sequence[Candidate]) -> list[Decision]:
    reasons: dict[str, list[Reason]] = {c.id: [] for c in group}
    counted = restorable(group)
    for candidate in group:
        if candidate.kept:
            reasons[candidate.id].append(Reason(Rule.KEPT, candidate.kept_reason))
    for candidate, reason in rules.keep(counted):
        reasons[candidate.id].append(reason)
    for candidate, reason in rules.keep([c for c in group if c.state.has_data]):
        if candidate.state is not State.RESTORABLE:
            detail = f"{reason.detail}, beside restorable ones"
            reasons[candidate.id].append(Reason(reason.rule, detail))
    floor = rules.policy.floor
    missing = floor - sum(bool(reasons[c.id]) for c in counted)
    for candidate in [c for c in counted if not reasons[c.id]][: max(missing, 0)]:
        reasons[candidate.id].append(Reason(Rule.FLOOR, f"at least {floor} remain"))
    return [_decision(rules, candidate, reasons[candidate.id]) for candidate in group]


def _decision(rules: Rules, candidate: Candidate, reasons: Sequence[Reason]) -> Decision:
    if candidate.state is State.DELETION_FAILED:
        return Decision(candidate, expires=_REPEATED)
    if candidate.state is State.FAILED:
        days = rules.policy.failed_days
        if candidate.moment > rules.now - timedelta(days=days):
            shown = Reason(Rule.FAILED, f"shown for {days} days")
            return Decision(candidate, (shown,))
        return Decision(candidate, expires=f"failed or cancelled {days} or more days ago")
    return Decision(candidate, tuple(reasons), "" if reasons else _NO_RULE)

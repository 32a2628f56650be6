# SPDX-License-Identifier: Apache-2.0
"""What the deletion of backups would break of what a policy promises."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from magnetodb_backup.domain.retention.candidates import (
    Candidate,
    group_text,
    grouped,
    restorable,
)
from magnetodb_backup.domain.retention.policy import Policy, Rule, zone_of
from magnetodb_backup.domain.retention.rules import PERIODS, Rules, period_of

_PERIOD_NAMES = {
    Rule.DAILY: "the day",
    Rule.WEEKLY: "the week",
    Rule.MONTHLY: "the month",
    Rule.YEARLY: "the year",
}


@dataclass(frozen=True)
class Loss:
    """What a deletion loses: the rule that is broken, and the loss in words."""

    rule: Rule
    text: str


def promise_broken(
    policy: Policy | None,
    candidates: Iterable[Candidate],
    without: Collection[str],
    now: datetime,
    *,
    whose: str = "",
) -> tuple[Loss, ...]:
    """Return what is lost if the backups with the IDs ``without`` are deleted.

    ``whose`` follows the name of a group in the texts.

    The promise of a group: a number of restorable backups remains (redundancy, floor); each moment
    of the recovery window is restored from the same backup as now; each promised day, week, month
    and year keeps a restorable backup. Without a policy only backups to be kept are a loss.
    """
    losses: list[Loss] = []
    for group, members in grouped(candidates).items():
        losses += _marks(members, without)
        before = restorable(members)
        after = [c for c in before if c.id not in without]
        if policy is None or len(after) == len(before):
            continue
        rules, of_group = Rules(policy, now), f"of {group_text(group)}{whose}"
        losses += _numbers(policy, len(after), of_group)
        losses += _moments(rules, before, after, of_group)
        losses += _periods(rules, before, after, of_group)
    return tuple(losses)


def _marks(members: Sequence[Candidate], without: Collection[str]) -> Iterator[Loss]:
    for candidate in members:
        if candidate.kept and candidate.id in without:
            text = f"backup {candidate.id} is to be kept: {candidate.kept_reason}"
            yield Loss(Rule.KEPT, text)


def _numbers(policy: Policy, remaining: int, of_group: str) -> Iterator[Loss]:
    wanted = max(policy.redundancy, policy.floor)
    if remaining < wanted:
        rule = Rule.REDUNDANCY if wanted == policy.redundancy else Rule.FLOOR
        text = f"{remaining} of {wanted} restorable backups {of_group} would remain"
        yield Loss(rule, f"{text} ({rule.value})")


def _moments(
    rules: Rules, before: Sequence[Candidate], after: Sequence[Candidate], of_group: str
) -> Iterator[Loss]:
    remaining, end = {c.id for c in after}, rules.now
    for candidate in rules.in_window(before):
        begin = max(candidate.moment, rules.window_begin)
        if candidate.id not in remaining:
            older = [c.moment for c in after if c.moment <= candidate.moment]
            instead = f"only to the state of {_text(older[0])}" if older else "to no state"
            yield Loss(
                Rule.WINDOW,
                f"{_text(begin)} to {_text(max(begin, end))} {of_group} could be restored "
                f"{instead} (window)",
            )
        end = candidate.moment


def _periods(
    rules: Rules, before: Sequence[Candidate], after: Sequence[Candidate], of_group: str
) -> Iterator[Loss]:
    zone = zone_of(rules.policy.time_zone)
    for rule in PERIODS:
        left = {period_of(rule, c.moment, zone) for c in after}
        for period in rules.newest_of_periods(rule, before):
            if period not in left:
                text = f"{_PERIOD_NAMES[rule]} {period} would have no restorable backup {of_group}"
                yield Loss(rule, f"{text} ({rule.value})")


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"

# SPDX-License-Identifier: Apache-2.0
"""What each rule of a policy keeps of backups of one group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from magnetodb_backup.domain.retention.candidates import Candidate
from magnetodb_backup.domain.retention.policy import Policy, Rule, zone_of


@dataclass(frozen=True)
class Reason:
    """Why a backup is kept: the rule, and what the rule keeps it for."""

    rule: Rule
    detail: str


def _week(local: datetime) -> str:
    year, week, _ = local.isocalendar()
    return f"{year}-W{week:02}"


PERIODS: dict[Rule, Callable[[datetime], str]] = {
    Rule.DAILY: lambda local: f"{local:%Y-%m-%d}",
    Rule.WEEKLY: _week,
    Rule.MONTHLY: lambda local: f"{local:%Y-%m}",
    Rule.YEARLY: lambda local: f"{local:%Y}",
}


@dataclass(frozen=True)
class Rules:
    """The rules of a policy at a moment: the recovery window ends ``now``."""

    policy: Policy
    now: datetime

    @property
    def window_begin(self) -> datetime:
        """The begin of the recovery window."""
        return self.now - timedelta(days=self.policy.window_days)

    def in_window(self, newest_first: Sequence[Candidate]) -> list[Candidate]:
        """Return the backups that restore the moments of the recovery window.

        They are those of the window, and the newest that is not: it restores the begin.
        """
        if not self.policy.window_days:
            return []
        found = [c for c in newest_first if c.moment > self.window_begin]
        return [*found, *newest_first[len(found) : len(found) + 1]]

    def newest_of_periods(
        self, rule: Rule, newest_first: Sequence[Candidate]
    ) -> dict[str, Candidate]:
        """Return the newest backup of each of the last periods that have one."""
        count, zone = getattr(self.policy, rule.value), zone_of(self.policy.time_zone)
        chosen: dict[str, Candidate] = {}
        for candidate in newest_first if count else ():
            period = period_of(rule, candidate.moment, zone)
            if period not in chosen and len(chosen) == count:
                break
            chosen.setdefault(period, candidate)
        return chosen

    def keep(self, newest_first: Sequence[Candidate]) -> Iterator[tuple[Candidate, Reason]]:
        """Yield what the rules keep of these backups, each as often as there are reasons."""
        redundancy = self.policy.redundancy
        for candidate in newest_first[:redundancy]:
            yield candidate, Reason(Rule.REDUNDANCY, f"one of the last {redundancy}")
        for candidate in self.in_window(newest_first):
            inside = candidate.moment > self.window_begin
            what = "in the recovery window" if inside else "restores the begin of the window"
            yield candidate, Reason(Rule.WINDOW, what)
        for rule in PERIODS:
            for period, candidate in self.newest_of_periods(rule, newest_first).items():
                yield candidate, Reason(rule, f"newest of {period}")


def period_of(rule: Rule, moment: datetime, zone: tzinfo) -> str:
    """Return the day, week, month or year of a moment in a time zone."""
    return PERIODS[rule](moment.astimezone(zone))

# SPDX-License-Identifier: Apache-2.0
"""The policies of one cluster: its own, and those of its schedules for their backups."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from magnetodb_backup.domain.retention.candidates import Candidate, newest_first
from magnetodb_backup.domain.retention.decide import Decision, decide
from magnetodb_backup.domain.retention.policy import Policy, Rule
from magnetodb_backup.domain.retention.promise import Loss, promise_broken
from magnetodb_backup.domain.retention.rules import Reason

_NO_POLICY = "neither its schedule nor the cluster has a retention policy"


@dataclass(frozen=True)
class SchedulePolicy:
    """The own policy of a schedule, which has a name."""

    schedule_id: str
    name: str
    policy: Policy


@dataclass(frozen=True)
class Policies:
    """The policies by which the backups of a cluster are judged.

    The backups of a schedule that has one are judged by it, as if there were no others; all others
    by that of the cluster, None if it has none.
    """

    cluster: Policy | None = None
    schedules: tuple[SchedulePolicy, ...] = field(default=())

    def __bool__(self) -> bool:
        """Return whether there is a policy."""
        return self.cluster is not None or bool(self.schedules)

    def name_of(self, schedule_id: str) -> str:
        """Return the name of a schedule with a policy of its own, empty for no such schedule."""
        return next((s.name for s in self.schedules if s.schedule_id == schedule_id), "")

    def decide(self, candidates: Iterable[Candidate], now: datetime) -> tuple[Decision, ...]:
        """Return the decision on each backup: those of the cluster's policy first."""
        found: list[Decision] = []
        for policy, _, members in self._shares(candidates):
            if policy is None:
                reason = Reason(Rule.UNLIMITED, _NO_POLICY)
                found += [Decision(c, (reason,)) for c in newest_first(members)]
            else:
                found += decide(policy, members, now)
        return tuple(found)

    def promise_broken(
        self, candidates: Iterable[Candidate], without: Collection[str], now: datetime
    ) -> tuple[Loss, ...]:
        """Return what is lost if the backups with the IDs ``without`` are deleted."""
        losses: list[Loss] = []
        for policy, name, members in self._shares(candidates):
            whose = f" of schedule {name!r}" if name else ""
            losses += promise_broken(policy, members, without, now, whose=whose)
        return tuple(losses)

    def _shares(
        self, candidates: Iterable[Candidate]
    ) -> Iterator[tuple[Policy | None, str, list[Candidate]]]:
        """Yield each policy, the name of its schedule, and the backups that it judges."""
        shares: dict[str, list[Candidate]] = {s.schedule_id: [] for s in self.schedules}
        others: list[Candidate] = []
        for candidate in candidates:
            shares.get(candidate.schedule_id, others).append(candidate)
        yield self.cluster, "", others
        for own in self.schedules:
            yield own.policy, own.name, shares[own.schedule_id]

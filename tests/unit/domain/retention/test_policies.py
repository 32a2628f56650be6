# SPDX-License-Identifier: Apache-2.0
"""The policies of a cluster and of its schedules, each for its own backups."""

from __future__ import annotations

from dataclasses import replace

from magnetodb_backup.domain.retention.candidates import Candidate
from magnetodb_backup.domain.retention.policies import Policies, SchedulePolicy
from magnetodb_backup.domain.retention.policy import Policy, Rule
from tests.unit.domain.retention.cases import at, backup

HOURLY = SchedulePolicy("s", "hourly", Policy(redundancy=1))
BOTH = Policies(Policy(redundancy=2), (HOURLY,))


def hourly(name: str, days: float) -> Candidate:
    return replace(backup(name, days), schedule_id="s")


FOUND = [backup("a", 1), hourly("b", 2), backup("c", 3), hourly("d", 4), backup("e", 5)]


def kept(policies: Policies) -> dict[str, str]:
    return {d.candidate.id: d.why for d in policies.decide(FOUND, at(6)) if d.kept}


def test_each_backup_is_judged_by_one_policy_alone() -> None:
    """Those of the other policy are no substitute: of one scope and newer, they count for none."""
    assert kept(BOTH) == {
        "c": "redundancy: one of the last 2",
        "e": "redundancy: one of the last 2",
        "d": "redundancy: one of the last 1",
    }


def test_without_a_policy_of_the_cluster_only_those_of_schedules_expire() -> None:
    found = kept(replace(BOTH, cluster=None))
    assert set(found) == {"a", "c", "d", "e"}
    assert found["a"] == "unlimited: neither its schedule nor the cluster has a retention policy"
    reasons = {
        d.candidate.id: [reason.rule for reason in d.reasons]
        for d in replace(BOTH, cluster=None).decide(FOUND, at(6))
    }
    assert reasons["e"] == [Rule.UNLIMITED]
    assert reasons["b"] == []


def test_without_that_of_its_schedule_a_backup_is_judged_by_the_cluster() -> None:
    assert set(kept(replace(BOTH, schedules=()))) == {"d", "e"}


def lost(policies: Policies, *without: str) -> list[str]:
    return [loss.text for loss in policies.promise_broken(FOUND, without, at(6))]


def test_the_promise_of_each_policy() -> None:
    assert lost(BOTH, "a", "b") == []
    assert lost(BOTH, "e", "c") == [
        "1 of 2 restorable backups of all keyspaces would remain (redundancy)"
    ]
    assert lost(BOTH, "b", "d") == [
        "0 of 1 restorable backups of all keyspaces of schedule 'hourly' would remain (redundancy)"
    ]
    assert lost(replace(BOTH, cluster=None), "a", "c", "e") == []


def test_whether_there_is_a_policy() -> None:
    assert not Policies()
    assert Policies(Policy(daily=1))
    assert Policies(None, (HOURLY,))
    assert (BOTH.name_of("s"), BOTH.name_of("x")) == ("hourly", "")

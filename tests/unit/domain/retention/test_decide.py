# SPDX-License-Identifier: Apache-2.0
"""Which backups are kept, and why."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.retention.candidates import State
from magnetodb_backup.domain.retention.decide import Decision, decide
from magnetodb_backup.domain.retention.policy import Policy, Rule
from tests.unit.domain.retention.cases import ORDERS, at, backup, kept


def reasons(decision: Decision) -> list[tuple[Rule, str]]:
    return [(reason.rule, reason.detail) for reason in decision.reasons]


def of(policy: Policy, *backups: str, days: float = 30) -> dict[str, Decision]:
    """Return the decisions on backups described as ``name:days:state``."""
    found = []
    for text in backups:
        name, moment, *state = text.split(":")
        found.append(backup(name, float(moment), State(state[0] if state else "restorable")))
    return {d.candidate.id: d for d in decide(policy, found, at(days))}


def test_trap_2_retention_by_count_counts_no_failed_backup() -> None:
    """Five incomplete backups were left, and no valid one."""
    backups = [backup("good", 1), backup("better", 2)]
    for number, state in enumerate(
        [State.FAILED, State.PARTIAL, State.DAMAGED, State.FAILED, State.DELETION_FAILED]
    ):
        backups.append(backup(f"bad{number}", 3 + number, state))
    assert {"good", "better"} <= kept(Policy(redundancy=2), backups, 8)
    assert {"better"} == kept(Policy(redundancy=1), backups, 30) - {"bad1", "bad2"}


def test_redundancy_keeps_the_newest() -> None:
    found = of(Policy(redundancy=2), "a:1", "b:2", "c:3")
    assert reasons(found["c"]) == reasons(found["b"]) == [(Rule.REDUNDANCY, "one of the last 2")]
    assert not found["a"].kept
    assert found["a"].expires == "no rule of the policy keeps it"


def test_the_window_keeps_what_restores_its_begin() -> None:
    found = of(Policy(window_days=10), "a:1", "b:19", "c:20", "d:21", "e:29")
    assert {name for name, d in found.items() if d.kept} == {"c", "d", "e"}
    assert reasons(found["c"]) == [(Rule.WINDOW, "restores the begin of the window")]
    assert reasons(found["d"]) == [(Rule.WINDOW, "in the recovery window")]
    # A damaged one at the begin restores nothing: the one before it does.
    found = of(Policy(window_days=10), "a:1", "b:19", "c:20:damaged", "d:21")
    assert reasons(found["b"]) == [(Rule.WINDOW, "restores the begin of the window")]
    assert not found["a"].kept


def test_without_new_backups_the_window_stays_restorable() -> None:
    found = of(Policy(window_days=10), "a:1", "b:2", days=300)
    assert {name for name, d in found.items() if d.kept} == {"b"}


@pytest.mark.parametrize(
    ("rule", "policy", "expected"),
    [
        # 2026-11-01 is a Sunday, the last day of an ISO week.
        (Rule.DAILY, Policy(daily=2), {"c2": "2026-11-10", "b2": "2026-11-09"}),
        (Rule.WEEKLY, Policy(weekly=2), {"c2": "2026-W46", "a2": "2026-W44"}),
        (Rule.MONTHLY, Policy(monthly=2), {"c2": "2026-11", "z": "2026-10"}),
        (Rule.YEARLY, Policy(yearly=3), {"c2": "2026", "y": "2025"}),
    ],
)
def test_periods(rule: Rule, policy: Policy, expected: dict[str, str]) -> None:
    found = of(policy, "y:-310", "z:-1", "a1:0.1", "a2:0.9", "b1:8.1", "b2:8.9", "c1:9.1", "c2:9.2")
    for name, decision in found.items():
        period = expected.get(name)
        assert reasons(decision) == ([(rule, f"newest of {period}")] if period else []), name


def test_the_days_are_those_of_the_time_zone() -> None:
    # 23:30 UTC on the 9th is the 10th in Berlin.
    backups = ("a:8.979", "b:9.4")
    assert {n for n, d in of(Policy(daily=5), *backups).items() if d.kept} == {"a", "b"}
    berlin = Policy(daily=5, time_zone="Europe/Berlin")
    assert {n for n, d in of(berlin, *backups).items() if d.kept} == {"b"}


def test_the_floor_adds_the_newest_that_no_rule_keeps() -> None:
    backups = ("a:1", "b:2.1", "c:2.2", "d:2.3")
    found = of(Policy(daily=1, floor=3), *backups)
    assert reasons(found["d"]) == [(Rule.DAILY, "newest of 2026-11-03")]
    assert reasons(found["c"]) == reasons(found["b"]) == [(Rule.FLOOR, "at least 3 remain")]
    assert not found["a"].kept
    # Where the rules keep enough, it adds none.
    assert {n for n, d in of(Policy(daily=2, floor=2), *backups).items() if d.kept} == {"a", "d"}


def test_the_floor_counts_restorable_backups_only() -> None:
    found = of(Policy(daily=1, floor=2), "a:1", "b:2.1", "c:2.2:damaged", "d:2.3:partial")
    assert {name for name, d in found.items() if d.kept} == {"a", "b", "d"}


def test_partial_and_damaged_backups_stay_as_long_as_restorable_ones_of_their_age() -> None:
    found = of(Policy(redundancy=2), "a:1", "b:2:partial", "c:3", "d:4:damaged", "e:5:damaged")
    assert {name for name, d in found.items() if d.kept} == {"a", "c", "d", "e"}
    assert reasons(found["e"]) == [(Rule.REDUNDANCY, "one of the last 2, beside restorable ones")]


def test_backups_of_other_scopes_count_for_themselves() -> None:
    backups = [backup("all", 1), *(backup(f"orders{n}", 2 + n, group=ORDERS) for n in range(3))]
    assert kept(Policy(redundancy=2), backups, 9) == {"all", "orders1", "orders2"}


def test_a_backup_to_be_kept_is_kept_and_counts() -> None:
    backups = [backup("a", 1, kept="audit"), backup("b", 2), backup("c", 3, kept="audit")]
    found = {d.candidate.id: d for d in decide(Policy(redundancy=1), backups, at(9))}
    assert reasons(found["a"]) == [(Rule.KEPT, "audit")]
    assert [rule for rule, _ in reasons(found["c"])] == [Rule.KEPT, Rule.REDUNDANCY]
    assert not found["b"].kept


def test_failed_backups_are_shown_for_some_days() -> None:
    found = of(Policy(redundancy=1), "a:22.9:failed", "b:23.1:failed", days=30)
    assert found["a"].expires == "failed or cancelled 7 or more days ago"
    assert reasons(found["b"]) == [(Rule.FAILED, "shown for 7 days")]
    at_once = of(Policy(redundancy=1, failed_days=0), "b:30:failed", days=30)
    assert not at_once["b"].kept


def test_a_failed_deletion_is_repeated_though_the_backup_was_to_be_kept() -> None:
    marked = backup("a", 29, State.DELETION_FAILED, kept="audit")
    (decision,) = decide(Policy(redundancy=5), [marked], at(30))
    assert decision.expires == "its deletion failed and is repeated"

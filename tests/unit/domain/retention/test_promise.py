# SPDX-License-Identifier: Apache-2.0
"""What a deletion would break, in words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from magnetodb_backup.domain.retention.candidates import Candidate, State
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.retention.promise import promise_broken
from tests.unit.domain.retention.cases import ORDERS, at, backup

FOUR = [backup("a", 1), backup("b", 11), backup("c", 12.5), backup("d", 20)]


def lost(
    policy: Policy | None, backups: Sequence[Candidate], *without: str, days: float = 21
) -> list[str]:
    return [loss.text for loss in promise_broken(policy, backups, without, at(days))]


def test_numbers() -> None:
    assert lost(Policy(redundancy=3), FOUR, "d") == []
    assert lost(Policy(redundancy=3), FOUR, "d", "a") == [
        "2 of 3 restorable backups of all keyspaces would remain (redundancy)"
    ]
    assert lost(Policy(daily=1, floor=4), FOUR, "a") == [
        "3 of 4 restorable backups of all keyspaces would remain (floor)"
    ]
    # Fewer than promised exist already: none of them may go.
    assert lost(Policy(redundancy=9), FOUR, "a") == [
        "3 of 9 restorable backups of all keyspaces would remain (redundancy)"
    ]


def test_moments_of_the_window() -> None:
    policy = Policy(window_days=10)
    assert lost(policy, FOUR, "c") == [
        "2026-11-13 12:00 UTC to 2026-11-21 00:00 UTC of all keyspaces could be restored only to "
        "the state of 2026-11-12 00:00 UTC (window)"
    ]
    # The oldest moments are restored from the backup before the window.
    assert lost(policy, FOUR[1:], "b") == [
        "2026-11-12 00:00 UTC to 2026-11-13 12:00 UTC of all keyspaces could be restored to no "
        "state (window)"
    ]
    assert lost(policy, FOUR, "a") == []
    assert len(lost(policy, FOUR, "b", "c", "d")) == 3


@pytest.mark.parametrize(
    ("policy", "period"),
    [
        (Policy(daily=1), "the day 2026-11-21"),
        (Policy(weekly=1), "the week 2026-W47"),
        (Policy(monthly=1), "the month 2026-11"),
        (Policy(yearly=1), "the year 2026"),
    ],
)
def test_periods(policy: Policy, period: str) -> None:
    before = backup("before", -400)
    (text,) = lost(policy, [before, backup("d", 20)], "d")
    assert text.startswith(f"{period} would have no restorable backup of all keyspaces (")
    # Another backup of the period takes its place; of a period that is not promised none need.
    assert lost(policy, [before, backup("c", 20.1), backup("d", 20.2)], "d") == []
    assert lost(policy, [before, backup("d", 20)], "before") == []


def test_what_does_not_count_is_no_loss() -> None:
    backups = [*FOUR, backup("p", 20.5, State.PARTIAL), backup("x", 20.6, State.DAMAGED)]
    policy = Policy(redundancy=4, window_days=30, daily=30, floor=4)
    assert lost(policy, backups, "p", "x") == []
    assert lost(policy, backups, "a") != []


def test_a_damaged_backup_takes_the_place_of_none() -> None:
    backups = [backup("good", 1), backup("x", 2, State.DAMAGED), backup("y", 3, State.PARTIAL)]
    assert lost(Policy(redundancy=1), backups, "good") == [
        "0 of 1 restorable backups of all keyspaces would remain (redundancy)"
    ]


def test_other_scopes_take_the_place_of_none() -> None:
    backups = [backup("all", 1), backup("orders", 2, group=ORDERS)]
    (text,) = lost(Policy(redundancy=1), backups, "all")
    assert "0 of 1 restorable backups of all keyspaces" in text
    (text,) = lost(Policy(redundancy=1), backups, "orders")
    assert "0 of 1 restorable backups of tables shop.orders" in text


def test_a_mark_needs_no_policy() -> None:
    marked = backup("a", 1, kept="audit 2026")
    assert lost(None, [marked, *FOUR[1:]], "a", "b") == ["backup a is to be kept: audit 2026"]
    assert lost(None, FOUR, "a", "b", "c", "d") == []

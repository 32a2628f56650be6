# SPDX-License-Identifier: Apache-2.0
"""Retention against a naive model, and its promises for any backups and any policy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from magnetodb_backup.domain.retention.candidates import Candidate, State, group_of
from magnetodb_backup.domain.retention.decide import decide
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.retention.promise import promise_broken

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
GROUPS = [group_of({"type": "all"}), group_of({"type": "tables", "tables": ["k.t"]})]
_COUNT = st.integers(0, 4)
policies = st.builds(
    Policy,
    redundancy=_COUNT,
    window_days=st.integers(0, 40),
    daily=_COUNT,
    weekly=_COUNT,
    monthly=_COUNT,
    yearly=st.integers(0, 3),
    floor=st.integers(1, 5),
    failed_days=st.integers(0, 9),
)
# Hours before now: many in some days, some in a year and more.
_AGES = st.one_of(st.integers(-2, 24 * 9), st.integers(0, 24 * 500))
_BACKUPS = st.builds(
    lambda group, state, hours, kept: Candidate(
        "", group, state, NOW - timedelta(hours=hours), kept
    ),
    st.sampled_from(GROUPS),
    st.sampled_from([*State, *[State.RESTORABLE] * 5]),
    _AGES,
    st.sampled_from(["", "", "", "", "audit"]),
)


def _named(backups: Sequence[Candidate]) -> list[Candidate]:
    return [
        Candidate(f"{number:02}", b.group, b.state, b.moment, b.kept_reason)
        for number, b in enumerate(backups)
    ]


backups = st.lists(_BACKUPS, max_size=18).map(_named)


def kept(policy: Policy, found: Sequence[Candidate], now: datetime = NOW) -> set[str]:
    return {d.candidate.id for d in decide(policy, found, now) if d.kept}


def without(found: Sequence[Candidate], ids: Collection[str]) -> list[Candidate]:
    return [b for b in found if b.id not in ids]


def _period(name: str, moment: datetime) -> tuple[int, ...]:
    return {
        "daily": (moment.year, moment.month, moment.day),
        "weekly": moment.isocalendar()[:2],
        "monthly": (moment.year, moment.month),
        "yearly": (moment.year,),
    }[name]


def _by_rules(policy: Policy, one: Candidate, others: Sequence[Candidate]) -> bool:
    """Say of one backup alone whether a rule keeps it, by counting what is newer."""
    newer = [b for b in others if (b.moment, b.id) > (one.moment, one.id)]
    begin = NOW - timedelta(days=policy.window_days)
    if len(newer) < policy.redundancy:
        return True
    if policy.window_days and all(b.moment > begin for b in newer):
        return True
    for name in ("daily", "weekly", "monthly", "yearly"):
        own, later = _period(name, one.moment), {_period(name, b.moment) for b in newer}
        if own not in later and len(later) < getattr(policy, name):
            return True
    return False


def naive(policy: Policy, found: Sequence[Candidate]) -> set[str]:
    """Return what is kept, by the words of the manual."""
    result = set()
    for group in {b.group for b in found}:
        members = [b for b in found if b.group == group]
        with_data = [b for b in members if b.state.has_data]
        good = [b for b in members if b.state is State.RESTORABLE]
        stays = {b.id for b in with_data if b.kept_reason}
        stays |= {b.id for b in good if _by_rules(policy, b, good)}
        stays |= {b.id for b in with_data if b not in good and _by_rules(policy, b, with_data)}
        for one in sorted(good, key=lambda b: (b.moment, b.id), reverse=True):
            if len(stays & {b.id for b in good}) < policy.floor:
                stays.add(one.id)
        recent = NOW - timedelta(days=policy.failed_days)
        stays |= {b.id for b in members if b.state is State.FAILED and b.moment > recent}
        result |= stays
    return result


@given(policies, backups)
def test_the_naive_model(policy: Policy, found: list[Candidate]) -> None:
    assert kept(policy, found) == naive(policy, found)


@given(policies, backups)
def test_enough_restorable_backups_remain(policy: Policy, found: list[Candidate]) -> None:
    left = kept(policy, found)
    for group in {b.group for b in found}:
        good = {b.id for b in found if b.group == group and b.state is State.RESTORABLE}
        wanted = min(max(policy.redundancy, policy.floor), len(good))
        assert len(good & left) >= wanted


@given(policies, backups, st.floats(0, 1))
def test_every_moment_of_the_window_is_restored_from_the_same_backup(
    policy: Policy, found: list[Candidate], share: float
) -> None:
    moment = NOW - share * timedelta(days=policy.window_days)
    left = kept(policy, found)
    if not policy.window_days:
        return

    def source(group: str, of: Sequence[Candidate]) -> tuple[datetime, str] | None:
        usable = [
            (b.moment, b.id)
            for b in of
            if b.group == group and b.state is State.RESTORABLE and b.moment <= moment
        ]
        return max(usable, default=None)

    for group in {b.group for b in found}:
        assert source(group, [b for b in found if b.id in left]) == source(group, found)


@given(policies, backups, st.sets(st.integers(0, 17)))
def test_any_part_of_an_expiry_changes_no_other_decision(
    policy: Policy, found: list[Candidate], chosen: set[int]
) -> None:
    """A job that is killed between deletions, and one that runs twice, deletes nothing more."""
    left = kept(policy, found)
    expired = sorted(b.id for b in found if b.id not in left)
    assert kept(policy, without(found, expired)) == left
    gone = {id_ for number, id_ in enumerate(expired) if number in chosen}
    assert kept(policy, without(found, gone)) == left


@given(policies, backups)
def test_an_expiry_breaks_no_promise(policy: Policy, found: list[Candidate]) -> None:
    left = kept(policy, found)
    expired = {b.id for b in found if b.id not in left}
    assert promise_broken(policy, found, expired, NOW) == ()


@given(policies, backups, st.sampled_from(GROUPS), st.floats(0, 500))
def test_another_restorable_backup_brings_none_back(
    policy: Policy, found: list[Candidate], group: str, days: float
) -> None:
    """What has expired stays expired, unless the floor asks for more than one backup."""
    policy = Policy(**{**vars(policy), "floor": 1})
    more = Candidate("more", group, State.RESTORABLE, NOW - timedelta(days=days))
    before, after = kept(policy, found), kept(policy, [*found, more])
    assert after - {"more"} <= before


@given(policies, backups)
def test_what_does_not_count_changes_nothing_for_what_counts(
    policy: Policy, found: list[Candidate]
) -> None:
    good = [b for b in found if b.state is State.RESTORABLE]
    assert kept(policy, good) == kept(policy, found) & {b.id for b in good}


@given(policies, backups)
def test_a_deletion_that_breaks_no_promise_leaves_what_was_promised(
    policy: Policy, found: list[Candidate]
) -> None:
    for one in found:
        if promise_broken(policy, found, {one.id}, NOW):
            continue
        rest = without(found, {one.id})
        good = [b for b in found if b.group == one.group and b.state is State.RESTORABLE]
        remaining = [b for b in good if b is not one]
        if one in good:
            assert len(remaining) >= max(policy.redundancy, policy.floor)
        assert not (one.kept_reason and one.state.has_data)
        for name in ("daily", "weekly", "monthly", "yearly"):
            promised = sorted({_period(name, b.moment) for b in good}, reverse=True)
            left = {_period(name, b.moment) for b in remaining}
            assert set(promised[: getattr(policy, name)]) <= left
        # What the policy kept beside it is still kept.
        assert kept(policy, found) - {one.id} <= kept(policy, rest)

# SPDX-License-Identifier: Apache-2.0
"""The options of schedules: when they run, what they start, and what is kept and verified."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from magnetodb_backup.cli.backup_verify import RUNGS, percentage
from magnetodb_backup.cli.policy_words import policy_from_words
from magnetodb_backup.domain.schedule.actions import Action
from magnetodb_backup.domain.schedule.records import Missed, Overlap

_TIMING = ("cron", "zone", "jitter", "begin_within", "overlap", "missed")
_ACTION = ("action", "verify", "sample", "each_in", "retention")


def add_timing(parser: ArgumentParser, *, change: bool = False) -> None:
    """Add the options of the timing; with ``change`` none is required."""
    parser.add_argument(
        "--cron",
        required=not change,
        metavar="EXPRESSION",
        help="planned times: minute, hour, day of month, month and day of week, as in a crontab; "
        "30 2 * * * is half past two on every day",
    )
    parser.add_argument(
        "--zone", help="time zone of the expression, for example Europe/Berlin; UTC by default"
    )
    parser.add_argument(
        "--jitter",
        type=int,
        metavar="SECONDS",
        help="begin each run up to so many seconds after its planned time, so that many clusters "
        "do not begin at once; 0 by default",
    )
    parser.add_argument(
        "--begin-within",
        type=int,
        metavar="SECONDS",
        help="time after which a run that has not begun is late; 3600 by default",
    )
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument(
        "--finish-within",
        type=int,
        metavar="SECONDS",
        help="time after its begin after which a run that is not complete is cancelled; by "
        "default there is no limit",
    )
    if change:
        limit.add_argument(
            "--no-finish-within", action="store_true", help="cancel no run because of its time"
        )
    parser.add_argument(
        "--overlap",
        choices=[rule.value for rule in Overlap],
        help="let a run wait for the end of another backup of the cluster, or of a job of the same "
        "kind for another action, or leave it out; queue by default",
    )
    parser.add_argument(
        "--missed",
        choices=[rule.value for rule in Missed],
        help="begin a late run as soon as possible, once for all planned times that have passed, "
        "or leave it out; run by default",
    )


def timing_options(parsed_args: Namespace) -> dict[str, Any]:
    """Return the fields of the timing that have a value."""
    names = (*_TIMING, "finish_within")
    values = {name: getattr(parsed_args, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def add_action(parser: ArgumentParser, *, change: bool = False) -> None:
    """Add the options of what a schedule starts, keeps and verifies; none has a default.

    The action of a schedule cannot be changed.
    """
    if not change:
        parser.add_argument(
            "--action",
            choices=[action.value for action in Action],
            help="what each run starts: a backup, a verification, a collection (repository "
            "collect), or the deletion of expired backups (retention apply); backup by default",
        )
    verify = parser.add_mutually_exclusive_group()
    verify.add_argument(
        "--verify",
        action="append",
        choices=[rung.value for rung in RUNGS],
        help="prove this, as backup verify does: by each run of the action verify, or after each "
        "backup that is CREATED; may be repeated",
    )
    if change:
        verify.add_argument(
            "--no-verify",
            action="store_const",
            const=[],
            dest="verify",
            help="verify nothing after a backup; the action verify proves that all bytes exist",
        )
    _add_sample(parser, change=change)
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--retention",
        type=policy_from_words,
        metavar="RULE=N,…",
        help="judge the backups of this schedule by a policy of their own instead of that of the "
        "cluster, for example redundancy=3,window=7; the rules are those of retention set",
    )
    if change:
        kept.add_argument(
            "--no-retention",
            action="store_true",
            help="judge the backups of this schedule by the policy of the cluster again",
        )


def _add_sample(parser: ArgumentParser, *, change: bool) -> None:
    sample = parser.add_mutually_exclusive_group()
    sample.add_argument(
        "--sample",
        type=percentage,
        metavar="N%",
        help="with --verify read-data, which it implies: read only N percent of the packs; "
        "successive samples cover all packs",
    )
    sample.add_argument(
        "--each-in",
        type=int,
        metavar="DAYS",
        help="with the action verify: verify all CREATED backups of the cluster, by samples that "
        "read all their data once in so many days; without it, the newest one is verified",
    )
    if change:
        sample.add_argument(
            "--no-sample",
            action="store_true",
            help="verify the newest backup, and read all its data",
        )


def action_options(parsed_args: Namespace) -> dict[str, Any]:
    """Return the fields of the action that have a value."""
    values = {name: getattr(parsed_args, name, None) for name in _ACTION}
    found = {name: value for name, value in values.items() if value is not None}
    if getattr(parsed_args, "no_sample", False):
        found |= {"sample": None, "each_in": None}
    if getattr(parsed_args, "no_retention", False):
        found["retention"] = None
    return found

# SPDX-License-Identifier: Apache-2.0
"""The examples of the page about retention are what retention decides."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from magnetodb_backup.cli.policy_words import policy_from_words
from magnetodb_backup.cli.retention import add_policy, policy_from
from magnetodb_backup.domain.retention.candidates import Candidate, State, group_of
from magnetodb_backup.domain.retention.decide import decide
from magnetodb_backup.domain.retention.policies import Policies, SchedulePolicy
from magnetodb_backup.domain.retention.policy import Policy, check_policy
from tests.lab.documents import DOCUMENTS

NOW = datetime(2026, 12, 1, 12, tzinfo=timezone.utc)
Row = tuple[str, str, str, str]
_ROW = re.compile(
    r"   \* - (\d{4}-\d\d-\d\d \d\d:\d\d)\n     - (\S+)\n     - (kept|expires)\n     - (.+)\n"
)

_MADE = re.compile(
    r"   \* - (\d{4}-\d\d-\d\d \d\d:\d\d)\n     - (.+)\n     - (kept|expires)\n     - (.+)\n"
)


def examples() -> Iterator[tuple[str, str, list[Row]]]:
    """Yield the title, the options and the rows of each example."""
    text = (DOCUMENTS / "admin" / "retention.rst").read_text()
    section = re.split(r"\n=+\n", text.partition("\nExamples\n========\n")[2])[0]
    for part in re.split(r"\n(?=[^\n]+\n-+\n)", section)[1:]:
        (options,) = re.findall(r"retention set (.+)", part)
        yield part.partition("\n")[0], options, _ROW.findall(part)


EXAMPLES = list(examples())


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(("title", "options", "rows"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
def test_an_example_is_what_retention_decides(title: str, options: str, rows: list[Row]) -> None:
    parser = ArgumentParser()
    add_policy(parser)
    policy = policy_from(parser.parse_args(shlex.split(options)), Policy())
    check_policy(policy)
    group = group_of({"type": "all"})
    backups = [Candidate(time, group, State(state), moment(time)) for time, state, _, _ in rows]
    decided = [
        (
            d.candidate.id,
            d.candidate.state.value,
            "kept" if d.kept else "expires",
            d.why,
        )
        for d in decide(policy, backups, NOW)
    ]
    assert decided == rows


def test_the_example_of_a_schedule_with_a_policy_of_its_own() -> None:
    text = (DOCUMENTS / "admin" / "retention.rst").read_text()
    section = text.partition("\nThe policy of a schedule\n")[2].partition("\nKeep a backup")[0]
    ((name, words),) = re.findall(r"schedule create (\w+) .* --retention (.+)", section)
    (options,) = re.findall(r"retention set (.+)", section.partition("At noon")[0])
    parser = ArgumentParser()
    add_policy(parser)
    own = SchedulePolicy(name, name, Policy(**policy_from_words(words)))
    policies = Policies(policy_from(parser.parse_args(shlex.split(options)), Policy()), (own,))
    rows = _MADE.findall(section)
    group = group_of({"type": "all"})
    backups = [
        Candidate(time, group, State.RESTORABLE, moment(time), schedule_id=made_by)
        for time, made_by, _, _ in rows
    ]
    decided = [
        (d.candidate.id, d.candidate.schedule_id, "kept" if d.kept else "expires", d.why)
        for d in policies.decide(backups, NOW)
    ]
    assert len(rows) == 6
    assert decided == rows


def test_examples_are_found() -> None:
    assert [len(rows) for _, _, rows in EXAMPLES] == [7, 6, 5, 4]

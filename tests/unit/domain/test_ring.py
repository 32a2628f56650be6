# SPDX-License-Identifier: Apache-2.0
"""Ring members and reports as they travel."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.ring import NodeReport, RingMember
from tests.unit.domain.samples import HIGHEST_TOKEN, LOWEST_TOKEN, MEMBER, REPORT


def travelled(document: Any) -> Any:
    return json.loads(json.dumps(document))


def test_members_survive_json() -> None:
    assert RingMember.from_json(travelled(MEMBER.as_json())) == MEMBER


def test_tokens_are_strings_because_json_numbers_lose_digits_elsewhere() -> None:
    assert MEMBER.as_json()["tokens"] == [str(LOWEST_TOKEN), "0", str(HIGHEST_TOKEN)]


@pytest.mark.parametrize(
    "report",
    [
        REPORT,
        replace(REPORT, problem="Cassandra does not answer"),
        replace(REPORT, member=None, directories=(), problem="no Cassandra yet"),
    ],
    ids=["well", "in trouble", "without a node"],
)
def test_reports_survive_json(report: NodeReport) -> None:
    assert NodeReport.from_json(travelled(report.as_json())) == report


def test_a_report_without_a_problem_is_well() -> None:
    document = REPORT.as_json()
    del document["problem"]
    assert NodeReport.from_json(document).problem == ""

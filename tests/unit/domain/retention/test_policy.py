# SPDX-License-Identifier: Apache-2.0
"""Values of a policy and of a mark."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.retention.policy import (
    COUNTS,
    Policy,
    check_policy,
    check_reason,
    zone_of,
)
from magnetodb_backup.errors import InvalidValue

GOOD = Policy(redundancy=3)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"redundancy": 0}, "keeps nothing; set one or more of redundancy, window_days"),
        ({"redundancy": -1}, "redundancy is -1; use 0 to 10000"),
        ({"window_days": 10_001}, "window_days is 10001"),
        ({"floor": 0}, "floor is 0; use 1 to"),
        ({"failed_days": -1}, "failed_days is -1"),
        ({"time_zone": "Europe/Atlantis"}, "no time zone 'Europe/Atlantis'.*install tzdata"),
        ({"time_zone": "/etc/passwd"}, "no time zone '/etc/passwd'"),
        ({"time_zone": "Europe"}, "no time zone 'Europe'"),
        ({"time_zone": ""}, "no time zone ''"),
        ({"time_zone": "a\0b"}, "no time zone"),
    ],
)
def test_wrong_values(changed: dict[str, Any], named: str) -> None:
    check_policy(GOOD)
    with pytest.raises(InvalidValue, match=named):
        check_policy(replace(GOOD, **changed))


def test_one_rule_is_enough() -> None:
    for name in COUNTS:
        only: dict[str, Any] = {name: 1}
        check_policy(Policy(**only))
    assert COUNTS == ("redundancy", "window_days", "daily", "weekly", "monthly", "yearly")


def test_utc_needs_no_time_zones_of_the_machine() -> None:
    assert zone_of("UTC").utcoffset(None) is not None
    assert str(zone_of("Europe/Berlin")) == "Europe/Berlin"


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "a\nb"])
def test_wrong_reasons(reason: str) -> None:
    check_reason("the state before the migration 🐘")
    with pytest.raises(InvalidValue, match="reason"):
        check_reason(reason)

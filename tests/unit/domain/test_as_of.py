# SPDX-License-Identifier: Apache-2.0
"""Times as operators write them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from magnetodb_backup.domain.as_of import as_of_in, check_as_of, parse_as_of
from magnetodb_backup.errors import InvalidValue

NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-30T12:00:00Z",
        "2026-11-30T12:00:00+00:00",
        " 2026-11-30 12:00 ",
        "2026-11-30T13:00+01:00",
        "20261130T120000",
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str) -> None:
    moment = parse_as_of(text)
    assert (moment, moment.utcoffset()) == (NOON, timedelta(0))
    assert as_of_in({"as_of": moment.isoformat()}) == NOON


@pytest.mark.parametrize("text", ["", "yesterday", "12:00", "2026-13-01T00:00:00Z", "1796096037"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="ISO 8601"):
        parse_as_of(text)


def test_the_future_is_not_known() -> None:
    check_as_of(NOON, NOON)
    with pytest.raises(InvalidValue, match=r"in the future.*2026-11-30T11:59:59"):
        check_as_of(NOON, NOON - timedelta(seconds=1))


@pytest.mark.parametrize("parameters", [{}, {"as_of": ""}, {"as_of": None}])
def test_jobs_without_a_time_read_the_present_store(parameters: dict[str, str]) -> None:
    assert as_of_in(parameters) is None

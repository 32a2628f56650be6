# SPDX-License-Identifier: Apache-2.0
"""What errors of drivers mean."""

from __future__ import annotations

import pytest
from oslo_db import exception as db_errors
from sqlalchemy import exc

from magnetodb_backup.database.session import database_errors
from magnetodb_backup.errors import DatabaseUnavailable, InvalidValue


def _operational(code: int, text: str) -> exc.OperationalError:
    return exc.OperationalError("UPDATE jobs", {}, Exception(code, text))


@pytest.mark.parametrize("wrapped", [False, True])
def test_statement_that_is_too_large_is_no_outage(wrapped: bool) -> None:
    """The job would be repeated for ever: to do it again makes its result no smaller."""
    error: Exception = _operational(1153, "Got a packet bigger than 'max_allowed_packet' bytes")
    with pytest.raises(InvalidValue, match="set its max_allowed_packet"), database_errors():
        raise db_errors.DBError(error) if wrapped else error


def test_server_that_has_gone_away_is_an_outage() -> None:
    with pytest.raises(DatabaseUnavailable), database_errors():
        raise _operational(2006, "MySQL server has gone away")

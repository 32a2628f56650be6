# SPDX-License-Identifier: Apache-2.0
"""Upgrades of two processes at once."""

from __future__ import annotations

from typing import cast

import pytest
from sqlalchemy import make_url
from sqlalchemy.engine import Connection

from magnetodb_backup.database.migration import take_lock
from magnetodb_backup.errors import DatabaseUnavailable


class _Connection:
    """Answers every statement with one value."""

    def __init__(self, kind: str, answer: object) -> None:
        self.dialect = make_url(f"{kind}://").get_dialect()()
        self._answer = answer
        self.statements: list[str] = []

    def exec_driver_sql(self, statement: str) -> _Connection:
        self.statements.append(statement)
        return self

    def scalar(self) -> object:
        return self._answer


@pytest.mark.parametrize("answer", [0, None])
def test_lock_that_another_upgrade_holds(answer: object) -> None:
    """Finding 27: GET_LOCK returns 0 after its timeout, and NULL after an error."""
    connection = _Connection("mysql", answer)
    with pytest.raises(DatabaseUnavailable, match=r"another process has been .* repeat .* db sync"):
        take_lock(cast(Connection, connection))
    assert "GET_LOCK" in connection.statements[0]


@pytest.mark.parametrize(
    ("kind", "answer", "count"), [("mysql", 1, 1), ("postgresql", "", 1), ("sqlite", None, 0)]
)
def test_lock_that_is_taken(kind: str, answer: object, count: int) -> None:
    connection = _Connection(kind, answer)
    take_lock(cast(Connection, connection))
    assert len(connection.statements) == count

# SPDX-License-Identifier: Apache-2.0
"""What a role reads of masked columns (case 11). test_unkind asks a real Cassandra the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from magnetodb_backup.cassandra.cql.role import SessionRole
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed

TABLE = TableName("ks", "T")


class Answers:
    """A session of a role that nothing was granted to."""

    def __init__(self) -> None:
        self.masks: list[str] | None = ["mail", "card"]  # None before 5.0
        self.settings = {
            "dynamic_data_masking_enabled": "true",
            "authorizer": "CassandraAuthorizer",
        }
        self.granted = self.superuser = False
        self.asked: list[str] = []

    def rows(self, query: str, parameters: object = None) -> list[Any]:
        self.asked.append(query)
        if "column_masks" in query:
            assert parameters == ("ks", "T")
            if self.masks is None:
                raise CommandFailed("unconfigured table column_masks")
            return [SimpleNamespace(column_name=name) for name in self.masks]
        if "settings" in query:
            return [SimpleNamespace(name=n, value=v) for n, v in self.settings.items()]
        if query == 'LIST UNMASK ON TABLE ks."T" OF "Mixed Case"':
            return [object()] if self.granted else []
        assert query == 'LIST ROLES OF "Mixed Case"'
        return [SimpleNamespace(super=False), SimpleNamespace(super=self.superuser)]


def _role(answers: Answers, username: str = "Mixed Case") -> SessionRole:
    return SessionRole(answers, username)  # type: ignore[arg-type]


def test_masked_columns_are_named() -> None:
    assert _role(Answers()).masked_columns(TABLE) == ("card", "mail")


@pytest.mark.parametrize(
    "change",
    [
        {"granted": True},
        {"superuser": True},
        {"masks": []},
        {"masks": None},
        {"settings": {"authorizer": "AllowAllAuthorizer", "dynamic_data_masking_enabled": "true"}},
        {"settings": {"authorizer": None, "dynamic_data_masking_enabled": "true"}},
        {
            "settings": {
                "authorizer": "CassandraAuthorizer",
                "dynamic_data_masking_enabled": "false",
            }
        },
    ],
)
def test_values_are_read(change: dict[str, Any]) -> None:
    answers = Answers()
    for name, value in change.items():
        setattr(answers, name, value)
    assert _role(answers).masked_columns(TABLE) == ()


def test_tables_without_masks_cost_one_query() -> None:
    answers = Answers()
    answers.masks = []
    _role(answers).masked_columns(TABLE)
    assert len(answers.asked) == 1


def test_superusers() -> None:
    answers = Answers()
    assert not _role(answers).is_superuser()
    answers.superuser = True
    assert _role(answers).is_superuser()
    assert not _role(answers, "").is_superuser()

# SPDX-License-Identifier: Apache-2.0
"""db sync, db version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from magnetodb_backup.database import Database, connect
from magnetodb_backup.database.session import make_engine
from tests.unit.cli.conftest import Shell


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    made = connect(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    yield made
    made.close()


def test_from_nothing_to_the_newest(shell: Shell, database: Database) -> None:
    newest = database.expected_version()
    assert shell("db", "version", "-f", "json").json == {"version": None, "expected": newest}
    for _ in range(2):
        outcome = shell("db", "sync")
        assert outcome.code == 0
        assert outcome.out == f"database is at version {newest}\n"
    assert shell("db", "version", "-f", "json").json == {"version": newest, "expected": newest}
    assert shell("db", "version", "-f", "value").out == f"{newest}\n{newest}\n"


def test_newer_database_is_left_alone(shell: Shell, database: Database, tmp_path: Path) -> None:
    database.sync()
    engine = make_engine(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    assert "install the newer magnetodb-backup" in shell.refused(2, "db", "sync")
    assert shell("db", "version", "-f", "json").json["version"] == "9999"

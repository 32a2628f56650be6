# SPDX-License-Identifier: Apache-2.0
"""Which worker lives is decided by the clock of the database, as which conductor does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from magnetodb_backup.database import Database
from tests.lab.catalogue import catalogue
from tests.unit.domain.samples import REPORT

_EPOCH = 2440587.5  # 1970-01-01, as a Julian day


@pytest.fixture
def days() -> list[float]:
    """Days since 1970 by the clock of the database."""
    return [100.0]


@pytest.fixture
def database(tmp_path: Path, days: list[float]) -> Iterator[Database]:
    with catalogue(tmp_path) as made:

        def on_connect(connection: Any, record: Any) -> None:
            connection.create_function("julianday", 1, lambda _: _EPOCH + days[0])

        event.listen(made._engine, "connect", on_connect)
        yield made


def test_reports_have_the_time_of_the_database(database: Database, days: list[float]) -> None:
    """Finding 26: two conductors whose clocks differ saw each other's workers as dead."""
    database.nodes.report(REPORT)
    (node,) = database.nodes.list(live_within=20)
    assert node.live
    assert abs(node.last_seen.timestamp() - 100 * 86400) < 1
    days[0] += 1
    (node,) = database.nodes.list(live_within=20)
    assert not node.live
    assert database.nodes.clusters(20) == ()


def test_conductors_live_by_the_time_of_the_database(database: Database, days: list[float]) -> None:
    database.nodes.conductor_seen("one")
    assert database.nodes.conductors(20) == ("one",)
    days[0] += 0.5
    assert database.nodes.conductors(20) == ()
    days[0] += 1
    database.nodes.conductor_seen("two")
    assert database.nodes.conductors(10**6) == ("two",)

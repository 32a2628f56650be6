# SPDX-License-Identifier: Apache-2.0
"""Database servers that the contracts share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.mariadb import MariaDB
from tests.lab.ports import LoopbackBlock
from tests.lab.postgresql import PostgreSQL

_MARIADB, _POSTGRESQL = 248, 249


@pytest.fixture(scope="session")
def mariadb(lab: Path, loopback: LoopbackBlock) -> Iterator[MariaDB]:
    server = MariaDB(lab / "mariadb.log", address=loopback.address(_MARIADB))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgresql(lab: Path, loopback: LoopbackBlock) -> Iterator[PostgreSQL]:
    server = PostgreSQL(lab / "postgresql.log", address=loopback.address(_POSTGRESQL))
    server.start()
    yield server
    server.stop()

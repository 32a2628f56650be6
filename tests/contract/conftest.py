# SPDX-License-Identifier: Apache-2.0
"""Databases for the contracts, and the servers that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from magnetodb_backup.database import Database, connect
from tests.lab.mariadb import MariaDB
from tests.lab.ports import LoopbackBlock
from tests.lab.postgresql import PostgreSQL

_MARIADB, _POSTGRESQL = 248, 249
SERVERS = ["mariadb", "postgresql"]


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


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[MariaDB | PostgreSQL]:
    """A database server, running again after the test whatever that did to it."""
    running: MariaDB | PostgreSQL = request.getfixturevalue(request.param)
    yield running
    running.process.resume()
    running.start()


@pytest.fixture(params=["sqlite", *SERVERS])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalogue.sqlite'}"
    running: MariaDB | PostgreSQL = request.getfixturevalue(request.param)
    return running.create_database()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the service's schema."""
    made = connect(database_url)
    made.sync()
    yield made
    made.close()

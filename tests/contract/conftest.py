# SPDX-License-Identifier: Apache-2.0
"""Databases for the contracts, and the servers that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from magnetodb_backup.database import Database, connect
from magnetodb_backup.database.models import Base
from magnetodb_backup.database.session import make_engine
from tests.lab.catalogue import catalogue
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
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> str:
    """The URL of an empty database of its own."""
    if database_kind == "sqlite":
        return f"sqlite:///{tmp_path / 'catalogue.sqlite'}"
    running: MariaDB | PostgreSQL = request.getfixturevalue(database_kind)
    return running.create_database()


@pytest.fixture(scope="session")
def kept_urls() -> dict[str, str]:
    """The URL of the database that tests of a server use in turn."""
    return {}


@pytest.fixture
def database(
    request: pytest.FixtureRequest, database_kind: str, kept_urls: dict[str, str], tmp_path: Path
) -> Iterator[Database]:
    """A database with the service's schema and no rows.

    A test that asks for ``database_url`` gets a database of its own. Others of a server use one in
    turn: its schema takes ten times as long to make as most tests need.
    """
    if "database_url" in request.fixturenames:
        made = connect(request.getfixturevalue("database_url"))
        made.sync()
    elif database_kind == "sqlite":
        with catalogue(tmp_path) as made:
            yield made
        return
    else:
        server: MariaDB | PostgreSQL = request.getfixturevalue(database_kind)
        if database_kind not in kept_urls:
            kept_urls[database_kind] = server.create_database()
        made = connect(kept_urls[database_kind])
        made.sync()
        _remove_rows(kept_urls[database_kind])
    yield made
    made.close()


def _remove_rows(url: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    engine.dispose()

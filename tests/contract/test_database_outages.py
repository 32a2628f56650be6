# SPDX-License-Identifier: Apache-2.0
"""Databases that are not there, refuse, or go away."""

from __future__ import annotations

import socket
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from oslo_db.exception import DBDeadlock
from sqlalchemy.orm import Session

from magnetodb_backup.database import Database, connect
from magnetodb_backup.database.session import Transactions, make_engine
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.errors import BackupError, DatabaseUnavailable, InvalidValue
from tests.lab.mariadb import MariaDB
from tests.lab.ports import LoopbackBlock
from tests.lab.postgresql import PostgreSQL

Server = MariaDB | PostgreSQL
SECRET = "hush-hush"
DRIVERS = ["mysql+pymysql", "postgresql+psycopg2"]
UNAVAILABLE = r"^the database does not answer \(.+\); check \[database\] connection$"


def create(database: Database, name: str = "") -> str:
    request = BackupRequest({"type": "all"}, name)
    return database.backups.create(request, str(uuid.uuid4()), "c").id


@pytest.fixture
def served(server: Server) -> Iterator[Database]:
    database = connect(server.create_database())
    database.sync()
    yield database
    database.close()


def test_server_killed_and_started_again(served: Database, server: Server) -> None:
    backup_id = create(served, "nightly")
    server.process.kill()
    for attempt in (
        lambda: served.backups.get(backup_id),
        lambda: create(served),
        lambda: served.nodes.conductor_seen("c"),
        served.version,
        served.sync,
        served.check,
    ):
        with pytest.raises(DatabaseUnavailable, match=UNAVAILABLE) as caught:
            attempt()
        assert server.password not in str(caught.value)
    server.start()
    assert served.backups.get(backup_id).name == "nightly"
    assert create(served) != backup_id
    served.check()


def test_server_killed_in_a_transaction(server: Server) -> None:
    transactions = Transactions(make_engine(server.create_database()))

    def work(session: Session) -> None:
        session.connection()
        server.process.kill()
        session.connection().exec_driver_sql("SELECT 1")

    with pytest.raises(DatabaseUnavailable, match=UNAVAILABLE):
        transactions.run(work)
    transactions.engine.dispose()


def test_silent_server_is_given_up(mariadb: MariaDB) -> None:
    database = connect(mariadb.create_database() + "?read_timeout=1")
    database.sync()
    mariadb.process.pause()
    started = time.monotonic()
    try:
        with pytest.raises(DatabaseUnavailable, match="timed out"):
            database.backups.list()
    finally:
        mariadb.process.resume()
    assert time.monotonic() - started < 20
    assert database.backups.list() == ()
    database.close()


@pytest.mark.parametrize("scheme", DRIVERS)
def test_port_that_only_listens_is_given_up(loopback: LoopbackBlock, scheme: str) -> None:
    with socket.create_server((loopback.address(10), 0)) as listener:
        address, port = listener.getsockname()
        reading = "&read_timeout=2" if "mysql" in scheme else ""
        url = f"{scheme}://lab:{SECRET}@{address}:{port}/x?connect_timeout=2{reading}"
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match=r"(?i)time"):
            connect(url).version()
        assert time.monotonic() - started < 20


@pytest.mark.parametrize("scheme", DRIVERS)
def test_every_wait_ends(scheme: str) -> None:
    limits = {"connect_timeout", *(("read_timeout",) if "mysql" in scheme else ())}
    engine = make_engine(f"{scheme}://lab@127.0.0.1/x")
    assert all(1 <= float(str(engine.url.query[name])) <= 120 for name in limits)
    chosen = make_engine(f"{scheme}://lab@127.0.0.1/x?connect_timeout=7")
    assert chosen.url.query["connect_timeout"] == "7"


def _refusal(url: str, caplog: pytest.LogCaptureFixture) -> BackupError:
    """Return the error of using a database; its password must be nowhere."""
    with pytest.raises(BackupError) as caught:
        connect(url).version()
    assert SECRET not in f"{caught.value!r}{caplog.text}"
    return caught.value


def test_wrong_password(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    error = _refusal(server.url("x", password=SECRET), caplog)
    assert isinstance(error, DatabaseUnavailable)
    assert "lab" in str(error)
    assert "denied" in str(error) or "password authentication failed" in str(error)


def test_missing_database(server: Server) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"\([^(]*nowhere.*\); check"):
        connect(server.url("nowhere")).version()


@pytest.mark.parametrize("scheme", DRIVERS)
def test_unreachable_server(
    loopback: LoopbackBlock, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    address = loopback.address(11)
    error = _refusal(f"{scheme}://lab:{SECRET}@{address}:1/x", caplog)
    assert isinstance(error, DatabaseUnavailable)
    assert address in str(error)
    assert "refused" in str(error)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (f"lab:{SECRET}@somewhere", "no database URL; write for example"),
        (f"mysql+pymysql://lab:{SECRET}@somewhere:port/x", "no database URL; write for example"),
        (f"mysql+pymysql://lab:p@ss{SECRET}@somewhere/x", r"password as %XX$"),
        (f"floppy://lab:{SECRET}@somewhere/x", "floppy"),
        (f"mysql://lab:{SECRET}@somewhere/x", r"MySQLdb; install it, or write mysql\+pymysql"),
        (f"postgresql+pg8000://lab:{SECRET}@h/x", r"pg8000; install it, .*postgresql\+psycopg2"),
    ],
)
def test_unusable_url(url: str, named: str, caplog: pytest.LogCaptureFixture) -> None:
    error = _refusal(url, caplog)
    assert isinstance(error, InvalidValue)
    with pytest.raises(InvalidValue, match=named):
        raise error


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_text("this is a text, and a long one at that: " * 100)
    with pytest.raises(DatabaseUnavailable, match="file is not a database"):
        connect(f"sqlite:///{path}").version()


def test_file_without_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x.sqlite"
    with pytest.raises(InvalidValue, match=rf"{path} cannot be used \(No such file.*directory"):
        connect(f"sqlite:///{path}")


def test_files_are_private(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path / 'x.sqlite'}")
    database.sync()
    create(database)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    database.close()


def test_conflicts_without_end_are_an_outage(tmp_path: Path) -> None:
    transactions = Transactions(make_engine(f"sqlite:///{tmp_path / 'x.sqlite'}"), patience=0.1)
    calls = []

    def work(session: Session) -> None:
        calls.append(session)
        raise DBDeadlock

    with pytest.raises(DatabaseUnavailable, match="too many writers"):
        transactions.run(work)
    assert len(calls) > 1

# SPDX-License-Identifier: Apache-2.0
"""The engine and transactions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import tenacity
from oslo_db import exception as db_errors
from oslo_db.sqlalchemy import engines
from sqlalchemy import create_engine, event, exc
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.orm import Session

from magnetodb_backup.errors import BackupError, DatabaseUnavailable, InvalidValue

Result = TypeVar("Result")
_RETRIED = (db_errors.DBDeadlock, db_errors.DBDuplicateEntry, exc.IntegrityError)
_PACKET_TOO_LARGE = 1153  # MariaDB's and MySQL's code, which the library takes for an outage
_NOT_SERIALIZABLE = "40001"  # PostgreSQL's code for a conflict between transactions
_SQLITE_PATIENCE = 10.0  # seconds to wait for another connection's lock
# Seconds, except tcp_user_timeout. A server that vanished must not hold a process for ever; a
# statement of ours may wait 50 seconds for InnoDB's locks. What a URL says itself wins.
_CONNECTION_PARAMETERS: dict[str, dict[str, str]] = {
    "pymysql": {
        "charset": "utf8mb4",  # oslo.db's own default has no room for characters of four bytes
        "connect_timeout": "10",
        "read_timeout": "90",
        "write_timeout": "90",
    },
    "psycopg2": {
        "connect_timeout": "10",
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "60000",
    },
}


def make_engine(url: str) -> Engine:
    """Return an engine for ``url``; an SQLite file is made private to its owner.

    :raises InvalidValue: if the URL is malformed, its driver is not installed or the SQLite file
        cannot be made.
    """
    parsed = _parsed(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and parsed.database:
        _make_private(Path(parsed.database))
    try:
        if sqlite:
            engine = create_engine(parsed)
            _tune_sqlite(engine)
            return engine
        return cast(
            Engine,
            engines.create_engine(
                parsed,
                mysql_sql_mode="TRADITIONAL",  # a value that is too long is an error, not cut
                max_retries=0,
                max_pool_size=20,
                max_overflow=40,
            ),
        )
    except exc.NoSuchModuleError as error:
        raise InvalidValue(f"[database] connection: {error}") from None
    except ModuleNotFoundError as error:
        raise InvalidValue(
            f"[database] connection: {parsed.drivername} needs the Python package {error.name}; "
            "install it, or write mysql+pymysql:// or postgresql+psycopg2://"
        ) from None


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
        if "@" in (url.host or ""):
            raise ValueError("the rest of a password")  # which must not go into messages
    except (exc.ArgumentError, ValueError):
        raise InvalidValue(
            "[database] connection is no database URL; write for example "
            "sqlite:////var/lib/magnetodb-backup/magnetodb-backup.sqlite or "
            "mysql+pymysql://user:password@host/magnetodb_backup, special characters of the "
            "password as %XX"
        ) from None
    if url.get_backend_name() == "mariadb":  # oslo.db knows MariaDB's errors as MySQL's only
        url = url.set(drivername=url.drivername.replace("mariadb", "mysql", 1))
    _, _, driver = url.drivername.partition("+")
    defaults = _CONNECTION_PARAMETERS.get(driver, {})
    return url.update_query_dict({k: v for k, v in defaults.items() if k not in url.query})


def _make_private(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise InvalidValue(
            f"the database file {path} cannot be used ({error.strerror}); make its directory for "
            "the service's user, or set [database] connection"
        ) from None


def _tune_sqlite(engine: Engine) -> None:
    """Begin each transaction with the write lock.

    oslo.db's own handling begins with a read lock, and two writers then fail each other.
    """

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions begin below, with a write lock
        connection.execute(f"PRAGMA busy_timeout = {int(_SQLITE_PATIENCE * 1000)}")
        # SQLite does not wait, whatever its busy_timeout, while another connection changes the
        # journal's mode, or is the last to close and removes the journal.
        _unlocked(connection.execute, "PRAGMA journal_mode = WAL")
        _unlocked(connection.execute, "PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Any) -> None:
        _unlocked(connection.exec_driver_sql, "BEGIN IMMEDIATE")


def _unlocked(execute: Callable[[str], object], statement: str) -> None:
    """Execute a statement once SQLite lets this connection have the lock."""
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: "database is locked" in str(error)),
        wait=tenacity.wait_random(0.005, 0.05),
        stop=tenacity.stop_after_delay(_SQLITE_PATIENCE),
        reraise=True,
    ):
        with attempt:
            execute(statement)


def _reason(error: BaseException) -> str:
    """Return the first line of what the database itself said."""
    error = getattr(error, "inner_exception", None) or error
    error = getattr(error, "orig", None) or error
    text = str(error.args[1] if len(error.args) == 2 else error)  # PyMySQL: number and text
    return (text.splitlines() or [type(error).__name__])[0][:200]


def _translated(error: Exception) -> BackupError | db_errors.DBError | None:
    """Return what an error of a driver means, None if it means nothing that we know."""
    inner = getattr(error, "inner_exception", None) or error
    cause = getattr(inner, "orig", None)
    if isinstance(error, db_errors.DBDeadlock):
        return error
    if isinstance(cause, BackupError):  # a type of ours refused a value
        return cause
    if getattr(cause, "pgcode", None) == _NOT_SERIALIZABLE:
        return db_errors.DBDeadlock(inner)
    if getattr(cause, "args", ())[:1] == (_PACKET_TOO_LARGE,):
        return InvalidValue(
            f"the database refuses a statement of this size ({_reason(error)}); set its "
            "max_allowed_packet to 16M or more"
        )
    if isinstance(error, db_errors.DBInvalidUnicodeParameter) or isinstance(
        inner, exc.DataError | ValueError
    ):
        return InvalidValue(f"the database cannot store a value ({_reason(error)})")
    if (
        isinstance(error, db_errors.DBConnectionError | exc.TimeoutError)
        or isinstance(inner, exc.OperationalError | exc.InterfaceError)
        or type(inner) is exc.DatabaseError  # no database in the file, or a garbled connection
        or getattr(inner, "connection_invalidated", False)
    ):
        return DatabaseUnavailable(
            f"the database does not answer ({_reason(error)}); check [database] connection"
        )
    return None


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Turn errors of drivers into ours; conflicts between writers stay what they are."""
    try:
        yield
    except (exc.SQLAlchemyError, db_errors.DBError, UnicodeEncodeError) as error:
        translated = _translated(error)
        if translated is None or translated is error:
            raise
        raise translated from None


class Transactions:
    """Runs functions in transactions of their own; conflicts between writers are tried again.

    ``patience`` is for how many seconds.
    """

    def __init__(self, engine: Engine, *, patience: float = 10.0) -> None:
        self.engine = engine
        self._patience = patience

    def confirm(self, session: Session, *, lock: bool) -> None:
        """Check what must hold for a write; ``lock`` keeps it so until the transaction ends."""

    def write(self, work: Callable[[Session], Result], *, serializable: bool = False) -> Result:
        """Run ``work``, which may write, after ``confirm`` in the same transaction.

        :raises DatabaseUnavailable: if the database does not answer.
        """

        def confirmed(session: Session) -> Result:
            self.confirm(session, lock=True)
            return work(session)

        return self.run(confirmed, serializable=serializable)

    def run(self, work: Callable[[Session], Result], *, serializable: bool = False) -> Result:
        """Run ``work`` and commit; ``serializable`` where it decides by what it does not find.

        What writes uses ``write()``.

        :raises DatabaseUnavailable: if the database does not answer.
        """
        try:
            return self._tried_again(work, serializable)
        except db_errors.DBDeadlock as error:
            raise DatabaseUnavailable(
                f"the database has too many writers ({_reason(error)}); try again later"
            ) from None

    def _tried_again(self, work: Callable[[Session], Result], serializable: bool) -> Result:
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_RETRIED),
            wait=tenacity.wait_random_exponential(0.02, max=1),
            stop=tenacity.stop_after_delay(self._patience),
            reraise=True,
        ):
            with (
                attempt,
                database_errors(),
                Session(self.engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                if serializable and self.engine.dialect.name != "sqlite":  # which always is
                    session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
                return work(session)
        raise AssertionError("tenacity raises the last error")  # pragma: no cover

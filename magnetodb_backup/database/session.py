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
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.orm import Session

from magnetodb_backup.errors import DatabaseUnavailable, InvalidValue

Result = TypeVar("Result")
_RETRIED = (db_errors.DBDeadlock, db_errors.DBDuplicateEntry, exc.IntegrityError)


def make_engine(url: str) -> Engine:
    """Return an engine for ``url``; an SQLite file is made private to its owner.

    :raises InvalidValue: if the URL is malformed or the SQLite file cannot be made.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise InvalidValue(
            "[database] connection is no database URL; write for example "
            "sqlite:////var/lib/magnetodb-backup/magnetodb-backup.sqlite or "
            "mysql+pymysql://user:password@host/magnetodb_backup"
        ) from None
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and parsed.database:
        _make_private(Path(parsed.database))
    try:
        if sqlite:
            engine = create_engine(parsed)
            _tune_sqlite(engine)
            return engine
        engine = cast(
            Engine,
            engines.create_engine(url, max_retries=0, max_pool_size=20, max_overflow=40),
        )
    except exc.NoSuchModuleError as error:
        raise InvalidValue(f"[database] connection: {error}") from None
    except (db_errors.DBConnectionError, exc.OperationalError) as error:
        raise DatabaseUnavailable(_unavailable(error)) from None
    return engine


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
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA busy_timeout = 10000")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _unavailable(error: BaseException) -> str:
    reason = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
    return f"the database does not answer ({reason[:200]}); check [database] connection"


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Turn lost connections into DatabaseUnavailable."""
    try:
        yield
    except (db_errors.DBConnectionError, exc.OperationalError, exc.InterfaceError) as error:
        raise DatabaseUnavailable(_unavailable(error)) from None
    except db_errors.DBError as error:
        inner = getattr(error, "inner_exception", None)
        if isinstance(inner, exc.OperationalError | exc.InterfaceError) or getattr(
            inner, "connection_invalidated", False
        ):
            raise DatabaseUnavailable(_unavailable(inner or error)) from None
        raise


class Transactions:
    """Runs functions in transactions of their own; conflicts between writers are tried again."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, work: Callable[[Session], Result]) -> Result:
        """Run ``work`` and commit.

        :raises DatabaseUnavailable: if the database does not answer.
        """
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_RETRIED),
            wait=tenacity.wait_random_exponential(0.02, max=1),
            stop=tenacity.stop_after_delay(10),
            reraise=True,
        ):
            with (
                attempt,
                database_errors(),
                Session(self.engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                return work(session)
        raise AssertionError("tenacity raises the last error")  # pragma: no cover

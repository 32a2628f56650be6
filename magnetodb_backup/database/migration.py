# SPDX-License-Identifier: Apache-2.0
"""Runs the alembic revisions that come with the package."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection, Engine

_MIGRATIONS = Path(__file__).parent / "migrations"
# What lets one upgrade wait for another; SQLite's transaction does.
_LOCKS = {
    "mysql": "SELECT GET_LOCK('magnetodb-backup-migration', 60)",
    "postgresql": "SELECT pg_advisory_xact_lock(7306358)",
}


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine) -> None:
    """Upgrade to the newest revision, in one transaction where the database can do that."""
    try:
        with engine.begin() as connection:
            if lock := _LOCKS.get(engine.dialect.name):
                connection.exec_driver_sql(lock)
            command.upgrade(_config(connection), "head")
    finally:
        engine.dispose()  # MySQL's lock ends with its connection


def current(engine: Engine) -> str | None:
    """Return the database's revision."""
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        return str(revision) if revision else None


def head() -> str:
    """Return the newest revision of the package."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("the package has no database revisions")
    return revision


def is_known(revision: str) -> bool:
    """Return whether the package has this revision."""
    try:
        return ScriptDirectory.from_config(_config()).get_revision(revision) is not None
    except CommandError:
        return False

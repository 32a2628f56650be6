# SPDX-License-Identifier: Apache-2.0
"""Runs the alembic revisions that come with the package.

alembic is imported only to upgrade and to look at unknown revisions: every command of the command
line compares the database's revision with the package's, and must not wait 0.2 s for the import.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect
from sqlalchemy.engine import Connection, Engine

from magnetodb_backup.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"
# What lets one upgrade wait for another; SQLite's transaction does.
_LOCKS = {
    "mysql": "SELECT GET_LOCK('magnetodb-backup-migration', 60)",
    "postgresql": "SELECT pg_advisory_xact_lock(7306358)",
}


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine) -> None:
    """Upgrade to the newest revision, in one transaction where the database can do that.

    :raises DatabaseUnavailable: if another process upgrades it for a long time.
    """
    from alembic import command

    try:
        with engine.begin() as connection:
            take_lock(connection)
            command.upgrade(_config(connection), "head")
    finally:
        engine.dispose()  # MySQL's lock ends with its connection


def take_lock(connection: Connection) -> None:
    """Wait for the end of an upgrade by another process.

    :raises DatabaseUnavailable: if MariaDB or MySQL gives up waiting, which it shows by its answer.
    """
    dialect = connection.dialect.name
    if dialect not in _LOCKS:
        return
    answer = connection.exec_driver_sql(_LOCKS[dialect]).scalar()
    if dialect == "mysql" and answer != 1:
        raise DatabaseUnavailable(
            "another process has been upgrading the database for a minute; wait for its end, and "
            "repeat magnetodb-backup-manage db sync"
        )


def current(engine: Engine) -> str | None:
    """Return the revision that the database records, None if it records none."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return str(revision) if revision else None


def head() -> str:
    """Return the newest revision of the package.

    Revisions are numbered and a file's name begins with its revision, so the last name has it.
    """
    names = sorted(path.name for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))
    return names[-1].partition("_")[0]


def is_known(revision: str) -> bool:
    """Return whether the package has this revision."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        return ScriptDirectory.from_config(_config()).get_revision(revision) is not None
    except CommandError:
        return False

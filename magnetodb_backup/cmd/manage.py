# SPDX-License-Identifier: Apache-2.0
"""magnetodb-backup-manage: the operators' command line.

The functions import what they need when a command asks for it, because imports are most of the
time that a command takes: --version needs none of these libraries, backup list no message bus.
"""

from __future__ import annotations

import logging
import shlex
import shutil
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from magnetodb_backup.cli.app import ManageApp
from magnetodb_backup.cli.services import Services

if TYPE_CHECKING:
    from oslo_config import cfg

    from magnetodb_backup.database import Database
    from magnetodb_backup.repository.cluster import ClusterRepository
    from magnetodb_backup.repository.stored_backups import StoredBackups
    from magnetodb_backup.requests.service import RecordedRequests
    from magnetodb_backup.storage.driver import StorageDriver


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments that name configuration, and the rest."""
    ours: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, _ = argument.partition("=")
        if name not in ("--config-file", "--config-dir"):
            rest.append(argument)
        elif equals:
            ours.append(argument)
        elif (value := next(waiting, None)) is not None:
            ours += [argument, value]
        else:
            rest.append(argument)  # the command line's parser says what is missing
    return ours, rest


def make_services(arguments: Sequence[str]) -> Services:
    """Compose what the commands need, each part when a command first asks for it."""

    @cache
    def conf() -> cfg.ConfigOpts:
        from magnetodb_backup.cmd import configuration
        from magnetodb_backup.plugins.loading import check_installed

        loaded = configuration.load(arguments, check=check_installed)
        loaded.set_default("use_stderr", True)  # standard output belongs to the command
        configuration.set_up_logging(loaded)
        logging.getLogger().setLevel(logging.ERROR)
        # Errors end a command in one line; the library would log each failed connection too.
        logging.getLogger("oslo.messaging").setLevel(logging.CRITICAL)
        return loaded

    @cache
    def unchecked() -> Database:
        from magnetodb_backup.cmd.parts import open_database

        return open_database(conf())

    @cache
    def database() -> Database:
        unchecked().check()
        return unchecked()

    @cache
    def requests() -> RecordedRequests:
        import magnetodb_backup.cmd.threading_backend  # noqa: F401 - before oslo_messaging

        # isort: split
        from magnetodb_backup.cmd.requests import make_requests
        from magnetodb_backup.messaging.bus import make_transport

        return make_requests(conf(), database(), make_transport(conf()))

    @cache
    def storage() -> StorageDriver:
        from magnetodb_backup.cmd.parts import open_storage

        return open_storage(
            conf(), on_retry=lambda problem: sys.stderr.write(f"{problem}; trying again\n")
        )

    def repository(cluster: str) -> ClusterRepository:
        from magnetodb_backup.repository.cluster import ClusterRepository

        return ClusterRepository(storage(), conf().storage.prefix, cluster)

    def catalogue() -> StoredBackups:
        from magnetodb_backup.repository.stored_backups import StoredBackups

        return StoredBackups(storage(), conf().storage.prefix)

    return Services(
        database=database,
        unchecked_database=unchecked,
        requests=requests,
        repository=repository,
        catalogue=catalogue,
        command=shlex.join([_program(), *arguments]),
    )


def _program() -> str:
    """Return how this program is called: by its path unless the shell finds it."""
    found = shutil.which(ManageApp.NAME)
    path = sys.argv[0]
    named = Path(path).name == ManageApp.NAME
    return path if named and (found is None or not Path(found).samefile(path)) else ManageApp.NAME


def main() -> None:
    """Run a command; doc/source/cli lists the exit codes."""
    ours, rest = split_arguments(sys.argv[1:])
    sys.exit(ManageApp(make_services(ours)).run(rest))

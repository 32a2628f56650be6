# SPDX-License-Identifier: Apache-2.0
"""magnetodb-backup-manage: the operators' command line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import cache

from oslo_config import cfg

from magnetodb_backup.cli.app import ManageApp
from magnetodb_backup.cli.services import Services
from magnetodb_backup.cmd import configuration, parts
from magnetodb_backup.database import Database
from magnetodb_backup.messaging.bus import make_transport
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.stored_backups import Catalogue
from magnetodb_backup.requests.service import RecordedRequests, make_requests
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
    """Compose what the commands need, each part when it is first asked for."""

    @cache
    def conf() -> cfg.ConfigOpts:
        loaded = configuration.load(arguments)
        loaded.set_default("use_stderr", True)  # standard output is for the command's alone
        configuration.set_up_logging(loaded)
        logging.getLogger().setLevel(logging.ERROR)
        # Errors end a command in one line; the library would tell each failed connection too.
        logging.getLogger("oslo.messaging").setLevel(logging.CRITICAL)
        return loaded

    @cache
    def unchecked() -> Database:
        return parts.open_database(conf())

    @cache
    def database() -> Database:
        unchecked().check()
        return unchecked()

    @cache
    def requests() -> RecordedRequests:
        return make_requests(database(), make_transport(conf()))

    @cache
    def storage() -> StorageDriver:
        return parts.open_storage(
            conf(), on_retry=lambda problem: sys.stderr.write(f"{problem}; trying again\n")
        )

    def repository(cluster: str) -> ClusterRepository:
        return ClusterRepository(storage(), conf().storage.prefix, cluster)

    return Services(
        database=database,
        unchecked_database=unchecked,
        requests=requests,
        repository=repository,
        catalogue=lambda: Catalogue(storage(), conf().storage.prefix),
    )


def main() -> None:
    """Entry point; for exit codes see the command line's documentation."""
    ours, rest = split_arguments(sys.argv[1:])
    sys.exit(ManageApp(make_services(ours)).run(rest))

# SPDX-License-Identifier: Apache-2.0
"""db sync, db version."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from cliff.show import ShowOne
from typing_extensions import override

from magnetodb_backup.cli.app import ServiceCommand


class Sync(ServiceCommand):
    """Upgrade the database to the schema of this version; may be repeated."""

    @override
    def take_action(self, parsed_args: Namespace) -> None:
        database = self.services.unchecked_database()
        database.sync()
        self.app.stdout.write(f"database is at version {database.version()}\n")


class Version(ServiceCommand, ShowOne):
    """Show the version of the database and the version that this service needs."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        database = self.services.unchecked_database()
        return ("version", "expected"), (database.version(), database.expected_version())

# SPDX-License-Identifier: Apache-2.0
"""The application: finds the command, reports errors in one line, sets the exit code."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from importlib.metadata import entry_points, version
from itertools import takewhile
from typing import Any

from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager
from typing_extensions import override

from magnetodb_backup.cli.messages import complain
from magnetodb_backup.cli.services import Services
from magnetodb_backup.errors import BackupError, Conflict, InvalidValue, NotFound

_NO_COLUMN = "No recognized column names"  # of cliff's error for --column

DONE, FAILED, USAGE, PARTIAL, NOT_FOUND, CONFLICT = range(6)
NAMESPACE = "magnetodb_backup.manage"


class ExitWith(Exception):
    """Ends a command with an exit code after its output."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error."""
    if isinstance(error, ExitWith):
        return error.code
    if isinstance(error, InvalidValue):
        return USAGE
    if isinstance(error, NotFound):
        return NOT_FOUND
    if isinstance(error, Conflict):
        return CONFLICT
    return FAILED


class _Commands(CommandManager):
    """Finds the commands by their entry points and imports only the one that is used."""

    def load_commands(self, namespace: str) -> None:
        """Register the commands of a namespace."""
        self.group_list.append(namespace)
        for point in entry_points(group=namespace):
            self.commands[point.name.replace("_", " ")] = point


class ManageApp(App):
    """The program magnetodb-backup-manage."""

    NAME = "magnetodb-backup-manage"

    def __init__(self, services: Services) -> None:
        self.services = services
        super().__init__(
            description="Backs up Apache Cassandra clusters to OpenStack Swift.",
            version=version("magnetodb-backup"),
            command_manager=_Commands(NAMESPACE),
            deferred_help=True,
        )

    def build_option_parser(
        self, description: str | None, version: str | None, argparse_kwargs: Any = None
    ) -> ArgumentParser:
        """Return a parser without cliff's options for logging, which the configuration file has."""
        # Without this, a shortened --config-file would be accepted here and then ignored.
        parser = ArgumentParser(
            prog=self.NAME, description=description, add_help=False, allow_abbrev=False
        )
        parser.add_argument("--version", action="version", version=f"{self.NAME} {version}")
        parser.add_argument(
            "-h",
            "--help",
            dest="deferred_help",
            action="store_true",
            help="show this text and exit",
        )
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        parser.add_argument(
            "--config-file", metavar="PATH", help="configuration file (may be repeated)"
        )
        parser.add_argument("--config-dir", metavar="DIR", help="directory of *.conf files")
        return parser

    def configure_logging(self) -> None:
        """Leave logging to the configuration file."""

    def interact(self) -> None:
        """Refuse a command line without a command: there is no interactive shell."""
        self.parser.error("name a command; --help lists them")

    @override
    def run_subcommand(self, argv: list[str]) -> int:
        try:
            found = self.command_manager.find_command(argv)
            if found[1] not in dict(self.command_manager):
                raise ValueError  # cliff also finds commands by shortened words: "de" is "delete"
        except ValueError:
            words = " ".join(takewhile(lambda word: not word.startswith("-"), argv)) or argv[0]
            sys.stderr.write(f"error: {words!r} is not a command; see {self.NAME} --help\n")
            return USAGE
        factory, name, arguments = found
        command = factory(self, self.options, cmd_name=name)
        try:
            parser = command.get_parser(f"{self.NAME} {name}")
            return int(command.run(parser.parse_args(arguments)) or 0)
        except (BackupError, ExitWith) as error:
            if str(error):
                complain("error", str(error))
            if self.options.debug:
                raise
            return exit_code(error)
        except ValueError as error:
            if not str(error).startswith(_NO_COLUMN):
                raise
            complain("error", f"{error} The command itself has been carried out")
            return USAGE
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            return FAILED
        except BrokenPipeError:
            return FAILED


class ServiceCommand(Command):
    """Base of the commands: gives them the services."""

    app: ManageApp

    def get_epilog(self) -> str:
        """Return no text: cliff would read all installed distributions to name a plugin's."""
        return ""

    @property
    def services(self) -> Services:
        """The services of the application."""
        return self.app.services

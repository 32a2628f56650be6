# SPDX-License-Identifier: Apache-2.0
"""backup create."""

from __future__ import annotations

import argparse
import json
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from cliff.show import ShowOne
from typing_extensions import override

from magnetodb_backup.cli.app import DONE, FAILED, PARTIAL, ServiceCommand
from magnetodb_backup.cli.backup import show
from magnetodb_backup.cli.waiting import Waiter
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view
from magnetodb_backup.errors import InvalidValue


def add_waiting(parser: ArgumentParser, *, default: bool | None) -> None:
    """Add the options about waiting."""
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=default,
        help="wait for the end and show progress",
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="wait at most so long")


def code_of(backup: Backup) -> int:
    """Return the exit code that the status means in which a backup ended."""
    return {BackupStatus.CREATED: DONE, BackupStatus.PARTIAL: PARTIAL}.get(backup.status, FAILED)


class Create(ServiceCommand, ShowOne):
    """Back up all keyspaces, some keyspaces, or a list of tables (column families)."""

    _code = 0

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        scope = parser.add_mutually_exclusive_group(required=True)
        scope.add_argument(
            "--all-keyspaces", action="store_true", help="every keyspace worth keeping"
        )
        scope.add_argument(
            "--keyspace", action="append", metavar="K", help="a keyspace; may be repeated"
        )
        scope.add_argument(
            "--table", action="append", metavar="K.T", help="a table; may be repeated"
        )
        scope.add_argument("--scope", metavar="TYPE", help="a scope that a plugin provides")
        parser.add_argument(
            "--scope-parameter",
            action="append",
            default=[],
            metavar="KEY=JSON",
            help="parameter of --scope",
        )
        parser.add_argument("--name", default="", help="a name for people")
        parser.add_argument("--cluster", help="needed where the service knows several")
        parser.add_argument(
            "--type",
            default="full",
            choices=("full", "incremental"),
            help="full, which uploads only what the store lacks; incremental is not available yet",
        )
        parser.add_argument(
            "--allow-partial",
            action="store_true",
            help="go on without nodes that are missing or fail, while each range keeps a replica",
        )
        parser.add_argument(
            "--on-corrupt",
            default="fail",
            choices=("fail", "mark"),
            help="an SSTable that does not match its digest fails the backup, or is marked in it",
        )
        parser.add_argument(
            "--figures",
            action="store_true",
            help="count and digest all rows, before and after the snapshots, so that restore "
            "create --check can prove what it has restored; reads every row twice",
        )
        add_waiting(parser, default=False)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        request = BackupRequest(
            scope=_scope(parsed_args),
            name=parsed_args.name,
            cluster=parsed_args.cluster,
            type=parsed_args.type,
            allow_partial=parsed_args.allow_partial,
            on_corrupt=parsed_args.on_corrupt,
            figures=parsed_args.figures,
        )
        backup = self.services.requests().create_backup(request)
        database = self.services.database()
        if parsed_args.wait:
            backup = Waiter(self.services, parsed_args.timeout).backup(backup.id)
            self._code = code_of(backup)
            if self._code:
                sys.stderr.write(f"error: {backup.status.value}: {backup.error}\n")
            elif backup.error:
                sys.stderr.write(f"warning: {backup.error}\n")
        view = backup_view(backup, database.backups.node_backups(backup.id))
        return show(parsed_args, view)

    @override
    def run(self, parsed_args: Namespace) -> int:
        return int(super().run(parsed_args) or 0) or self._code


def _scope(parsed_args: Namespace) -> dict[str, Any]:
    if parsed_args.scope_parameter and not parsed_args.scope:
        raise InvalidValue("--scope-parameter is only for --scope")
    if parsed_args.keyspace:
        return {"type": "keyspaces", "keyspaces": parsed_args.keyspace}
    if parsed_args.table:
        return {"type": "tables", "tables": parsed_args.table}
    if parsed_args.all_keyspaces:
        return {"type": "all"}
    scope: dict[str, Any] = {"type": parsed_args.scope}
    for text in parsed_args.scope_parameter:
        key, equals, value = text.partition("=")
        try:
            scope[key] = json.loads(value)
        except ValueError:
            equals = ""
        if not equals:
            raise InvalidValue(f"--scope-parameter {text!r} is not KEY=JSON")
    return scope

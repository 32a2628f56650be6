# SPDX-License-Identifier: Apache-2.0
"""restore list, restore show, restore cancel."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from cliff.lister import Lister
from cliff.show import ShowOne
from typing_extensions import override

from magnetodb_backup.cli.app import FAILED, ServiceCommand
from magnetodb_backup.cli.backup import cell, show
from magnetodb_backup.cli.backup_create import add_waiting
from magnetodb_backup.cli.plan import checks_told, plan_text
from magnetodb_backup.cli.waiting import Waiter
from magnetodb_backup.domain.restore.records import Restore, RestoreRequest, RestoreStatus
from magnetodb_backup.domain.restore.views import restore_view

_COLUMNS = ("id", "backup_id", "cluster", "status", "phase", "created_at", "finished_at")
_RESTORE_HELP = "ID, or its first 8 or more digits"


class RestoreCommand(ServiceCommand, ShowOne):
    """Shows a restore: as columns, and below a whole table what does not fit into cells."""

    _code = 0
    _below = ""

    @override
    def run(self, parsed_args: Namespace) -> int:
        code = int(super().run(parsed_args) or 0)
        if parsed_args.formatter == "table" and not parsed_args.columns:
            self.app.stdout.write(self._below)
        return code or self._code

    def view(self, restore: Restore) -> dict[str, Any]:
        """Return all fields of a restore."""
        nodes = self.services.database().restores.node_restores(restore.id)
        return restore_view(restore, nodes)

    @staticmethod
    def columns(parsed_args: Namespace, view: Mapping[str, Any]) -> Any:
        """Return columns for cliff; a table has the plan below itself."""
        if parsed_args.formatter == "table":
            view = {name: value for name, value in view.items() if name != "plan"}
        return show(parsed_args, view, _cell)


def _cell(name: str, value: Any) -> Any:
    if name == "nodes":
        return "\n".join(_node_line(node) for node in value)
    if name == "tables":
        return "\n".join(f"{table}: {state}" for table, state in value.items())
    if name == "checks":
        return "\n".join(checks_told(value))
    if name == "request":
        usual = RestoreRequest("").as_json()
        return cell(name, {k: v for k, v in value.items() if v != usual[k] and k != "backup_id"})
    return cell(name, value)


def _node_line(node: Mapping[str, Any]) -> str:
    end = f", {node['bytes_sent']} bytes sent" if node["bytes_sent"] else ""
    end += f": {node['error']}" if node["error"] else ""
    return (
        f"{node['address']}: {node['phase']}, {node['files_done']}/{node['files_total']} files, "
        f"{node['bytes_done']} bytes, {node['sstables_imported']} SSTables imported{end}"
    )


class List(ServiceCommand, Lister):
    """List restores and plans of restores, newest first."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--status", help="only restores of this status")
        parser.add_argument("--cluster", help="only restores into this cluster")
        parser.add_argument("--limit", type=int, help="at most so many")
        parser.add_argument("--marker", metavar="ID", help="begin after this restore")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        restores = self.services.database().restores.list(
            limit=parsed_args.limit,
            marker=parsed_args.marker,
            status=parsed_args.status,
            cluster=parsed_args.cluster,
        )
        views = [restore_view(r) for r in restores]
        return _COLUMNS, [tuple(v[c] for c in _COLUMNS) for v in views]


class Show(RestoreCommand):
    """Show a restore, its plan, its tables and its nodes."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("restore", help=_RESTORE_HELP)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        restore = self.services.database().restores.find(parsed_args.restore)
        self._below = plan_text(restore.plan or {})
        return self.columns(parsed_args, self.view(restore))


class Cancel(RestoreCommand):
    """Cancel a restore that runs. What is imported already stays."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("restore", help=_RESTORE_HELP)
        add_waiting(parser, default=False)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        found = self.services.database().restores.find(parsed_args.restore)
        restore = self.services.requests().cancel_restore(found.id)
        if parsed_args.wait:
            restore = Waiter(self.services, parsed_args.timeout).restore(restore.id)
            if restore.status is not RestoreStatus.CANCELLED:
                self._code = FAILED
                reason = f": {restore.error}" if restore.error else ""
                sys.stderr.write(
                    f"error: the restore is {restore.status.value}, not CANCELLED{reason}\n"
                )
        return self.columns(parsed_args, self.view(restore))

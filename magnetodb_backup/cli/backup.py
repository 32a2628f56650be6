# SPDX-License-Identifier: Apache-2.0
"""backup list, backup show."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any

from cliff.lister import Lister
from cliff.show import ShowOne
from typing_extensions import override

from magnetodb_backup.cli.app import ServiceCommand
from magnetodb_backup.domain.backup.views import backup_view

_COLUMNS = ("id", "name", "cluster", "status", "created_at", "files", "bytes", "bytes_uploaded")


def show(
    parsed_args: Namespace, view: Mapping[str, Any], text: Callable[[str, Any], Any] | None = None
) -> Any:
    """Return columns for cliff; nested values as they are in JSON and YAML, as text elsewhere.

    ``text`` makes a cell of a field's name and value, by default as for a backup.
    """
    if parsed_args.formatter in ("json", "yaml"):
        return tuple(view), tuple(view.values())
    return tuple(view), tuple((text or _text)(name, value) for name, value in view.items())


def cell(name: str, value: Any) -> Any:
    """Return a value for a table's cell."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "" if value is None else value


def _text(name: str, value: Any) -> Any:
    """Return a value for a table's cell, a line for each part of it."""
    if name == "nodes":
        return "\n".join(_node_line(node) for node in value)
    if name == "coverage" and value:
        return "\n".join(f"{keyspace}: {found['status']}" for keyspace, found in value.items())
    return cell(name, value)


def _node_line(node: Mapping[str, Any]) -> str:
    end = f": {node['error']}" if node["error"] else ""
    return (
        f"{node['address']}: {node['phase']}, {node['files_done']}/{node['files_total']} files, "
        f"{node['bytes_done']} bytes, {node['bytes_uploaded']} uploaded{end}"
    )


class List(ServiceCommand, Lister):
    """List backups, newest first."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--status", help="only backups of this status")
        parser.add_argument("--cluster", help="only backups of this cluster")
        parser.add_argument("--limit", type=int, help="at most so many")
        parser.add_argument("--marker", metavar="ID", help="begin after this backup")
        parser.add_argument(
            "--sort",
            default="created_at:desc",
            metavar="KEY",
            help="created_at, updated_at, name or status; with :asc or :desc",
        )
        parser.add_argument("--all", action="store_true", help="deleted ones too")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backups = self.services.database().backups.list(
            limit=parsed_args.limit,
            marker=parsed_args.marker,
            status=parsed_args.status,
            cluster=parsed_args.cluster,
            sort=parsed_args.sort,
            include_deleted=parsed_args.all,
        )
        views = [backup_view(b) for b in backups]
        return _COLUMNS, [tuple(v[c] for c in _COLUMNS) for v in views]


class Show(ServiceCommand, ShowOne):
    """Show a backup and its node backups."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("backup", help="ID, unique name, or the ID's first 8 or more digits")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backups = self.services.database().backups
        backup = backups.find(parsed_args.backup)
        return show(parsed_args, backup_view(backup, backups.node_backups(backup.id)))

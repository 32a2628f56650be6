# SPDX-License-Identifier: Apache-2.0
"""The options of a request for a backup, which schedules have too."""

from __future__ import annotations

import argparse
import json
from argparse import ArgumentParser, Namespace
from typing import Any

from magnetodb_backup.errors import InvalidValue

_FIELDS = ("type", "allow_partial", "on_corrupt", "figures", "data_centers")


def add_backup_options(
    parser: ArgumentParser, *, change: bool = False, scope_required: bool = True
) -> None:
    """Add the options; with ``change`` none is required, none has a default, and flags can be off.

    Options without a value are None then.
    """
    _add_scope(parser, required=scope_required and not change)
    parser.add_argument(
        "--dc",
        action="append",
        default=None if change else [],
        dest="data_centers",
        metavar="NAME",
        help="back up only the nodes of this data centre, which must have a complete copy of "
        "the keyspaces; may be repeated",
    )
    if change:
        parser.add_argument(
            "--all-dcs",
            action="store_const",
            const=[],
            dest="data_centers",
            help="back up the nodes of all data centres",
        )
    parser.add_argument(
        "--type",
        default=None if change else "full",
        choices=("full",),
        help="type of the backup; a full backup uploads only files that the store lacks",
    )
    parser.add_argument(
        "--allow-partial",
        **_flag(change),
        help="continue without nodes that are missing or fail, provided that each token range "
        "keeps a replica; the backup is PARTIAL then",
    )
    parser.add_argument(
        "--on-corrupt",
        default=None if change else "fail",
        choices=("fail", "mark"),
        help="fail if an SSTable does not match its digest, or mark it in the backup",
    )
    parser.add_argument(
        "--fingerprints",
        dest="figures",
        **_flag(change),
        help="count and digest all rows, before and after the snapshots, so that restore "
        "create --check can compare the restored rows; reads every row twice",
    )
    if not change:
        parser.add_argument("--figures", action="store_true", help=argparse.SUPPRESS)


def _flag(change: bool) -> dict[str, Any]:
    if change:
        return {"action": argparse.BooleanOptionalAction, "default": None}
    return {"action": "store_true"}


def _add_scope(parser: ArgumentParser, *, required: bool) -> None:
    scope = parser.add_mutually_exclusive_group(required=required)
    scope.add_argument(
        "--all-keyspaces",
        action="store_true",
        help="back up all keyspaces except those local to a node, virtual ones and system_traces",
    )
    scope.add_argument(
        "--keyspace", action="append", metavar="K", help="back up a keyspace; may be repeated"
    )
    scope.add_argument(
        "--table", action="append", metavar="K.T", help="back up a table; may be repeated"
    )
    scope.add_argument("--scope", metavar="TYPE", help="select the tables by a scope plugin")
    parser.add_argument(
        "--scope-parameter",
        action="append",
        default=[],
        metavar="KEY=JSON",
        help="set a parameter of the plugin that --scope names; may be repeated",
    )


def backup_options(parsed_args: Namespace) -> dict[str, Any]:
    """Return the fields of the request that have a value.

    :raises InvalidValue: for a parameter of a scope that is not KEY=JSON.
    """
    values = {name: getattr(parsed_args, name) for name in _FIELDS}
    values["scope"] = _scope(parsed_args)
    return {name: value for name, value in values.items() if value is not None}


def _scope(parsed_args: Namespace) -> dict[str, Any] | None:
    if parsed_args.scope_parameter and not parsed_args.scope:
        raise InvalidValue("--scope-parameter is only for --scope")
    if parsed_args.keyspace:
        return {"type": "keyspaces", "keyspaces": parsed_args.keyspace}
    if parsed_args.table:
        return {"type": "tables", "tables": parsed_args.table}
    if parsed_args.all_keyspaces:
        return {"type": "all"}
    if parsed_args.scope is None:
        return None
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

# SPDX-License-Identifier: Apache-2.0
"""restore create, list, show, cancel."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from magnetodb_backup.cli.app import DONE, FAILED, ExitWith
from magnetodb_backup.cli.as_of import add_as_of
from magnetodb_backup.cli.backup import add_backup
from magnetodb_backup.cli.plan import check_lines, plan_text
from magnetodb_backup.cli.show import ListCommand, RecordCommand, cell
from magnetodb_backup.cli.summary import follow_up, restore_fields, restore_summary, unusual
from magnetodb_backup.cli.units import moment
from magnetodb_backup.cli.waiting import Waiter, add_waiting
from magnetodb_backup.domain.restore.records import (
    Existing,
    NodeRestore,
    Restore,
    RestoreRequest,
    RestoreStatus,
)
from magnetodb_backup.domain.restore.views import restore_view


def code_of(restore: Restore) -> int:
    """Return the exit code for the status in which a restore ended."""
    return DONE if restore.status in (RestoreStatus.RESTORED, RestoreStatus.PLANNED) else FAILED


def _cell(name: str, value: Any) -> Any:
    """Return a field as the text of a cell, with a line for each part of it."""
    if name == "nodes":
        return "\n".join(_node_line(node) for node in value)
    if name == "tables":
        return "\n".join(f"{table}: {state}" for table, state in value.items())
    if name == "checks":
        return "\n".join(check_lines(value))
    if name == "request":
        return cell(name, unusual(value))
    return cell(name, value)


def _node_line(node: Mapping[str, Any]) -> str:
    end = f", {node['bytes_sent']} bytes sent" if node["bytes_sent"] else ""
    end += f": {node['error']}" if node["error"] else ""
    return (
        f"{node['address']}: {node['phase']}, {node['files_done']}/{node['files_total']} files, "
        f"{node['bytes_done']} bytes, {node['sstables_imported']} SSTables imported{end}"
    )


class _RestoreCommand(RecordCommand):
    """Shows a restore: as columns, and below a whole table what does not fit into cells."""

    def nodes(self, restore: Restore) -> Sequence[NodeRestore]:
        """Return the nodes' parts of a restore."""
        return self.services.database().restores.node_restores(restore.id)

    def restore_columns(
        self, parsed_args: Namespace, restore: Restore, nodes: Sequence[NodeRestore]
    ) -> Any:
        """Return columns for cliff; a table has the plan below itself."""
        view = restore_view(restore, nodes)
        if parsed_args.formatter == "table":
            del view["plan"]
        return self.shown(
            parsed_args, view, brief=lambda: restore_fields(restore, nodes), text=_cell
        )


class _OnRestore(_RestoreCommand):
    """Works on an existing restore."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("restore", help="ID, or its first 8 or more digits")
        return parser

    def find(self, parsed_args: Namespace) -> Restore:
        """Return the restore that the argument names."""
        return self.services.database().restores.find(parsed_args.restore)


class List(ListCommand):
    """List restores and plans of restores, newest first."""

    noun = "restore"
    columns = (
        "id", "backup_id", "cluster", "status", "phase", "created_at", "finished_at",
        "waiting_for",
    )  # fmt: skip

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        restores = self.services.database().restores.list(**self.chosen(parsed_args))
        return self.rows(parsed_args, (restore_view(restore) for restore in restores))


class Show(_OnRestore):
    """Show a restore, its plan, its tables and its nodes."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        restore = self.find(parsed_args)
        self._below = plan_text(restore.plan or {})
        return self.restore_columns(parsed_args, restore, self.nodes(restore))


class Cancel(_OnRestore):
    """Cancel a running restore. Tables that are imported already stay."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        add_waiting(parser, default=False)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        restore = self.services.requests().cancel_restore(self.find(parsed_args).id)
        if parsed_args.wait:
            restore = Waiter(self.services, parsed_args.timeout).restore(restore.id)
            if restore.status is not RestoreStatus.CANCELLED:
                reason = f": {restore.error}" if restore.error else ""
                found = f"the restore is {restore.status.value}, not CANCELLED{reason}"
                self.ends(FAILED, ("error", found))
        return self.restore_columns(parsed_args, restore, self.nodes(restore))


class Create(_RestoreCommand):
    """Restore a backup or some of its tables, or show what that would do (--dry-run)."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        add_backup(parser)
        _add_choice(parser)
        _add_method(parser)
        parser.add_argument("--allow-partial", action="store_true", help="accept a PARTIAL backup")
        parser.add_argument(
            "--allow-resurrection",
            action="store_true",
            help="with --existing merge or --node: accept that rows which were deleted since the "
            "backup may come back, because the backup is older than gc_grace_seconds",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="change nothing and show the plan; waits for it unless --no-wait is given",
        )
        add_as_of(parser, "The backup must be recorded: see catalogue rebuild --as-of")
        parser.add_argument(
            "--check",
            action="store_true",
            help="read the restored rows and compare them with the backup's fingerprints, range "
            "by range; fails if they differ. Requires a backup made with --fingerprints",
        )
        parser.add_argument(
            "--yes",
            action="store_true",
            help="do not ask for confirmation before data is replaced; it is asked for only on a "
            "terminal",
        )
        add_waiting(parser, default=None)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        request = RestoreRequest(
            self.services.database().backups.find(parsed_args.backup).id,
            cluster=parsed_args.cluster,
            keyspaces=tuple(parsed_args.keyspace),
            tables=tuple(parsed_args.table),
            to_keyspace=parsed_args.to_keyspace,
            to_table=parsed_args.to_table,
            existing=Existing(parsed_args.existing),
            node=parsed_args.node,
            source_replicas=parsed_args.source_replicas,
            allow_partial=parsed_args.allow_partial,
            dry_run=parsed_args.dry_run,
            check=parsed_args.check,
            offline=parsed_args.offline,
            system_auth=parsed_args.system_auth,
            skip=tuple(parsed_args.skip),
            allow_resurrection=parsed_args.allow_resurrection,
            as_of=parsed_args.as_of.isoformat() if parsed_args.as_of else "",
        )
        if not parsed_args.yes:
            self._confirm(request)
        restore = self.services.requests().create_restore(request)
        wait = parsed_args.dry_run if parsed_args.wait is None else parsed_args.wait
        if not wait:
            self._below = follow_up(self.services.command, "restore", restore.id)
            return self.restore_columns(parsed_args, restore, self.nodes(restore))
        restore = Waiter(self.services, parsed_args.timeout).restore(restore.id)
        nodes = self.nodes(restore)
        if restore.status is RestoreStatus.RESTORED:
            self._summary = restore_summary(restore, nodes, self.services.command)
        else:
            self._below = plan_text(restore.plan or {})
        self.ends(code_of(restore), *_complaints(restore))
        return self.restore_columns(parsed_args, restore, nodes)

    def _confirm(self, request: RestoreRequest) -> None:
        """Ask the person at the terminal before data is replaced.

        :raises ExitWith: if the answer is no.
        """
        replaces = request.offline or request.existing is Existing.REPLACE
        if request.dry_run or not replaces or not sys.stdin.isatty():
            return
        backup = self.services.database().backups.get(request.backup_id)
        named = ", ".join((*request.keyspaces, *request.tables)) or "every table of the backup"
        where = f"cluster {request.cluster or backup.cluster}"
        if request.node:
            where = f"node {request.node} of {where}"
        sys.stderr.write(
            f"This replaces the data of {named} in {where} by that of backup {backup.id}, created "
            f"{moment(backup.created_at)}. Continue? [y/N] "
        )
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise ExitWith(FAILED, "not confirmed; nothing was changed")


def _add_choice(parser: ArgumentParser) -> None:
    """Add the options that choose tables and their target."""
    parser.add_argument(
        "--table",
        action="append",
        default=[],
        metavar="K.T",
        help="restore only this table of the backup; may be repeated",
    )
    parser.add_argument(
        "--keyspace",
        action="append",
        default=[],
        metavar="K",
        help="restore only this keyspace of the backup; may be repeated",
    )
    parser.add_argument(
        "--to-keyspace", default="", metavar="K", help="restore into another keyspace"
    )
    parser.add_argument(
        "--to-table", default="", metavar="T", help="restore one table under another name"
    )
    parser.add_argument(
        "--existing",
        default=Existing.REFUSE.value,
        choices=[existing.value for existing in Existing],
        help="if a table has data: refuse the restore (the default), replace the data by the "
        "backup's, or merge both: the newest write of each cell wins",
    )
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="KIND=NAME",
        help="do not create this object of the schema: index=NAME, view=NAME, function=NAME (also "
        "for aggregates) or trigger=NAME, with KEYSPACE.NAME for one keyspace; an existing view of "
        "that name is dropped and not created again; may be repeated",
    )
    parser.add_argument(
        "--cluster", help="target cluster; required unless the backup's own cluster reports"
    )


def _add_method(parser: ArgumentParser) -> None:
    """Add the options about how the files reach the target."""
    parser.add_argument(
        "--node",
        default="",
        metavar="HOST_ID_OR_ADDRESS",
        help="restore only this node of the target",
    )
    parser.add_argument(
        "--offline",
        action="store_true",
        help="stop all nodes (or that of --node) by [cassandra] stop_command, replace their files "
        "by the backup's, and start them",
    )
    parser.add_argument(
        "--system-auth",
        action="store_true",
        help="with --offline: restore Cassandra's roles and grants too",
    )
    parser.add_argument(
        "--source-replicas",
        default="all",
        choices=("all", "one"),
        help="send all replicas of a token range, or one, to a ring that is not the backup's",
    )


def _complaints(restore: Restore) -> list[tuple[str, str]]:
    """Return what a script should not overlook."""
    if code_of(restore):
        return [("error", f"{restore.status.value}: {restore.error}")]
    if restore.status is RestoreStatus.PLANNED and (restore.plan or {}).get("problems"):
        return [("", "the restore would be refused; see the plan's problems")]
    return []

# SPDX-License-Identifier: Apache-2.0
"""restore create."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from typing_extensions import override

from magnetodb_backup.cli.app import DONE, FAILED
from magnetodb_backup.cli.backup_create import add_waiting
from magnetodb_backup.cli.plan import plan_text, summary_text
from magnetodb_backup.cli.restore import RestoreCommand
from magnetodb_backup.cli.waiting import Waiter
from magnetodb_backup.domain.restore.records import Existing, Restore, RestoreRequest, RestoreStatus


def code_of(restore: Restore) -> int:
    """Return the exit code that the status means in which a restore ended."""
    return DONE if restore.status in (RestoreStatus.RESTORED, RestoreStatus.PLANNED) else FAILED


class Create(RestoreCommand):
    """Restore a backup or some of its tables, or tell what that would do (--dry-run)."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("backup", help="ID, unique name, or the ID's first 8 or more digits")
        parser.add_argument(
            "--table",
            action="append",
            default=[],
            metavar="K.T",
            help="only this table of the backup; may be repeated",
        )
        parser.add_argument(
            "--keyspace",
            action="append",
            default=[],
            metavar="K",
            help="only this keyspace of the backup; may be repeated",
        )
        parser.add_argument("--to-keyspace", default="", metavar="K", help="under another keyspace")
        parser.add_argument("--to-table", default="", metavar="T", help="under another table name")
        parser.add_argument(
            "--existing",
            default=Existing.REFUSE.value,
            choices=[existing.value for existing in Existing],
            help="a table that has data refuses the restore (the default), is replaced by the "
            "backup's state, or merged with it: the newest write of each cell wins",
        )
        parser.add_argument(
            "--node",
            default="",
            metavar="HOST_ID_OR_ADDRESS",
            help="restore this node of the target only",
        )
        parser.add_argument(
            "--offline",
            action="store_true",
            help="stop all nodes (or that of --node) by [cassandra] stop_command, put the backup's "
            "files in the place of theirs, and start them",
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
            help="which copies of a token range are sent to a ring that is not the backup's",
        )
        parser.add_argument(
            "--cluster", help="the target; by default the backup's own cluster, or the only one"
        )
        parser.add_argument("--allow-partial", action="store_true", help="a PARTIAL backup will do")
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="change nothing; show the plan. Waits unless there is --no-wait",
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="read the restored rows and compare them with the backup's figures, range by "
            "range; needs a backup that was made with --figures. A difference is a failure",
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
        )
        restore = self.services.requests().create_restore(request)
        wait = parsed_args.dry_run if parsed_args.wait is None else parsed_args.wait
        if wait:
            restore = Waiter(self.services, parsed_args.timeout).restore(restore.id)
            self._code = code_of(restore)
            _tell(restore)
        view = self.view(restore)
        if restore.status is RestoreStatus.RESTORED:
            self._below = summary_text(view)
        elif wait:
            self._below = plan_text(restore.plan or {})
        return self.columns(parsed_args, view)


def _tell(restore: Restore) -> None:
    """Write to standard error what a script should not overlook."""
    if code_of(restore):
        sys.stderr.write(f"error: {restore.status.value}: {restore.error}\n")
    elif restore.status is RestoreStatus.PLANNED and (restore.plan or {}).get("problems"):
        sys.stderr.write("the restore would be refused; see the plan's problems\n")

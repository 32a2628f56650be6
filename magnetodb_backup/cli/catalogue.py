# SPDX-License-Identifier: Apache-2.0
"""catalogue rebuild."""

from __future__ import annotations

import contextlib
from argparse import ArgumentParser, Namespace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cliff.lister import Lister
from typing_extensions import override

from magnetodb_backup.cli.app import PARTIAL, ServiceCommand
from magnetodb_backup.cli.as_of import add_as_of
from magnetodb_backup.cli.reading import make_reading
from magnetodb_backup.domain.as_of import check_as_of
from magnetodb_backup.domain.backup.views import time_view
from magnetodb_backup.requests import rebuild
from magnetodb_backup.requests.rebuild_finding import Finding
from magnetodb_backup.requests.rebuild_settings import SettingRebuild

if TYPE_CHECKING:
    from magnetodb_backup.database import Database
    from magnetodb_backup.repository.stored_backups import StoredBackups

_COLUMNS = ("kind", "id", "name", "cluster", "status", "created_at", "result")


class Rebuild(ServiceCommand, Lister):
    """Record what is in the store but not in the database, and compare the rest.

    Besides backups, these are the schedules, the retention policies and the marks of kept
    backups. A record of a backup is not changed. Of a schedule, policy or mark that the database
    has too, the later change wins. Schedules come back active or paused, as they were; runs that
    were missed are not made up. The exit code is 3 if something needs attention: a manifest is
    missing or unreadable, or differs from the record, for example. An interrupted rebuild can be
    repeated.
    """

    _code = 0

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--cluster", metavar="NAME", help="record only what is of this cluster")
        parser.add_argument(
            "--new",
            action="store_true",
            help="do not read the manifests of recorded backups that the store lists, to compare "
            "them with the records; for the repetition of an interrupted rebuild",
        )
        parser.add_argument(
            "--no-schedules",
            action="store_true",
            help="do not record schedules; for a second service that only restores, while another "
            "one makes the backups",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would be recorded, and record nothing"
        )
        add_as_of(parser, "Records of backups that it lacked are no finding")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        how = rebuild.Thoroughness.ONLY_NEW if parsed_args.new else rebuild.Thoroughness.COMPARE
        database, stored, as_of = self._parts(parsed_args)
        settings = SettingRebuild(
            database.settings,
            stored,
            dry_run=parsed_args.dry_run,
            with_schedules=not parsed_args.no_schedules,
        )
        with contextlib.closing(make_reading()) as reading:
            work = rebuild.Rebuild(
                database.backups,
                stored,
                reading,
                settings,
                dry_run=parsed_args.dry_run,
                thoroughness=how,
                as_of=as_of,
            )
            findings = list(work.run(parsed_args.cluster))
        self._code = PARTIAL if any(finding.doubtful for finding in findings) else 0
        return _COLUMNS, [_row(finding) for finding in findings]

    def _parts(self, parsed_args: Namespace) -> tuple[Database, StoredBackups, datetime | None]:
        database, stored = self.services.database(), self.services.catalogue()
        as_of: datetime | None = parsed_args.as_of
        if as_of is not None:
            check_as_of(as_of, database.deletions.now())
            stored = stored.as_of(as_of)
        return database, stored, as_of

    @override
    def run(self, parsed_args: Namespace) -> int:
        return int(super().run(parsed_args) or 0) or self._code


def _row(finding: Finding) -> tuple[str, ...]:
    return (
        finding.kind,
        finding.id,
        finding.name,
        finding.cluster,
        finding.status,
        time_view(finding.created_at) or "",
        finding.result,
    )

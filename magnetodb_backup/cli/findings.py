# SPDX-License-Identifier: Apache-2.0
"""repository findings."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cliff.columns import FormattableColumn
from cliff.lister import Lister
from typing_extensions import override

from magnetodb_backup.cli.app import ServiceCommand
from magnetodb_backup.cli.units import count
from magnetodb_backup.domain.backup.findings import Finding
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import finding_view

if TYPE_CHECKING:
    from magnetodb_backup.database import Database
    from magnetodb_backup.repository.affected import Affected

_COLUMNS = (
    "cluster", "host_id", "object", "name", "problem", "first_seen", "last_seen", "job_id",
    "backups", "healed_at", "healed_by",
)  # fmt: skip
_SHOWN = 5  # tables of a backup


class _Backups(FormattableColumn[list[dict[str, Any]]]):
    """The affected backups: a line for each in a table, objects in structured forms."""

    def human_readable(self) -> str:
        return "\n".join(_line(backup) for backup in self._value)

    def machine_readable(self) -> Any:
        return self._value


def _line(backup: Mapping[str, Any]) -> str:
    name = f" {backup['name']!r}" if backup["name"] else ""
    tables = backup["tables"]
    more = f" and {len(tables) - _SHOWN} more" if len(tables) > _SHOWN else ""
    files = count(backup["file_count"], "file")
    return f"{backup['id']}{name}: {files} of {', '.join(tables[:_SHOWN])}{more}"


class List(ServiceCommand, Lister):
    """List the damage that verifications found, with every backup that needs what is damaged.

    The affected backups are read from the manifests in the store. A backup that uploads a damaged
    pack again heals it for all of them.
    """

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--cluster", help="list only findings of this cluster")
        parser.add_argument("--all", action="store_true", help="list healed findings too")
        parser.add_argument("--limit", type=int, metavar="N", help="list at most N findings")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        database = self.services.database()
        findings = database.findings.list(
            cluster=parsed_args.cluster, healed=parsed_args.all, limit=parsed_args.limit
        )
        affected: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for cluster in sorted({f.cluster for f in findings if f.healed_at is None}):
            of_cluster = [f for f in findings if f.cluster == cluster and f.healed_at is None]
            affected |= self._affected(database, cluster, of_cluster)
        return _COLUMNS, list(_rows(findings, affected))

    def _affected(
        self, database: Database, cluster: str, findings: Sequence[Finding]
    ) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """Return the views of affected backups by host ID and name of the finding."""
        from magnetodb_backup.repository.affected import affected_backups

        complete = (BackupStatus.CREATED, BackupStatus.PARTIAL)
        names = {
            b.id: b.name for b in database.backups.list(cluster=cluster) if b.status in complete
        }
        found = affected_backups(self.services.repository(cluster), names, findings)
        return {key: [_view(a, names[a.backup_id]) for a in each] for key, each in found.items()}


def _rows(
    findings: Sequence[Finding], affected: Mapping[tuple[str, str], list[dict[str, Any]]]
) -> Iterator[tuple[Any, ...]]:
    for finding in findings:
        view = finding_view(finding)
        backups = affected.get((finding.host_id, finding.name), [])
        view["backups"] = _Backups([] if finding.healed_at else backups)
        yield tuple(view[column] for column in _COLUMNS)


def _view(affected: Affected, name: str) -> dict[str, Any]:
    return {
        "id": affected.backup_id,
        "name": name,
        "tables": list(affected.tables),
        "file_count": affected.file_count,
        "files": list(affected.files),
    }

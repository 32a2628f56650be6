# SPDX-License-Identifier: Apache-2.0
"""catalogue rebuild."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from cliff.lister import Lister
from typing_extensions import override

from magnetodb_backup.cli.app import PARTIAL, ServiceCommand
from magnetodb_backup.domain.backup.from_manifest import as_deleted, records_of
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view
from magnetodb_backup.errors import InvalidValue, NotFound
from magnetodb_backup.repository.format.names import cluster_container, containers_prefix
from magnetodb_backup.repository.stored_backups import StoredBackup, StoredBackups, UnreadableBackup

if TYPE_CHECKING:
    from magnetodb_backup.database import BackupStore

_COLUMNS = ("id", "name", "cluster", "status", "created_at", "result")
_WHOLE = (BackupStatus.CREATED, BackupStatus.PARTIAL)
_ENDED_WITHOUT = (BackupStatus.CREATE_FAILED, BackupStatus.CANCELLED)
_REPORT_EVERY = 100


class Rebuild(ServiceCommand, Lister):
    """Record the backups that are in the store but not in the database; changes no record.

    The exit code is 3 if a backup needs attention: its manifest is missing or unreadable, or
    differs from the record.
    """

    _code = 0

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--cluster", metavar="NAME", help="record only backups of this cluster")
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would be recorded, and record nothing"
        )
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        rebuild = _Rebuild(
            self.services.database().backups,
            self.services.catalogue(),
            dry_run=parsed_args.dry_run,
        )
        rebuild.run(parsed_args.cluster)
        self._code = PARTIAL if rebuild.doubtful else 0
        return _COLUMNS, rebuild.rows

    @override
    def run(self, parsed_args: Namespace) -> int:
        return int(super().run(parsed_args) or 0) or self._code


class _Rebuild:
    """Compares the store with the records; ``doubtful`` if a backup needs attention."""

    def __init__(self, backups: BackupStore, catalogue: StoredBackups, *, dry_run: bool) -> None:
        self._backups, self._catalogue, self._dry_run = backups, catalogue, dry_run
        self._read = 0
        self.rows: list[tuple[str, ...]] = []
        self.doubtful = False

    def run(self, only: str | None) -> None:
        """Compare one cluster, or all clusters that the store or a record names.

        :raises NotFound: if there is none.
        """
        recorded = [
            b for status in _WHOLE for b in self._backups.list(status=status.value, cluster=only)
        ]
        clusters = {b.cluster for b in recorded}
        stored = set(self._catalogue.clusters()) if only is None else {only}
        if not stored | clusters:
            raise NotFound(self._nothing())
        for cluster in sorted(stored | clusters):
            ours = [b for b in recorded if b.cluster == cluster]
            if not self._cluster(cluster, ours):
                problem = self._nothing_of(cluster)
                if only is not None and not ours:
                    raise NotFound(problem)
                sys.stderr.write(f"{problem}\n")

    def _cluster(self, cluster: str, recorded: list[Backup]) -> bool:
        """Return whether the store lists a backup of the cluster."""
        rows: list[tuple[str, ...]] = []
        listed: set[str] = set()
        for found in self._catalogue.backups(cluster):
            if isinstance(found, StoredBackup):
                listed.add(found.manifest.backup_id)
                rows.append(self._stored(found))
            else:
                listed.add(found.backup_id)
                rows += self._unreadable(found)
            self._report_reading()
        for backup in recorded:
            if backup.id not in listed:  # it may exist: listings lag
                unlisted = self._catalogue.backup(cluster, backup.id)
                if isinstance(unlisted, StoredBackup):
                    rows.append(self._stored(unlisted))
                else:
                    rows += self._unreadable(unlisted)
                self._report_reading()
        self.rows += sorted(rows, key=lambda row: (row[4] == "", row[4], row[0]))
        return bool(listed)

    def _stored(self, found: StoredBackup) -> tuple[str, ...]:
        backup, nodes = records_of(found.manifest, found.manifest_sha256)
        if (deleted := found.deleted) is not None:
            backup = as_deleted(backup, deleted.deleted_at, deleted.undelete_until)
        try:
            if not self._dry_run and self._backups.learn(backup, nodes):
                return _row(backup, "added")
        except InvalidValue as error:
            return self._doubtful(backup, f"unreadable: {error}")
        known = self._record(backup.id)
        if known is None:
            return _row(backup, "would be added")
        if found.deleted is not None:
            return self._known_of_deleted(known)
        if known.status in _ENDED_WITHOUT:
            return self._doubtful(
                known, f"known as {known.status.value}, but its manifest is in the store; delete it"
            )
        if known.status is BackupStatus.DELETED:
            return self._doubtful(known, "known as DELETED, but its manifest is in the store")
        if known.status in _WHOLE and known.manifest_sha256 != found.manifest_sha256:
            return self._doubtful(known, "known, but the store has another manifest of it")
        return _row(known, "known")

    def _known_of_deleted(self, known: Backup) -> tuple[str, ...]:
        if known.status not in _WHOLE:
            return _row(known, "known")
        return self._doubtful(
            known,
            f"known as {known.status.value}, but the store has it as deleted; delete it, then "
            "undelete it if it is needed",
        )

    def _unreadable(self, found: UnreadableBackup) -> list[tuple[str, ...]]:
        known = self._record(found.backup_id)
        whole = known is not None and known.status in _WHOLE
        if found.absent and known is not None:
            # By its status the record has no manifest, so its absence is no finding.
            return [self._doubtful(known, "manifest missing")] if whole else []
        reason = f"unreadable: {found.reason}"
        if known is not None:
            return [self._doubtful(known, reason)]
        self.doubtful = True
        return [(found.backup_id, "", found.cluster, "", "", reason)]

    def _record(self, backup_id: str) -> Backup | None:
        try:
            return self._backups.get(backup_id)
        except NotFound:
            return None

    def _doubtful(self, backup: Backup, result: str) -> tuple[str, ...]:
        self.doubtful = True
        return _row(backup, result)

    def _report_reading(self) -> None:
        self._read += 1
        if self._read % _REPORT_EVERY == 0:
            sys.stderr.write(f"{self._read} manifests read\n")
            sys.stderr.flush()

    def _nothing(self) -> str:
        return (
            "the store has no cluster's container: none is named "
            f"{containers_prefix(self._catalogue.prefix)}NAME; {_CHECK}"
        )

    def _nothing_of(self, cluster: str) -> str:
        container = cluster_container(self._catalogue.prefix, cluster)
        return (
            f"the store has no backup of cluster {cluster!r} in container {container}; if there "
            f"should be one, check the cluster's name; {_CHECK}"
        )


_CHECK = (
    "check [storage] driver and prefix, and in the driver's section the account (user, project, "
    "region) or path"
)


def _row(backup: Backup, result: str) -> tuple[str, ...]:
    view = backup_view(backup)
    return (*(view[column] for column in _COLUMNS[:-1]), result)

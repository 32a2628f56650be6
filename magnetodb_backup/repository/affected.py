# SPDX-License-Identifier: Apache-2.0
"""Which backups, tables and files findings affect, as the manifests in the store say."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from magnetodb_backup.domain.backup.findings import DamagedObject, Finding
from magnetodb_backup.domain.backup.manifest import BackupManifest, FileEntry
from magnetodb_backup.domain.tables import Selection, TableName
from magnetodb_backup.errors import CorruptObject, FormatProblem, NotFound

LOG = logging.getLogger(__name__)
_NAMED = 20  # files of a backup that are named
_UNREADABLE = (CorruptObject, FormatProblem, NotFound)


@dataclass(frozen=True)
class Affected:
    """A backup that a finding affects: the tables, and the number of their files.

    ``files`` names the first ones. A lost manifest affects all files of its node, or of the backup.
    """

    backup_id: str
    tables: tuple[str, ...]
    file_count: int
    files: tuple[str, ...] = ()


class Manifests(Protocol):
    """Reads the manifests of a cluster."""

    def read_backup(self, backup_id: str) -> BackupManifest:
        """Return a backup's manifest; NotFound if there is none."""

    def node_manifest(self, backup_id: str, host_id: str) -> Iterable[FileEntry]:
        """Return the files of a node manifest; NotFound if there is none."""


def affected_backups(
    source: Manifests, backup_ids: Iterable[str], findings: Collection[Finding]
) -> Mapping[tuple[str, str], tuple[Affected, ...]]:
    """Return what findings of one cluster affect, by host ID and name of the finding.

    Of each backup the manifests of nodes with damaged packs are read, one line at a time. What
    cannot be read is logged: it has a finding of its own once it is verified.
    """
    packs: dict[str, set[str]] = {}
    objects: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.object is DamagedObject.PACK:
            packs.setdefault(finding.host_id, set()).add(finding.name)
        else:
            objects.setdefault(finding.name, []).append(finding)
    found: dict[tuple[str, str], list[Affected]] = {}
    for backup_id in backup_ids:
        try:
            manifest = source.read_backup(backup_id)
        except _UNREADABLE as error:
            LOG.warning("backup %s: %s", backup_id, error)
            continue
        for finding in objects.get(backup_id, ()):
            found.setdefault((finding.host_id, backup_id), []).append(_whole(manifest, finding))
        for share in manifest.nodes:
            if damaged := packs.get(share.host_id):
                for pack, files in _files_in(source, backup_id, share.host_id, damaged).items():
                    found.setdefault((share.host_id, pack), []).append(files.result(backup_id))
    return {key: tuple(affected) for key, affected in found.items()}


class _Files:
    """The files of a backup that need a pack."""

    def __init__(self) -> None:
        self._tables: dict[str, None] = {}
        self._count = 0
        self._files: list[str] = []

    def add(self, entry: FileEntry) -> None:
        self._tables[str(TableName(entry.keyspace, entry.table))] = None
        self._count += 1
        if len(self._files) < _NAMED:
            parts = (entry.keyspace, entry.table, entry.index, entry.name)
            self._files.append("/".join(p for p in parts if p))

    def result(self, backup_id: str) -> Affected:
        return Affected(backup_id, tuple(sorted(self._tables)), self._count, tuple(self._files))


def _files_in(
    source: Manifests, backup_id: str, host_id: str, damaged: Collection[str]
) -> Mapping[str, _Files]:
    found: dict[str, _Files] = {}
    try:
        for entry in source.node_manifest(backup_id, host_id):
            for pack in {e.pack for e in entry.extents if e.pack in damaged}:
                found.setdefault(pack, _Files()).add(entry)
    except _UNREADABLE as error:
        LOG.warning("node manifest of %s in backup %s: %s", host_id, backup_id, error)
    return found


def _whole(manifest: BackupManifest, finding: Finding) -> Affected:
    tables = tuple(str(t.name) for t in Selection.from_json(manifest.selection).tables)
    files = sum(s.files for s in manifest.nodes if finding.host_id in ("", s.host_id))
    return Affected(manifest.backup_id, tables, files)

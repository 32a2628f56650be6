# SPDX-License-Identifier: Apache-2.0
"""The task of a restore that looks at what a node would download; it changes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby

from msgspec import UNSET

from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.domain.backup.manifest import FileEntry
from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.plan import DirectoryRoom
from magnetodb_backup.domain.restore.target_classes import MEMTABLES
from magnetodb_backup.domain.restore.target_guardrails import GUARDRAILS
from magnetodb_backup.domain.restore.target_settings import SETTINGS
from magnetodb_backup.domain.sstables import unknown, unreadable
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CassandraUnavailable, CorruptObject, NotFound, ObjectTooShort
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.download.download import (
    DownloadSettings,
    NodeSummary,
    missing_packs,
    summarise,
)
from magnetodb_backup.repository.download.journal import FinishedFiles
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.restore import FileTotals, NodePreflight, RunPreflight
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.directories import directory_of, fetched_of
from magnetodb_backup.worker.restore.rehearsal import Rehearsal
from magnetodb_backup.worker.restore.store import store_of
from magnetodb_backup.worker.tasks import TaskContext

_SETTINGS = (*SETTINGS, *GUARDRAILS, MEMTABLES)
_PROBE = 8 * 1024 * 1024  # bytes that are read to measure the store's rate
_SHOWN = 20  # missing packs of a node backup that a plan names


@dataclass(frozen=True)
class RestoreSettings:
    """``head_room_percent`` of each file system stays free."""

    prefix: str
    download: DownloadSettings
    head_room_percent: float


class _Found:
    """What the parts that were looked at so far need."""

    def __init__(self, directories: int) -> None:
        self.needed = [0] * directories
        self.tables: dict[str, FileTotals] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.packs = self.spare = self.there = 0
        self.rate = 0.0

    def add(self, parts: Sequence[Part], summary: NodeSummary) -> None:
        """Add what the parts of one node backup take."""
        self.packs += len(summary.packs)
        self.there += summary.there
        for number, size in summary.directories.items():
            self.needed[number % len(self.needed)] += size
        for ref in (ref for part in parts for ref in part.tables if ref.source in summary.tables):
            taken, name = summary.tables[ref.source], str(ref.target)
            so_far = self.tables.get(name, FileTotals())
            self.tables[name] = FileTotals(so_far.files + taken.files, so_far.bytes + taken.bytes)


class PreflightWork:
    """Looks at parts of backups, the store and the disks."""

    def __init__(
        self,
        node: LocalNode,
        storage: StorageDriver,
        settings: RestoreSettings,
        rehearsal: Rehearsal,
    ) -> None:
        self._node, self._storage, self._settings = node, storage, settings
        self._rehearsal = rehearsal

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(RunPreflight, self._preflight)]

    def _preflight(self, task: RunPreflight, context: TaskContext) -> NodePreflight:
        """Look at everything that this node would need."""
        known = self._node.known()
        if task.spread:
            spaces = SnapshotTree(known.data_directories).space()
            task = replace(task, room=tuple(space.free for space in spaces))
        found = _Found(len(known.data_directories))
        for parts in by_source(task.own_parts()):
            context.raise_if_cancelled()
            self._look(task, parts, known.member.version, found, context)
        if task.contacts:
            found.problems += self._rehearsal.problems(
                task.restore_id, task.own_parts(), task.contacts, context.raise_if_cancelled
            )
        free = tuple(self._free(found))
        settings, superuser = self._settings_of_node()
        return NodePreflight(
            tables=found.tables,
            files=sum(t.files for t in found.tables.values()),
            bytes=sum(t.bytes for t in found.tables.values()),
            packs=found.packs,
            free=free,
            bytes_per_second=found.rate,
            problems=tuple(found.problems),
            version=known.member.version,
            warnings=tuple(found.warnings),
            spread=task.spread,
            spare=max(found.spare, 0),
            settings=settings,
            bytes_staged=found.there,
            superuser=superuser,
            as_of=task.as_of,
        )

    def _settings_of_node(self) -> tuple[Mapping[str, str], bool]:
        """Return what the node's cassandra.yaml has, and whether the worker is a superuser there.

        Nothing where Cassandra does not run.
        """
        try:
            cql = self._node.cql()
            return dict(cql.settings(*_SETTINGS)), cql.is_superuser()
        except CassandraUnavailable:
            return {}, False

    def _look(
        self,
        task: RunPreflight,
        parts: Sequence[Part],
        version: str,
        found: _Found,
        context: TaskContext,
    ) -> None:
        """Add what the parts of one node backup need; its node manifest is read once."""
        source, storage = parts[0].source, store_of(task, self._storage)
        repository = NodeRepository(storage, self._settings.prefix, parts[0].cluster, source)
        try:
            summary = self._summary(task, parts)
        except CorruptObject as error:
            found.problems.append(str(error))
            return
        proves = task.proves is UNSET or source in task.proves
        packs = summary.packs if proves else {}
        lost = missing_packs(repository, packs, context.raise_if_cancelled)
        if not lost and not found.rate:
            found.rate = _measure(repository, summary)
        found.problems += [f"node backup {source}: {problem}" for problem in lost[:_SHOWN]]
        if len(lost) > _SHOWN:
            found.problems.append(f"node backup {source}: {len(lost) - _SHOWN} more packs are lost")
        found.problems += _version_problems(summary, version, source)
        found.warnings += _unknown_versions(summary, version, source)
        found.add(parts, summary)

    def _summary(self, task: RunPreflight, parts: Sequence[Part]) -> NodeSummary:
        """Return what the parts take; CorruptObject if the manifest was changed."""
        part = parts[0]
        storage = store_of(task, self._storage)
        cluster = ClusterRepository(storage, self._settings.prefix, part.cluster)
        manifest = cluster.node_manifest(part.backup_id, part.source, part.manifest)
        tables: set[TableName] = {ref.source for each in parts for ref in each.tables}
        fetched = fetched_of(part, self._node.known().data_directories)
        directory = directory_of(manifest.header, task.room, fetched, tables)
        finished = FinishedFiles.read(fetched.journal)

        def find(entry: FileEntry) -> tuple[int, bool]:
            number = directory(entry)
            path = fetched.directory(TableName(entry.keyspace, entry.table), number) / entry.name
            return number, finished.has(path, entry.size, entry.sha256)

        with closing(finished):
            return summarise(manifest, tables, find)

    def _free(self, found: _Found) -> Iterator[DirectoryRoom]:
        """Yield each data directory's room; some may share a file system."""
        needed = found.needed
        spaces = SnapshotTree(self._node.known().data_directories).space()
        devices = [os.stat(space.path).st_dev for space in spaces]
        for number, space in enumerate(spaces):
            beside = sum(n for n, d in zip(needed, devices, strict=True) if d == devices[number])
            keep = int(space.total * self._settings.head_room_percent / 100)
            is_first = devices.index(devices[number]) == number
            found.spare += space.free - beside - keep if is_first else 0
            if beside and space.free - beside < keep and is_first:
                found.problems.append(
                    f"data directory {space.path} has {space.free >> 20} MiB free; the restore "
                    f"needs {_mib(beside)} MiB on its file system and [worker] head_room_percent "
                    f"keeps {_mib(keep)} MiB; free some room"
                )
            yield DirectoryRoom(space.path, space.free, needed[number])


def by_source(parts: Sequence[Part]) -> list[list[Part]]:
    """Return the parts grouped by node backup, so that each node manifest is read once."""

    def source(part: Part) -> tuple[str, str, str, str]:
        return part.cluster, part.backup_id, part.source, part.manifest.sha256

    return [list(group) for _, group in groupby(sorted(parts, key=source), source)]


def _measure(repository: NodeRepository, summary: NodeSummary) -> float:
    """Return the rate of one stream from the store, in bytes per second; 0 for no pack."""
    for pack, size in summary.packs.items():
        started = time.monotonic()
        try:
            read = sum(len(piece) for piece in repository.read_pack(pack, 0, min(size, _PROBE)))
        except (NotFound, ObjectTooShort):
            continue  # the node that proves this node backup names it
        return read / max(time.monotonic() - started, 1e-6)
    return 0.0


def _mib(size: int) -> int:
    return -(-size >> 20)


def _version_problems(summary: NodeSummary, version: str, source: str) -> list[str]:
    """Name the SSTable versions that this Cassandra is too old for."""
    try:
        major = int(version.partition(".")[0])
    except ValueError:
        raise CassandraUnavailable(
            f"Cassandra reports the version {version!r}, which is not a release; check the node"
        ) from None
    return [
        f"node backup {source} has SSTables of version {found}, which Cassandra {version} cannot "
        f"read; {remedy}"
        for found, remedy in unreadable(summary.versions, major).items()
    ]


def _unknown_versions(summary: NodeSummary, version: str, source: str) -> list[str]:
    return [
        f"node backup {source} has SSTables of version {found}, which this service does not know; "
        f"Cassandra {version} may refuse them"
        for found in unknown(summary.versions)
    ]

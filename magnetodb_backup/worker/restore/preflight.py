# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that stage its files on one node."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.cassandra.files.staging import (
    Staging,
    sstable_of,
)
from magnetodb_backup.domain.backup.manifest import FileEntry, StoredObject
from magnetodb_backup.domain.restore.placement import Spread
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.domain.tables import TableName, check_name
from magnetodb_backup.errors import (
    CassandraUnavailable,
    CorruptObject,
)
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.download.download import (
    DownloadSettings,
    NodeSummary,
    download_node,
    is_restored_component,
    missing_packs,
    summarise,
)
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import Handler, TaskContext

LOG = logging.getLogger(__name__)
_PROBE = 8 * 1024 * 1024  # bytes that are read to measure the store's rate
# Files of these versions (the first letter) are read by Cassandra from this major version on.
_SINCE = {"n": 4, "o": 5, "d": 5}


@dataclass(frozen=True)
class RestoreSettings:
    """``head_room_percent`` of each file system stays free."""

    prefix: str
    download: DownloadSettings
    head_room_percent: float


@dataclass(frozen=True)
class _Part:
    """What a task is to take from one node backup: target tables by source table."""

    source: str
    manifest: StoredObject
    targets: Mapping[TableName, TableName]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> _Part:
        return cls(
            str(data["source"]),
            StoredObject(**data["manifest"]),
            {table_name(s): table_name(t) for s, t in data["tables"]},
        )


def table_name(pair: Any) -> TableName:
    """Read a table's name as it travels: keyspace and table."""
    keyspace, table = pair
    return TableName(check_name(str(keyspace), "keyspace"), check_name(str(table), "table"))


class RestoreWork:
    """Preflight, download, clean-up."""

    def __init__(
        self,
        node: LocalNode,
        storage: StorageDriver,
        settings: RestoreSettings,
    ) -> None:
        self._node, self._storage, self._settings = node, storage, settings

    def handlers(self) -> Mapping[TaskKind, Handler]:
        """Return what does each kind of task."""
        return {
            TaskKind.RESTORE_PREFLIGHT: self._preflight,
            TaskKind.RESTORE_DOWNLOAD: self._download,
            TaskKind.RESTORE_CLEANUP: self._cleanup,
        }

    def remove_staging(self, restore_id: str) -> None:
        """Remove what a restore has left on this node."""
        Staging(self._node.known().data_directories, restore_id).remove()

    # The tasks.

    def _preflight(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Look at everything that this node would need; change nothing."""
        member = self._node.known().member
        problems: list[str] = []
        tables: dict[str, dict[str, int]] = {}
        total_files = total_bytes = packs = 0
        rate = 0.0
        needed = [0] * len(self._node.known().data_directories)
        for part in _parts(arguments):
            context.check()
            summary = self._summary(arguments, part, problems)
            if summary is None:
                continue
            packs += len(summary.packs)
            for number, size in summary.directories.items():
                needed[number % len(needed)] += size
            lost = missing_packs(self._repository(arguments, part.source), summary.packs)
            if not lost and not rate:
                rate = self._measure(arguments, part.source, summary)
            problems += [f"node backup {part.source}: {problem}" for problem in lost[:20]]
            if len(lost) > 20:
                problems.append(f"node backup {part.source}: {len(lost) - 20} more packs are lost")
            problems += _version_problems(summary, member.version, part.source)
            for source, found in summary.tables.items():
                entry = tables.setdefault(str(part.targets[source]), {"files": 0, "bytes": 0})
                entry["files"] += found.files
                entry["bytes"] += found.bytes
                total_files += found.files
                total_bytes += found.bytes
        free = self._free(needed, problems)
        return {
            "tables": tables,
            "files": total_files,
            "bytes": total_bytes,
            "packs": packs,
            "free": free,
            "bytes_per_second": rate,
            "problems": problems,
            "version": member.version,
        }

    def _summary(
        self, arguments: Mapping[str, Any], part: _Part, problems: list[str]
    ) -> NodeSummary | None:
        backup_id = str(arguments["backup_id"])
        cluster = self._cluster(arguments)
        found = cluster.digest_node_manifest(backup_id, part.source)
        if found != part.manifest:
            problems.append(
                f"the node manifest of {part.source} has SHA-256 {found.sha256}, the backup "
                f"manifest names {part.manifest.sha256}: it was changed after the backup"
            )
            return None
        return summarise(
            cluster.node_manifest(backup_id, part.source),
            set(part.targets),
            self._directory_of(arguments, part.source),
        )

    def _measure(self, arguments: Mapping[str, Any], source: str, summary: NodeSummary) -> float:
        """Return the rate of one stream from the store, in bytes per second; 0 for no pack."""
        for pack, size in summary.packs.items():
            started = time.monotonic()
            read = sum(
                len(piece)
                for piece in self._repository(arguments, source).read_pack(
                    pack, 0, min(size, _PROBE)
                )
            )
            return read / max(time.monotonic() - started, 1e-6)
        return 0.0

    def _free(self, needed: Sequence[int], problems: list[str]) -> list[dict[str, Any]]:
        """Return each data directory's room; some may share a file system."""
        spaces = SnapshotTree(self._node.known().data_directories).space()
        devices = [os.stat(space.path).st_dev for space in spaces]
        result = []
        for number, space in enumerate(spaces):
            beside = sum(n for n, d in zip(needed, devices, strict=True) if d == devices[number])
            keep = int(space.total * self._settings.head_room_percent / 100)
            if space.free - beside < keep and devices.index(devices[number]) == number:
                problems.append(
                    f"data directory {space.path} has {space.free >> 20} MiB free; the restore "
                    f"needs {_mib(beside)} MiB on its file system and [worker] head_room_percent "
                    f"keeps {_mib(keep)} MiB; free some room"
                )
            result.append({"path": space.path, "free": space.free, "needed": needed[number]})
        return result

    def _download(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Stage and verify the files of all parts; what an earlier attempt staged is kept."""
        staging = self._staging(arguments)
        staging.prepare()
        whole = RestoreProgress(
            files_total=int(arguments["files"]), bytes_total=int(arguments["bytes"])
        )
        for part in _parts(arguments):
            whole = self._download_part(arguments, part, staging, whole, context)
        return {"progress": asdict(whole)}

    def _download_part(
        self,
        arguments: Mapping[str, Any],
        part: _Part,
        staging: Staging,
        before: RestoreProgress,
        context: TaskContext,
    ) -> RestoreProgress:
        backup_id, cluster = str(arguments["backup_id"]), self._cluster(arguments)
        directory_of = self._directory_of(arguments, part.source)
        found = cluster.digest_node_manifest(backup_id, part.source)
        if found != part.manifest:
            raise CorruptObject(
                f"the node manifest of {part.source} has SHA-256 {found.sha256}, the backup "
                f"manifest names {part.manifest.sha256}: it was changed after the backup"
            )

        def place(entry: FileEntry) -> Path | None:
            target = part.targets.get(TableName(entry.keyspace, entry.table))
            if target is None or not is_restored_component(entry):
                return None
            return staging.directory(part.source, target, directory_of(entry)) / entry.name

        def report(progress: RestoreProgress) -> None:
            context.report(_added(before, progress))

        done = download_node(
            self._repository(arguments, part.source),
            lambda: cluster.node_manifest(backup_id, part.source),
            place,
            journal=staging.journal(part.source),
            settings=self._settings.download,
            progress=report,
            check_cancelled=context.check,
        )
        return _added(before, done)

    def _cleanup(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        self.remove_staging(str(arguments["restore_id"]))
        return {}

    # Parts.

    def _staging(self, arguments: Mapping[str, Any]) -> Staging:
        return Staging(self._node.known().data_directories, str(arguments["restore_id"]))

    def _cluster(self, arguments: Mapping[str, Any]) -> ClusterRepository:
        return ClusterRepository(
            self._storage, self._settings.prefix, str(arguments["source_cluster"])
        )

    def _directory_of(
        self, arguments: Mapping[str, Any], source: str
    ) -> Callable[[FileEntry], int]:
        """Return what chooses the data directories; with ``room``, Cassandra does not spread."""
        if "room" not in arguments:
            return lambda entry: entry.data_directory
        manifest = self._cluster(arguments).node_manifest(str(arguments["backup_id"]), source)
        room = [int(r) for r in arguments["room"]]
        spread = Spread(room, len(manifest.header.data_directories))
        return lambda entry: spread.directory(entry, sstable_of(entry.name))

    def _repository(self, arguments: Mapping[str, Any], source: str) -> NodeRepository:
        return NodeRepository(
            self._storage, self._settings.prefix, str(arguments["source_cluster"]), source
        )


def _parts(arguments: Mapping[str, Any]) -> list[_Part]:
    return [_Part.from_json(p) for p in arguments["parts"]]


def _added(before: RestoreProgress, progress: RestoreProgress) -> RestoreProgress:
    """Return the whole task's progress: what was done before and this part's."""
    return replace(
        before,
        files_done=before.files_done + progress.files_done,
        bytes_done=before.bytes_done + progress.bytes_done,
        bytes_downloaded=before.bytes_downloaded + progress.bytes_downloaded,
        bytes_resumed=before.bytes_resumed + progress.bytes_resumed,
    )


def _mib(size: int) -> int:
    return -(-size >> 20)


def _version_problems(summary: NodeSummary, version: str, source: str) -> list[str]:
    """Say which SSTables this Cassandra is too old for."""
    try:
        major = int(version.partition(".")[0])
    except ValueError:
        raise CassandraUnavailable(f"Cassandra tells the version {version!r}") from None
    return [
        f"node backup {source} has SSTables of version {found}, which Cassandra {version} cannot "
        f"read; restore into version {_SINCE.get(found[0], 5)} or later"
        for found in sorted(summary.versions)
        if found[0] not in _SINCE or major < _SINCE[found[0]]
    ]

# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that stage its files on one node, and remove what is staged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from magnetodb_backup.cassandra.files.ledger import Ledger
from magnetodb_backup.cassandra.files.staging import Staging, sstable_of
from magnetodb_backup.domain.backup.manifest import FileEntry
from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.download.download import download_node, is_restored_component
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.restore import (
    CleanUp,
    Download,
    Downloaded,
    ExpectedPart,
    StagingRemoved,
)
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.directories import directory_of
from magnetodb_backup.worker.restore.preflight import RestoreSettings, by_source
from magnetodb_backup.worker.restore.running_imports import RunningImports, await_all
from magnetodb_backup.worker.tasks import TaskContext


class _Staged:
    """The names of the files that a download stages, by node backup, table and SSTable."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, TableName], dict[str, set[str]]] = {}

    def add(self, source: str, table: TableName, name: str) -> None:
        of_table = self._names.setdefault((source, table), {})
        of_table.setdefault(sstable_of(name), set()).add(name)

    def counts(self) -> dict[tuple[str, TableName], dict[str, int]]:
        return {
            key: {sstable: len(names) for sstable, names in found.items()}
            for key, found in self._names.items()
        }


class DownloadWork:
    """Stages files beside the data, and removes them at the end."""

    def __init__(self, node: LocalNode, storage: StorageDriver, settings: RestoreSettings) -> None:
        self._node, self._storage, self._settings = node, storage, settings

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(Download, self._download), handles(CleanUp, self._clean_up)]

    def _download(self, task: Download, context: TaskContext) -> Downloaded:
        """Stage and verify the files of all parts; what an earlier attempt staged is kept."""

        def wait() -> None:
            context.raise_if_cancelled()
            context.get_on()  # Cassandra's imports may take any time

        await_all(self._node, wait)
        staging = Staging(self._node.known().data_directories, task.restore_id)
        staging.prepare()
        whole = RestoreProgress(files_total=task.files, bytes_total=task.bytes)
        own, staged = task.own_parts(), _Staged()
        for parts in by_source(own):
            whole = self._download_source(task, parts, staging, staged, whole, context)
        ledger = Ledger(staging)
        ledger.expect(staged.counts())
        digests = (ledger.digest(p.source, {ref.target for ref in p.tables}) for p in own)
        return Downloaded(whole, tuple(ExpectedPart(*digest) for digest in digests))

    def _download_source(
        self,
        task: Download,
        parts: Sequence[Part],
        staging: Staging,
        staged: _Staged,
        before: RestoreProgress,
        context: TaskContext,
    ) -> RestoreProgress:
        """Stage the parts of one node backup; its node manifest is read once."""
        part = parts[0]
        prefix = self._settings.prefix
        manifest = ClusterRepository(self._storage, prefix, part.cluster).node_manifest(
            part.backup_id, part.source, part.manifest
        )
        directory = directory_of(manifest.header, task.room)
        targets = {ref.source: ref.target for each in parts for ref in each.tables}

        def place(entry: FileEntry) -> Path | None:
            target = targets.get(TableName(entry.keyspace, entry.table))
            if target is None or not is_restored_component(entry):
                return None
            staged.add(part.source, target, entry.name)
            return staging.directory(part.source, target, directory(entry)) / entry.name

        def report(progress: RestoreProgress) -> None:
            context.report(_added(before, progress))

        done = download_node(
            NodeRepository(self._storage, prefix, part.cluster, part.source),
            lambda: manifest,
            place,
            journal=staging.journal(part.source),
            settings=self._settings.download,
            progress=report,
            raise_if_cancelled=context.raise_if_cancelled,
        )
        return _added(before, done)

    def _clean_up(self, task: CleanUp, context: TaskContext) -> StagingRemoved:
        """Remove what the restore has staged, once Cassandra imports nothing of it any more."""
        staging = Staging(self._node.known().data_directories, task.restore_id)
        running = RunningImports(self._node, staging)
        if not task.wait and (tables := running.tables()):
            return StagingRemoved(importing=tuple(map(str, tables)))
        awaited = running.await_end(context.raise_if_cancelled)
        staging.remove()
        return StagingRemoved(tuple(map(str, awaited)))


def _added(before: RestoreProgress, progress: RestoreProgress) -> RestoreProgress:
    """Return the whole task's progress: the earlier node backups' and this one's."""
    return replace(
        before,
        files_done=before.files_done + progress.files_done,
        bytes_done=before.bytes_done + progress.bytes_done,
        bytes_downloaded=before.bytes_downloaded + progress.bytes_downloaded,
        bytes_resumed=before.bytes_resumed + progress.bytes_resumed,
    )

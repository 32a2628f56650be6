# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore that stage its files on one node, and end their use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from magnetodb_backup.cassandra.files.ledger import Ledger
from magnetodb_backup.cassandra.files.links import Links, take_over
from magnetodb_backup.cassandra.files.staging import Staging
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
from magnetodb_backup.worker.restore.directories import directory_of, fetched_of
from magnetodb_backup.worker.restore.keeping import StagingKeeper
from magnetodb_backup.worker.restore.preflight import RestoreSettings, by_source
from magnetodb_backup.worker.restore.running_imports import RunningImports, await_all
from magnetodb_backup.worker.restore.store import store_of
from magnetodb_backup.worker.tasks import TaskContext


class DownloadWork:
    """Stages files beside the data; at the end they are removed, or kept for a later restore."""

    def __init__(
        self,
        node: LocalNode,
        storage: StorageDriver,
        settings: RestoreSettings,
        keeper: StagingKeeper,
    ) -> None:
        self._node, self._storage, self._settings = node, storage, settings
        self._keeper = keeper

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(Download, self._download), handles(CleanUp, self._clean_up)]

    def _download(self, task: Download, context: TaskContext) -> Downloaded:
        """Stage and verify the files of all parts; what was fetched before is used again."""

        def wait() -> None:
            context.raise_if_cancelled()
            context.get_on()  # Cassandra's imports may take any time

        await_all(self._node, wait)
        staging = Staging(self._node.known().data_directories, task.restore_id)
        staging.prepare()
        whole = RestoreProgress(files_total=task.files, bytes_total=task.bytes)
        own = task.own_parts()
        staged: dict[tuple[str, TableName], Mapping[str, int]] = {}
        for parts in by_source(own):
            whole, links = self._download_source(task, parts, staging, whole, context)
            staged |= {(parts[0].source, table): n for table, n in links.counts().items()}
        ledger = Ledger(staging)
        ledger.expect(staged)
        digests = (ledger.digest(p.source, {ref.target for ref in p.tables}) for p in own)
        return Downloaded(whole, tuple(ExpectedPart(*digest) for digest in digests))

    def _download_source(
        self,
        task: Download,
        parts: Sequence[Part],
        staging: Staging,
        before: RestoreProgress,
        context: TaskContext,
    ) -> tuple[RestoreProgress, Links]:
        """Fetch the files of one node backup, and link them; its node manifest is read once."""
        part = parts[0]
        prefix, storage = self._settings.prefix, store_of(task, self._storage)
        manifest = ClusterRepository(storage, prefix, part.cluster).node_manifest(
            part.backup_id, part.source, part.manifest
        )
        targets = {ref.source: ref.target for each in parts for ref in each.tables}
        fetched = fetched_of(part, self._node.known().data_directories)
        links = Links(fetched, staging, part.source)

        def report(progress: RestoreProgress) -> None:
            context.report(_added(before, progress))

        def get_on() -> None:
            context.raise_if_cancelled()
            context.get_on()

        with fetched.locked(create=True):
            fetched.hold(task.restore_id, targets)
            take_over(staging, fetched, part.source, targets)
            directory = directory_of(manifest.header, task.room, fetched, targets)

            def place(entry: FileEntry) -> Path | None:
                table = TableName(entry.keyspace, entry.table)
                target = targets.get(table)
                if target is None or not is_restored_component(entry):
                    return None
                number = directory(entry)
                links.add(table, target, number, entry.name)
                return fetched.directory(table, number) / entry.name

            done = download_node(
                NodeRepository(storage, prefix, part.cluster, part.source),
                lambda: manifest,
                place,
                journal=fetched.journal,
                settings=self._settings.download,
                progress=report,
                raise_if_cancelled=context.raise_if_cancelled,
            )
            links.make(get_on)
        return _added(before, done), links

    def _clean_up(self, task: CleanUp, context: TaskContext) -> StagingRemoved:
        """Remove what the restore has staged, once Cassandra imports nothing of it any more."""
        directories = self._node.known().data_directories
        staging = Staging(directories, task.restore_id)
        kept = self._keeper.end_fetched(directories, task.restore_id, keep=task.keep)
        running = RunningImports(self._node, staging)
        if not task.wait and (tables := running.tables()):
            return replace(kept, importing=tuple(map(str, tables)))
        awaited = running.await_end(context.raise_if_cancelled)
        staging.remove()
        return replace(kept, awaited=tuple(map(str, awaited)))


def _added(before: RestoreProgress, progress: RestoreProgress) -> RestoreProgress:
    """Return the whole task's progress: the earlier node backups' and this one's."""
    return replace(
        before,
        files_done=before.files_done + progress.files_done,
        bytes_done=before.bytes_done + progress.bytes_done,
        bytes_downloaded=before.bytes_downloaded + progress.bytes_downloaded,
        bytes_resumed=before.bytes_resumed + progress.bytes_resumed,
    )

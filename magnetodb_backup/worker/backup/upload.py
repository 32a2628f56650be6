# SPDX-License-Identifier: Apache-2.0
"""The task that uploads a node's snapshot."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.domain.backup.manifest import NodeManifestHeader, SnapshotFile
from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.sstables import may_not_restore, sstable_version
from magnetodb_backup.errors import Cancelled, FileVanished, Transient
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex
from magnetodb_backup.repository.upload.settings import UploadSettings
from magnetodb_backup.repository.upload.upload import (
    Caller,
    EarlierBackups,
    NodeSnapshot,
    NodeUpload,
    harmed_backups,
    upload_node,
)
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.backup import Upload, Uploaded
from magnetodb_backup.tasks.cluster import Member
from magnetodb_backup.worker.backup.containers import Containers
from magnetodb_backup.worker.backup.snapshot import FinishedUploads, SnapshotWork
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import TaskContext

LOG = logging.getLogger(__name__)
_NAMED_PACKS, _NAMED_BACKUPS = 20, 1000
_NAMED_FILES = 1000  # corrupt files; the node manifest marks all
_NAMED_TABLES = 100  # tables with SSTables of an odd version


@dataclass(frozen=True)
class _Source:
    """The node whose snapshot is uploaded, its data directories, and the snapshots in them."""

    member: RingMember
    directories: tuple[str, ...]
    tree: SnapshotTree


class UploadWork:
    """Uploads one snapshot at a time."""

    def __init__(
        self,
        node: LocalNode,
        storage: StorageDriver,
        snapshots: SnapshotWork,
        finished: FinishedUploads,
        settings: UploadSettings,
        containers: Containers,
        *,
        prefix: str,
    ) -> None:
        self._node, self._storage = node, storage
        self._snapshots, self._finished = snapshots, finished
        self._settings, self._containers, self._prefix = settings, containers, prefix

    def handlers(self) -> tuple[TaskHandler, ...]:
        """Return the handler of each kind of task."""
        return (handles(Upload, self._upload),)

    def _upload(self, task: Upload, context: TaskContext) -> Uploaded:
        with self._containers.hold(task.host_id, context):
            try:
                return self._upload_alone(task, context)
            except (Transient, Cancelled):
                raise  # another attempt needs the snapshot; a cancelled job removes it
            except Exception:
                with context.command_of_cassandra():
                    self._snapshots.drop(task.tag)
                raise

    def _upload_alone(self, task: Upload, context: TaskContext) -> Uploaded:
        if (kept := self._finished.find(task.tag)) is not None:
            # Its snapshot may be removed in part: the rest must not be taken for the whole.
            with context.command_of_cassandra():
                self._snapshots.drop(task.tag)
            return kept
        directories = self._node.data_directories()
        source = _Source(self._node.member(), directories, SnapshotTree(directories))
        files, size = _count(task, source.tree)

        def report(progress: Progress) -> None:
            context.report(replace(progress, files_total=files, bytes_total=size))

        odd = _OddVersions()
        uploaded = self._store(task, source, report, context, odd)
        _require_whole(task, uploaded.files, uploaded.bytes)
        losses = self._losses(task, uploaded.lost, context)
        result = Uploaded(
            manifest=uploaded.manifest,
            files=uploaded.files,
            bytes=uploaded.bytes,
            corrupt_files=uploaded.corrupt_files[:_NAMED_FILES],
            corrupt_count=len(uploaded.corrupt_files),
            lost=tuple(sorted(uploaded.lost)[:_NAMED_PACKS]),
            lost_count=len(uploaded.lost),
            harmed=losses.harmed,
            recounted=losses.recounted,
            progress=replace(uploaded.progress, files_total=files, bytes_total=size),
            member=Member.of(source.member),
            replaced={
                pack: task.distrusted[pack] for pack in uploaded.replaced if pack in task.distrusted
            },
            unrestorable=odd.tables(),
            tables=uploaded.tables,
        )
        context.report(result.progress)
        self._finished.keep(task.tag, result)
        index = self._index(task)
        index.mark_lost(uploaded.lost)
        index.forget_healed(losses.healed)
        index.close()
        with context.command_of_cassandra():
            self._snapshots.drop(task.tag)
        return result

    def _store(
        self,
        task: Upload,
        source: _Source,
        report: Callable[[Progress], None],
        context: TaskContext,
        odd: _OddVersions,
    ) -> NodeUpload:
        """Store the packs and the node manifest."""
        tables = tuple(t.description() for t in task.tables)
        member, tree = source.member, source.tree
        header = NodeManifestHeader(
            backup_id=task.backup_id,
            cluster=task.cluster,
            host_id=task.host_id,
            address=member.address,
            dc=member.dc,
            rack=member.rack,
            version=member.version,
            tokens=member.tokens,
            data_directories=source.directories,
            snapshot_tag=task.tag,
            snapshot_started_at=task.snapshot_started_at,
            snapshot_finished_at=task.snapshot_finished_at,
        )
        index, repository = self._index(task), self._repository(task)
        distrusted = frozenset(task.distrusted)
        if task.distrust_all:
            LOG.warning(
                "more than %d packs of this node are damaged: all are stored again",
                len(distrusted),
            )
            distrusted |= frozenset(repository.packs())
        try:
            return upload_node(
                repository,
                index,
                NodeSnapshot(header, lambda: odd.seen(tree.files(task.tag, tables))),
                replace(self._settings, on_corrupt=task.on_corrupt),
                spool_directory=self._containers.state_dir,
                caller=Caller(report, context.raise_if_cancelled, context.get_on),
                earlier=EarlierBackups(task.earlier, distrusted),
            )
        finally:
            index.close()

    def _index(self, task: Upload) -> FileIndex:
        return self._containers.index(task.host_id)

    def _repository(self, task: Upload) -> NodeRepository:
        return NodeRepository(self._storage, self._prefix, task.cluster, task.host_id)

    def _losses(self, task: Upload, lost: frozenset[str], context: TaskContext) -> _Losses:
        """Count what lost packs mean for earlier backups, if some were lost or are stored again.

        Without all manifests nothing is reported of what is stored again: it is the next time.
        """
        index = self._index(task)
        healed, known = index.healed_packs(), index.lost_packs()
        index.close()
        if not lost and not healed:
            return _Losses()
        if lost:
            LOG.warning("the store has lost %d packs that only earlier backups need", len(lost))

        def get_on() -> None:
            context.raise_if_cancelled()
            context.get_on()

        harm = harmed_backups(self._repository(task), lost | known, get_on)
        files = {id_: count for id_, count in harm.files.items() if id_ != task.backup_id}
        return _Losses(
            dict(itertools.islice(files.items(), _NAMED_BACKUPS)),
            harm.complete,
            healed if harm.complete else frozenset(),
        )


@dataclass(frozen=True)
class _Losses:
    """The files of earlier backups in lost packs, whether all are counted, and healed packs."""

    harmed: Mapping[str, int] = field(default_factory=dict)
    recounted: bool = False
    healed: frozenset[str] = frozenset()


class _OddVersions:
    """Notes the SSTables that a restore of this release would object to."""

    def __init__(self) -> None:
        self._tables: dict[str, set[str]] = {}

    def seen(self, files: Iterator[SnapshotFile]) -> Iterator[SnapshotFile]:
        """Yield the files again."""
        for file in files:
            version = sstable_version(file.name)
            if file.name.endswith("-Data.db") and may_not_restore(version):
                self._tables.setdefault(version, set()).add(f"{file.keyspace}.{file.table}")
            yield file

    def tables(self) -> dict[str, tuple[str, ...]]:
        """Return by version the tables that have such SSTables, the first of very many."""
        return {
            version: tuple(sorted(tables)[:_NAMED_TABLES])
            for version, tables in self._tables.items()
        }


def _count(task: Upload, tree: SnapshotTree) -> tuple[int, int]:
    """Return the number of the snapshot's files and their bytes.

    :raises FileVanished: if the snapshot is gone, or smaller than when it was taken.
    """
    if task.tables and not tree.exists(task.tag):
        raise FileVanished(
            f"snapshot {task.tag} is gone before it was uploaded; it was cleared by another "
            "program, or [worker] snapshot_ttl is too short"
        )
    files, size = tree.count(task.tag, tuple(t.description() for t in task.tables))
    _require_whole(task, files, size)
    return files, size


def _require_whole(task: Upload, files: int, size: int) -> None:
    """Raise unless a snapshot has what it had when it was taken.

    :raises FileVanished: a directory that is just being removed looks like a small snapshot.
    """
    files_taken = files if task.snapshot_files is None else task.snapshot_files
    size_taken = size if task.snapshot_bytes is None else task.snapshot_bytes
    if (files, size) != (files_taken, size_taken):
        raise FileVanished(
            f"snapshot {task.tag} has {files} files of {size} bytes, but {files_taken} of "
            f"{size_taken} when it was taken; another program clears it, or [worker] "
            "snapshot_ttl is too short"
        )

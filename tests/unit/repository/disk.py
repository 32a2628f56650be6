# SPDX-License-Identifier: Apache-2.0
"""A node's files on a real disk, and their way into a store and back."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

from magnetodb_backup.domain.backup.manifest import FileEntry, NodeManifestHeader, SnapshotFile
from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.names import node_container, pack_name
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
from tests.unit.repository.stores import Store

PREFIX, CLUSTER = "backups", "test cluster"
HOST = "11111111-1111-4111-8111-111111111111"
PACK_SIZE = 1000
TABLE_ID = "0123456789abcdef0123456789abcdef"


_NONE = EarlierBackups()


def backup_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def header(number: int, host_id: str = HOST) -> NodeManifestHeader:
    """Return the header of this node's share of the backup with this number."""
    return NodeManifestHeader(
        backup_id=backup_id(number),
        cluster=CLUSTER,
        host_id=host_id,
        address="127.0.0.1",
        dc="dc1",
        rack="r1",
        version="5.0.9",
        tokens=(-5, 7),
        data_directories=("/data",),
        snapshot_tag=f"tag-{number}",
        snapshot_started_at=f"2026-01-01T00:00:{number:02d}+00:00",
        snapshot_finished_at=f"2026-01-01T00:00:{number:02d}+00:00",
    )


class _Threads(TypedDict):
    readers: int
    concurrency: int


# Settings of an upload: files are read and packs are stored in their order.
ONE_BY_ONE: _Threads = {"readers": 1, "concurrency": 1}


class Disk:
    """Writes files below ``tmp_path`` and uploads them as one table's snapshot."""

    def __init__(self, tmp_path: Path, store: Store, host_id: str = HOST) -> None:
        self.root = tmp_path / f"data-{host_id}"
        self.root.mkdir()
        self.index_path = tmp_path / f"index-{host_id}.sqlite"
        self.store, self.host_id = store, host_id
        self.repository = NodeRepository(store, PREFIX, CLUSTER, host_id)
        self.cluster = ClusterRepository(store, PREFIX, CLUSTER)
        self.repository.ensure()
        self.cluster.ensure()
        self.container = node_container(PREFIX, CLUSTER, host_id)
        self.progress: list[Progress] = []

    def write(self, name: str, content: bytes) -> Path:
        path = self.root / name
        path.write_bytes(content)
        return path

    def files(self) -> Iterator[SnapshotFile]:
        """Yield what lies in the directory, by name."""
        for path in sorted(self.root.iterdir()):
            yield self.found(path)

    def found(self, path: Path) -> SnapshotFile:
        status = os.lstat(path)
        return SnapshotFile(
            keyspace="ks",
            table="t",
            table_id=TABLE_ID,
            index=None,
            data_directory=0,
            name=path.name,
            path=str(path),
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
        )

    def upload(
        self,
        number: int = 1,
        files: Callable[[], Iterator[SnapshotFile]] | None = None,
        *,
        earlier: EarlierBackups = _NONE,
        raise_if_cancelled: Callable[[], None] = lambda: None,
        **settings: Any,
    ) -> NodeUpload:
        """Upload all files as this node's share of the backup with this number."""
        index = FileIndex(self.index_path)
        try:
            return upload_node(
                self.repository,
                index,
                NodeSnapshot(header(number, self.host_id), files or self.files),
                UploadSettings(**{"pack_size": PACK_SIZE, **settings}),
                spool_directory=self.root.parent,
                caller=Caller(self.progress.append, raise_if_cancelled),
                earlier=earlier,
            )
        finally:
            index.close()

    def mark_lost(self, packs: set[str]) -> None:
        """Note in the index that the loss of packs is reported."""
        index = FileIndex(self.index_path)
        index.mark_lost(packs)
        index.close()

    def harmed(self, lost: set[str]) -> dict[str, int]:
        """Return the stored backups that need lost packs, with the numbers of files."""
        return harmed_backups(self.repository, frozenset(lost), lambda: None).files

    def lose_index(self) -> None:
        self.index_path.unlink()

    def entries(self, number: int = 1) -> dict[str, FileEntry]:
        """Return the stored node manifest's files by name."""
        return {e.name: e for e in self.cluster.node_manifest(backup_id(number), self.host_id)}

    def restored(self, number: int = 1) -> dict[str, bytes]:
        """Return each file's bytes as the manifest's extents give them."""
        return {
            name: b"".join(
                piece
                for e in entry.extents
                for piece in self.repository.read_pack(e.pack, e.offset, e.length)
            )
            for name, entry in self.entries(number).items()
        }

    def contents(self) -> dict[str, bytes]:
        """Return what ``restored`` has to give."""
        return {path.name: path.read_bytes() for path in self.root.iterdir()}

    def pack_sizes(self) -> list[int]:
        return sorted(self.repository.packs().values())

    def damage(self, pack: str, change: Callable[[bytes], bytes]) -> None:
        self.store.change(self.container, pack_name(pack), change)

    def lose(self, pack: str) -> None:
        self.store.delete(self.container, pack_name(pack))


def noise(seed: int, size: int) -> bytes:
    """Return bytes that no other seed gives."""
    return random.Random(seed).randbytes(size)

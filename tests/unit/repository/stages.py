# SPDX-License-Identifier: Apache-2.0
"""A node's disk, its backup in a store that counts what is read, and where that is restored."""

from __future__ import annotations

import io
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from magnetodb_backup.domain.backup.manifest import FileEntry, NodeManifestHeader
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.repository.download.download import DownloadSettings, download_node
from magnetodb_backup.repository.format.manifests import NodeManifestReader, NodeManifestWriter
from tests.unit.repository.disk import Disk, backup_id, header
from tests.unit.repository.stores import Store

ONE_BY_ONE = DownloadSettings(concurrency=1)


class CountingStore(Store):
    """Notes what is read of packs: ``reads`` are name, offset and length.

    ``on_chunk`` sees, and may change, each chunk; it may raise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[str, int, int | None]] = []
        self.bytes_read: dict[str, int] = defaultdict(int)
        self.on_chunk: Callable[[str, bytes], bytes] = lambda name, chunk: chunk
        self._counting = threading.Lock()

    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        chunks = super().read(container, name, offset=offset, length=length)
        if not name.startswith("packs/"):
            yield from chunks
            return
        pack = name.rpartition("/")[2]
        with self._counting:
            self.reads.append((pack, offset, length))
        for chunk in chunks:
            with self._counting:
                self.bytes_read[pack] += len(chunk)
            yield self.on_chunk(pack, chunk)


class Stage:
    """Restores the disk's backups into ``root``."""

    def __init__(self, tmp_path: Path, store: Any = None) -> None:
        self.store = CountingStore() if store is None else store
        self.disk = Disk(tmp_path, self.store)
        self.base = tmp_path / "target"
        self.base.mkdir()
        self.root = self.base / "staging" / "ks" / "t"
        self.journal = self.base / "journal.jsonl"
        self.told: list[RestoreProgress] = []

    def place(self, entry: FileEntry) -> Path | None:
        return self.root / entry.name

    def download(
        self,
        number: int = 1,
        place: Callable[[FileEntry], Path | None] | None = None,
        *,
        settings: DownloadSettings | None = None,
        manifest: Callable[[], NodeManifestReader] | None = None,
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> RestoreProgress:
        def stored() -> NodeManifestReader:
            return self.disk.cluster.node_manifest(backup_id(number), self.disk.host_id)

        return download_node(
            self.disk.repository,
            manifest or stored,
            place or self.place,
            journal=self.journal,
            settings=settings or DownloadSettings(),
            progress=self.told.append,
            raise_if_cancelled=raise_if_cancelled,
        )

    def download_these(self, entries: Iterable[FileEntry], **options: Any) -> RestoreProgress:
        """Download by a manifest of our own making."""
        text = manifest_of(entries)
        return self.download(manifest=lambda: NodeManifestReader([text], "forged"), **options)

    def contents(self) -> dict[str, bytes]:
        """Return what was restored, and whatever else lies there."""
        return {path.name: path.read_bytes() for path in self.root.iterdir()}

    def written(self) -> list[Path]:
        """Return all files below the staging directory."""
        return [path for path in (self.base / "staging").rglob("*") if not path.is_dir()]


def manifest_of(entries: Iterable[FileEntry], first: NodeManifestHeader | None = None) -> bytes:
    file = io.BytesIO()
    writer = NodeManifestWriter(file, first or header(1))
    for entry in entries:
        writer.add(entry)
    writer.finish()
    return file.getvalue()


def threads_left() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("fetch")]

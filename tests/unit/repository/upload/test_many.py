# SPDX-License-Identifier: Apache-2.0
"""Memory does not grow with the number of files or their size."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

from magnetodb_backup.repository.format.manifests import NodeManifestReader
from tests.unit.repository.disk import Disk, backup_id
from tests.unit.repository.stores import Store

MANY = 10_100
SIZE = 64
PACK = 16 * 1024
# A list of as many entries, or of their lines, would take more.
BOUND = 4 * 1024 * 1024


class Sink(Store):
    """Takes packs without keeping their bytes."""

    def put(self, container: str, name: str, body: object, *, size: int, md5: str) -> None:
        if name.startswith("packs/"):
            super().put(container, name, b"", size=0, md5="d41d8cd98f00b204e9800998ecf8427e")
        else:
            super().put(container, name, body, size=size, md5=md5)


def _peak(action: Callable[[], object]) -> int:
    """Return the most memory that ``action`` held beyond what was held before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        action()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _bytes_in(manifest: NodeManifestReader) -> int:
    return sum(entry.size for entry in manifest)


def test_many_files_are_not_held_in_memory(tmp_path: Path) -> None:
    disk = Disk(tmp_path, Sink())
    paths = [disk.root / f"nb-{number}-big-Index.db" for number in range(MANY)]
    for number, path in enumerate(paths):
        path.write_bytes(f"{number:0{SIZE}d}".encode())
    assert _peak(lambda: disk.upload(1, lambda: map(disk.found, paths), pack_size=PACK)) < BOUND
    assert len(disk.store.packs_put()) == -(-MANY * SIZE // PACK)

    sizes: list[int] = []
    reader = disk.cluster.node_manifest(backup_id(1), disk.host_id)
    assert _peak(lambda: sizes.append(_bytes_in(reader))) < BOUND / 4
    assert sizes == [MANY * SIZE]


def test_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    disk = Disk(tmp_path, Sink())
    with (disk.root / "large").open("wb") as file:
        for number in range(512):
            file.write(number.to_bytes(2, "big") * (PACK * 8 // 2))
    peak = _peak(lambda: disk.upload(pack_size=PACK * 8, readers=2, concurrency=3))
    assert len(disk.store.packs_put()) == 512
    assert peak < 5 * PACK * 8 + 2 * 1024 * 1024

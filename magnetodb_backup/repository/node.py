# SPDX-License-Identifier: Apache-2.0
"""The container of one node: its packs; and its node manifests."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.errors import CorruptObject
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.node_manifests import NodeManifests
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.guarded import guarded

_SLICE = 1024 * 1024
_HEADS = 16  # requests at once
_BATCH = 256


class NodeRepository:
    """Reads and writes the container ``<prefix>.<cluster>.<host ID>`` and the node manifests.

    ``manifests`` are those of earlier backups.
    """

    def __init__(self, driver: StorageDriver, prefix: str, cluster: str, host_id: str) -> None:
        self._driver = driver
        self._cluster_container = layout.cluster_container(prefix, cluster)
        self._container = layout.node_container(prefix, cluster, host_id)
        self.host_id = host_id
        self.manifests = NodeManifests(ClusterRepository(driver, prefix, cluster), host_id)

    def guarded(self, check: Callable[[], None]) -> NodeRepository:
        """Return a copy that calls ``check`` before each request that changes the container.

        What ``check`` raises ends the request, whose repetitions are such requests too.
        """
        other = copy.copy(self)
        other._driver = guarded(self._driver, check)
        return other

    def ensure(self) -> None:
        """Create the container if it does not exist."""
        self._driver.ensure_container(self._container)

    def packs(self) -> dict[str, int]:
        """Return the listed packs: size in bytes by SHA-256. The listing may lag."""
        return {
            info.name.rpartition("/")[2]: info.size
            for info in self._driver.list(self._container, layout.PACKS)
        }

    def listed_packs(self) -> Iterator[tuple[str, int]]:
        """Yield SHA-256 and size in bytes of each listed pack; other objects are passed over.

        Unlike ``packs()`` it keeps nothing in memory.
        """
        for info in self._driver.list(self._container, layout.PACKS):
            if (sha256 := layout.parse_pack_name(info.name)) is not None:
                yield sha256, info.size

    def delete_pack(self, sha256: str) -> None:
        """Delete a pack; one that does not exist is no error."""
        self._driver.delete(self._container, layout.pack_name(sha256))

    def read_first_look(self) -> Iterator[bytes]:
        """Yield the stored result of the last look for packs that no backup needs.

        :raises NotFound: if there is none.
        """
        return self._driver.read_newest(self._container, layout.FIRST_LOOK)

    def put_first_look(self, file: BinaryIO) -> None:
        """Store the result of a look, from the start of ``file``."""
        md5, size = hashlib.md5(usedforsecurity=False), 0
        file.seek(0)
        while piece := file.read(_SLICE):
            md5.update(piece)
            size += len(piece)
        file.seek(0)
        self._driver.put(self._container, layout.FIRST_LOOK, file, size=size, md5=md5.hexdigest())

    def delete_first_look(self) -> None:
        """Delete the result of the last look; it need not exist."""
        self._driver.delete(self._container, layout.FIRST_LOOK)

    def delete_container(self) -> None:
        """Delete the container.

        :raises Conflict: if it has objects.
        """
        self._driver.delete_container(self._container)

    def pack_size(self, sha256: str) -> int | None:
        """Return the size of a pack in bytes by a HEAD request; None if it does not exist."""
        info = self._driver.head(self._container, layout.pack_name(sha256))
        return info.size if info else None

    def pack_sizes(
        self, packs: Iterable[str], raise_if_cancelled: Callable[[], None]
    ) -> Iterator[tuple[str, int | None]]:
        """Yield each pack with its size in bytes, None if it does not exist, in the given order.

        Each pack has a HEAD request of its own, many at once: the object itself answers, while a
        listing may have an object that is lost for good. ``raise_if_cancelled`` is called once a
        batch.
        """
        remaining = iter(packs)
        with ThreadPoolExecutor(_HEADS, thread_name_prefix="head") as pool:
            while batch := list(itertools.islice(remaining, _BATCH)):
                raise_if_cancelled()
                yield from zip(batch, pool.map(self.pack_size, batch), strict=True)

    def put_pack(self, sha256: str, body: bytes | memoryview, md5: str) -> None:
        """Store a pack under the SHA-256 of its bytes."""
        name = layout.pack_name(sha256)
        self._driver.put(self._container, name, body, size=len(body), md5=md5)

    def read_pack(self, sha256: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield a pack's bytes.

        :raises NotFound: if it is missing.
        """
        return self._driver.read(
            self._container, layout.pack_name(sha256), offset=offset, length=length
        )

    def put_node_manifest(self, backup_id: str, file: BinaryIO) -> StoredObject:
        """Store the node manifest in ``file``, and read it back.

        :raises CorruptObject: if the store returns other bytes.
        """
        name = layout.node_manifest_name(backup_id, self.host_id)
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        file.seek(0)
        size = 0
        while piece := file.read(_SLICE):
            sha256.update(piece)
            md5.update(piece)
            size += len(piece)
        file.seek(0)
        self._driver.put(self._cluster_container, name, file, size=size, md5=md5.hexdigest())
        found = hashlib.sha256()
        for piece in self._driver.read_newest(self._cluster_container, name):
            found.update(piece)
        if found.digest() != sha256.digest():
            raise CorruptObject(
                f"{name} reads back as SHA-256 {found.hexdigest()}, {sha256.hexdigest()} was stored"
            )
        return StoredObject(name, size, sha256.hexdigest())

    def delete_node_manifest(self, backup_id: str) -> None:
        """Delete this node's manifest of a backup."""
        name = layout.node_manifest_name(backup_id, self.host_id)
        self._driver.delete(self._cluster_container, name)

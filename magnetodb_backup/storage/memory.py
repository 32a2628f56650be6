# SPDX-License-Identifier: Apache-2.0
"""A storage driver that keeps everything in memory, for tests."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from typing import BinaryIO

from typing_extensions import override

from magnetodb_backup.errors import Conflict, IncompleteBody, NotFound, ObjectTooShort
from magnetodb_backup.storage.body import Body
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver

_CHUNK = 64 * 1024


class MemoryDriver(StorageDriver):
    """Keeps containers as dictionaries until the process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._containers: dict[str, dict[str, tuple[bytes, str]]] = {}

    @override
    def ensure_container(self, container: str) -> None:
        with self._lock:
            self._containers.setdefault(container, {})

    @override
    def containers(self, prefix: str) -> Iterator[str]:
        with self._lock:
            names = sorted(self._containers)
        yield from (name for name in names if name.startswith(prefix))

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        source = Body(body, size)
        content = bytearray()
        while piece := source.read(_CHUNK):
            content += piece
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise IncompleteBody(f"{container}/{name}: the body has MD5 {found}, not {md5}")
        with self._lock:
            if container not in self._containers:
                raise NotFound(f"there is no container {container!r}; create it first")
            self._containers[container][name] = (bytes(content), found)

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        with self._lock:
            found = self._containers.get(container, {}).get(name)
        if found is None:
            raise NotFound(f"there is no object {name!r} in container {container!r}")
        content = found[0]
        end = len(content) if length is None else offset + length
        for start in range(offset, min(end, len(content)), _CHUNK):
            yield content[start : min(start + _CHUNK, end)]
        if max(end, offset) > len(content):
            raise ObjectTooShort(
                f"{container}/{name} has {len(content)} bytes; wanted were {offset} to {end}"
            )

    @override
    def head(self, container: str, name: str) -> ObjectInfo | None:
        with self._lock:
            found = self._containers.get(container, {}).get(name)
        return None if found is None else ObjectInfo(name, len(found[0]), found[1])

    @override
    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            items = sorted(self._containers.get(container, {}).items())
        for name, (content, md5) in items:
            if name.startswith(prefix):
                yield ObjectInfo(name, len(content), md5)

    @override
    def delete(self, container: str, name: str) -> None:
        with self._lock:
            self._containers.get(container, {}).pop(name, None)

    @override
    def delete_container(self, container: str) -> None:
        with self._lock:
            if self._containers.get(container):
                raise Conflict(f"container {container!r} has objects; delete them first")
            self._containers.pop(container, None)

    def close(self) -> None:
        """Keep everything: another driver of the same test may still read it."""

# SPDX-License-Identifier: Apache-2.0
"""What all decorators of drivers share: each request is passed on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO

from typing_extensions import override

from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver


class Forwarding(StorageDriver):
    """Passes every request to ``driver``; a decorator overrides what it changes.

    Without it a decorator that lacks a method has the protocol's default in its place.
    """

    def __init__(self, driver: StorageDriver) -> None:
        self._driver = driver

    @override
    def ensure_container(self, container: str) -> None:
        self._driver.ensure_container(container)

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        self._driver.put(container, name, body, size=size, md5=md5)

    @override
    def delete(self, container: str, name: str) -> None:
        self._driver.delete(container, name)

    @override
    def delete_container(self, container: str) -> None:
        self._driver.delete_container(container)

    @override
    def containers(self, prefix: str) -> Iterator[str]:
        return self._driver.containers(prefix)

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        return self._driver.read(container, name, offset=offset, length=length)

    @override
    def read_newest(self, container: str, name: str, *, offset: int = 0) -> Iterator[bytes]:
        return self._driver.read_newest(container, name, offset=offset)

    @override
    def head(self, container: str, name: str) -> ObjectInfo | None:
        return self._driver.head(container, name)

    @override
    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        return self._driver.list(container, prefix)

    @override
    def folders(self, container: str, prefix: str) -> Iterator[str]:
        return self._driver.folders(container, prefix)

    @override
    def as_of(self, moment: datetime) -> StorageDriver:
        return self._driver.as_of(moment)

    @override
    def quota(self) -> int | None:
        return self._driver.quota()

    @override
    def close(self) -> None:
        self._driver.close()

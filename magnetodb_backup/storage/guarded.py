# SPDX-License-Identifier: Apache-2.0
"""Asks before each request that changes the store whether it may still be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from typing_extensions import override

from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.forwarding import Forwarding
from magnetodb_backup.storage.retrying import Retrying


def guarded(driver: StorageDriver, check: Callable[[], None]) -> StorageDriver:
    """Return ``driver`` with ``check`` called before each request that stores or deletes.

    A request that is repeated is one of them: its first attempt may be minutes ago. An error of
    ``check`` ends the operation, also a transient one.
    """
    if isinstance(driver, Retrying):
        return driver.around(lambda inner: Guarded(inner, check), before_retry=check)
    return Guarded(driver, check)


class Guarded(Forwarding):
    """Passes requests to ``driver``; calls ``check`` before those that change something."""

    def __init__(self, driver: StorageDriver, check: Callable[[], None]) -> None:
        super().__init__(driver)
        self._check = check

    @override
    def ensure_container(self, container: str) -> None:
        self._check()
        self._driver.ensure_container(container)

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        self._check()
        self._driver.put(container, name, body, size=size, md5=md5)

    @override
    def delete(self, container: str, name: str) -> None:
        self._check()
        self._driver.delete(container, name)

    @override
    def delete_container(self, container: str) -> None:
        self._check()
        self._driver.delete_container(container)

# SPDX-License-Identifier: Apache-2.0
"""Stores in memory that count, lag and fail as they are told."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver
from magnetodb_backup.storage.memory import MemoryDriver


class Store(MemoryDriver):
    """Records requests; the hooks ``before_…`` may raise.

    ``remember()`` keeps the present state for ``as_of()``. ``unlisted`` names are not listed
    although they exist, ``ghosts`` (name: size) are although they do not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[str] = []
        self.heads: list[str] = []
        self.before_put: Callable[[str], None] = lambda name: None
        self.before_read: Callable[[str], None] = lambda name: None
        self.before_delete: Callable[[str], None] = lambda name: None
        self.after_put: Callable[[str, str], None] = lambda container, name: None
        self.unlisted: Callable[[str], bool] = lambda name: False
        self.ghosts: dict[str, int] = {}
        self.earlier: dict[datetime, MemoryDriver] = {}
        self.undeletable: dict[str, Exception] = {}  # containers

    def remember(self, moment: datetime) -> None:
        self.earlier[moment] = state = MemoryDriver()
        state._containers = {name: dict(objects) for name, objects in self._containers.items()}

    def as_of(self, moment: datetime) -> StorageDriver:
        return self.earlier[moment] if moment in self.earlier else super().as_of(moment)

    def put(self, container: str, name: str, body: Any, *, size: int, md5: str) -> None:
        self.before_put(name)
        super().put(container, name, body, size=size, md5=md5)
        self.puts.append(name)
        self.after_put(container, name)

    def head(self, container: str, name: str) -> ObjectInfo | None:
        self.heads.append(name)
        return super().head(container, name)

    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        self.before_read(name)
        return super().read(container, name, offset=offset, length=length)

    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        found = [i for i in super().list(container, prefix) if not self.unlisted(i.name)]
        ghosts = [ObjectInfo(n, s, "") for n, s in self.ghosts.items() if n.startswith(prefix)]
        yield from sorted((*found, *ghosts), key=lambda info: info.name)

    def delete(self, container: str, name: str) -> None:
        self.before_delete(name)
        super().delete(container, name)

    def delete_container(self, container: str) -> None:
        if container in self.undeletable:
            raise self.undeletable[container]
        super().delete_container(container)

    def packs_put(self) -> builtins.list[str]:
        """Return the names of packs that were put since the last call of this method."""
        names, self.puts = [n for n in self.puts if n.startswith("packs/")], []
        return names

    def change(self, container: str, name: str, change: Callable[[bytes], bytes]) -> None:
        """Replace an object's bytes behind everybody's back."""
        body = change(b"".join(self.read(container, name)))
        self._containers[container][name] = (body, "0" * 32)

# SPDX-License-Identifier: Apache-2.0
"""A store in memory that keeps every version of its objects."""

from __future__ import annotations

import threading
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from typing import Any

from typing_extensions import override

from magnetodb_backup.errors import Conflict, StorageRefused
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.memory import MemoryDriver

_START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class VersionedMemory(MemoryDriver):
    """Each change takes one second of a clock of its own, and the states before it are kept."""

    def __init__(self, start: datetime = _START) -> None:
        super().__init__()
        self._start = start
        self._changes = threading.Lock()
        self._states: list[dict[str, dict[str, tuple[bytes, str]]]] = [{}]

    def now(self) -> datetime:
        """Return the time after the latest change."""
        return self._start + timedelta(seconds=len(self._states) - 1)

    @override
    def ensure_container(self, container: str) -> None:
        super().ensure_container(container)
        self._keep()

    @override
    def put(self, container: str, name: str, body: Any, *, size: int, md5: str) -> None:
        super().put(container, name, body, size=size, md5=md5)
        self._keep()

    @override
    def delete(self, container: str, name: str) -> None:
        super().delete(container, name)
        self._keep()

    @override
    def delete_container(self, container: str) -> None:
        if any(state.get(container) for state in self._states):
            raise Conflict(f"container {container!r} has objects, or old versions of some")
        super().delete_container(container)
        self._keep()

    @override
    def as_of(self, moment: datetime) -> StorageDriver:
        number = max(0, min(int((moment - self._start).total_seconds()), len(self._states) - 1))
        return _State(self._containers, self._states[number])

    def _keep(self) -> None:
        with self._changes:
            self._states.append({name: dict(o) for name, o in self._containers.items()})


class _State(MemoryDriver):
    def __init__(self, containers: Any, objects: Any) -> None:
        super().__init__()
        self._containers = {**{name: {} for name in containers}, **deepcopy(objects)}

    @override
    def ensure_container(self, container: str) -> None:
        self._refuse()

    @override
    def put(self, container: str, name: str, body: Any, *, size: int, md5: str) -> None:
        self._refuse()

    @override
    def delete(self, container: str, name: str) -> None:
        self._refuse()

    @override
    def delete_container(self, container: str) -> None:
        self._refuse()

    def _refuse(self) -> None:
        raise StorageRefused("the store as it was can only be read")

# SPDX-License-Identifier: Apache-2.0
"""A container's listing beside its objects: it lags, and it lists objects that are lost."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from magnetodb_backup.storage.driver import ObjectInfo

_Key = tuple[str, str]  # container and name


@dataclass
class _Pending:
    """A change that the listing shows from ``due`` on; until then it has ``before``."""

    due: float
    before: ObjectInfo | None


class Listings:
    """What listings show in place of the truth. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[_Key, _Pending] = {}
        self._ghosts: dict[_Key, ObjectInfo] = {}

    def changed(
        self, container: str, name: str, before: ObjectInfo | None, due: float, now: float
    ) -> None:
        """Note that an object was stored or deleted; ``before`` is what existed until then."""
        with self._lock:
            self._ghosts.pop((container, name), None)
            pending = self._pending.get((container, name))
            if pending is not None and pending.due > now:
                pending.due = max(pending.due, due)
            elif due > now:
                self._pending[container, name] = _Pending(due, before)

    def haunt(self, container: str, info: ObjectInfo) -> None:
        """List an object for good that does not exist."""
        with self._lock:
            self._ghosts[container, info.name] = info

    def forget_ghosts(self) -> None:
        """List no object any more that does not exist."""
        with self._lock:
            self._ghosts.clear()

    def lags(self, now: float) -> bool:
        """Return whether some listing does not show a change yet."""
        with self._lock:
            return any(pending.due > now for pending in self._pending.values())

    def shown(
        self, container: str, prefix: str, true: Iterable[ObjectInfo], now: float
    ) -> Iterator[ObjectInfo]:
        """Return what the listing has of the names that start with ``prefix``, in order."""
        found = {info.name: info for info in true}
        with self._lock:
            settled = [key for key, pending in self._pending.items() if pending.due <= now]
            for key in settled:
                del self._pending[key]
            for (where, name), pending in self._pending.items():
                if where == container and name.startswith(prefix):
                    found.pop(name, None)
                    if pending.before is not None:
                        found[name] = pending.before
            for (where, name), info in self._ghosts.items():
                if where == container and name.startswith(prefix):
                    found.setdefault(name, info)
        return iter([found[name] for name in sorted(found)])

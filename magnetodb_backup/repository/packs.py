# SPDX-License-Identifier: Apache-2.0
"""Which packs the store has for certain, as far as a backup needs to know."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from magnetodb_backup.domain.manifest import Extent
from magnetodb_backup.repository.index import FileIndex
from magnetodb_backup.repository.node import NodeRepository


class StoredPacks:
    """Confirms packs once per backup: by the listing, and by HEAD where the listing lags."""

    def __init__(
        self, repository: NodeRepository, index: FileIndex, distrusted: Iterable[str]
    ) -> None:
        self._repository, self._index = repository, index
        self._listed = repository.packs()
        self._verdicts = dict.fromkeys(distrusted, False)
        self._lock = threading.Lock()
        self.missing: set[str] = set()

    def confirm(self, extents: Iterable[Extent]) -> bool:
        """Return whether every pack of ``extents`` is stored with the size that it should have."""
        verdicts = [self._has(extent.pack) for extent in extents]  # all, to count the missing
        return all(verdicts)

    def has(self, sha256: str, size: int) -> bool:
        """Return whether a pack of these bytes needs no upload."""
        with self._lock:
            verdict = self._verdicts.get(sha256)
        return self._listed.get(sha256) == size if verdict is None else verdict

    def stored(self, sha256: str, size: int) -> None:
        """Note that a pack was stored just now."""
        self._index.learn_pack(sha256, size)
        with self._lock:
            self._verdicts[sha256] = True

    def _has(self, pack: str) -> bool:
        with self._lock:
            verdict = self._verdicts.get(pack)
        if verdict is None:
            expected = self._index.pack_size(pack)
            found = self._listed.get(pack)
            if found is None or found != expected:
                found = self._repository.pack_size(pack)
            verdict = found is not None and (expected is None or found == expected)
        with self._lock:
            verdict = self._verdicts.setdefault(pack, verdict)
            if not verdict:
                self.missing.add(pack)
        return verdict

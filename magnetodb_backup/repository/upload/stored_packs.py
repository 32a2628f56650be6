# SPDX-License-Identifier: Apache-2.0
"""Which packs are known to be stored, as far as a backup needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from magnetodb_backup.domain.backup.manifest import Extent
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex


class StoredPacks:
    """Confirms packs once per backup: by the listing, and by HEAD where the listing lags."""

    def __init__(
        self, repository: NodeRepository, index: FileIndex, distrusted: Iterable[str]
    ) -> None:
        self._repository, self._index = repository, index
        self._listed = repository.packs()
        self._distrusted = frozenset(distrusted)
        self._sizes = dict.fromkeys(self._distrusted, 0)  # of the checked packs; 0 is missing
        self._lock = threading.Lock()
        self.missing: set[str] = set()
        self.replaced: set[str] = set()

    def confirm(self, extents: Iterable[Extent]) -> bool:
        """Return whether every pack of ``extents`` is stored with its expected size."""
        verdicts = [self._has(extent) for extent in extents]  # all, to count the missing
        return all(verdicts)

    def lost(self, raise_if_cancelled: Callable[[], None]) -> frozenset[str]:
        """Return the packs of the index that are missing or incomplete in the store."""
        for pack in self._index.packs():
            raise_if_cancelled()
            if pack not in self._sizes:
                self._sizes[pack] = self._size(pack)
        return frozenset(pack for pack, size in self._sizes.items() if not size)

    def has(self, sha256: str, size: int) -> bool:
        """Return whether this pack is stored and needs no upload."""
        with self._lock:
            found = self._sizes.get(sha256)
        return (self._listed.get(sha256) if found is None else found) == size

    def stored(self, sha256: str, size: int) -> None:
        """Record a pack that was just stored."""
        self._index.learn_pack(sha256, size)
        with self._lock:
            self._sizes[sha256] = size
            if sha256 in self._distrusted:
                self.replaced.add(sha256)

    def _has(self, extent: Extent) -> bool:
        with self._lock:
            size = self._sizes.get(extent.pack)
        if size is None:
            size = self._size(extent.pack)
        with self._lock:
            size = self._sizes.setdefault(extent.pack, size)
            found = size >= extent.offset + extent.length
            if not found:
                self.missing.add(extent.pack)
        return found

    def _size(self, pack: str) -> int:
        """Return a pack's size in the store; 0 if it is missing or its size has changed."""
        expected = self._index.pack_size(pack)
        found = self._listed.get(pack)
        if found is None or found != expected:
            found = self._repository.pack_size(pack)
        if found is None or expected not in (None, found):
            return 0
        if expected is None:
            self._index.learn_pack(pack, found)
        return found

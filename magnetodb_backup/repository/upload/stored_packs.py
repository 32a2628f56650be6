# SPDX-License-Identifier: Apache-2.0
"""Which packs are known to be stored, as far as a backup needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from magnetodb_backup.domain.backup.manifest import Extent
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex


class StoredPacks:
    """Proves packs once per backup.

    A pack that the backup needs is proved by a HEAD request of its own: a container may list an
    object for weeks that is lost. For packs that only older backups need, the listing is enough,
    and a HEAD request where the listing lacks them.
    """

    def __init__(
        self, repository: NodeRepository, index: FileIndex, distrusted: Iterable[str]
    ) -> None:
        self._repository, self._index = repository, index
        self._listed = repository.packs()
        self._distrusted = frozenset(distrusted)
        self._sizes = dict.fromkeys(self._distrusted, 0)  # of the proved packs; 0 is lost
        self._known: set[str] = set()  # packs whose loss an earlier backup has reported
        self._lock = threading.Lock()
        self.missing: set[str] = set()
        self.replaced: set[str] = set()

    def confirm(self, extents: Iterable[Extent]) -> bool:
        """Return whether every pack of ``extents`` is stored with its expected size."""
        verdicts = [self._has(extent) for extent in extents]  # all, to count the missing
        return all(verdicts)

    def prove(self, packs: Iterable[str], raise_if_cancelled: Callable[[], None]) -> bool:
        """Prove packs, many at once; return whether all that were not proved before are stored."""
        with self._lock:
            wanted = [pack for pack in dict.fromkeys(packs) if pack not in self._sizes]
        if not wanted:
            return True
        whole = True
        for pack, found in self._repository.pack_sizes(wanted, raise_if_cancelled):
            whole = self._learn(pack, found) > 0 and whole
        return whole

    def lost(self, raise_if_cancelled: Callable[[], None]) -> frozenset[str]:
        """Return the packs of the index that are missing or incomplete in the store.

        Packs that were lost are looked at again if they are listed.
        """
        sizes = self._index.pack_sizes()
        doubtful = [pack for pack, size in sizes.items() if self._listed.get(pack) != size]
        again = self._index.lost_packs() & self._listed.keys()
        self.prove((*doubtful, *sorted(again)), raise_if_cancelled)
        with self._lock:
            return frozenset(pack for pack, size in self._sizes.items() if not size)

    def unrepaired(self) -> frozenset[str]:
        """Return the lost packs that were not stored again and that are not known yet."""
        with self._lock:
            lost = {pack for pack, size in self._sizes.items() if not size}
        return frozenset(lost - self._distrusted - self._known)

    def has(self, sha256: str, size: int) -> bool:
        """Return whether this pack is stored and needs no upload."""
        with self._lock:
            found = self._sizes.get(sha256)
        if found is None and self._listed.get(sha256) == size:
            found = self._size(sha256)
        return found == size

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
        found = size >= extent.offset + extent.length
        if not found:
            with self._lock:
                self.missing.add(extent.pack)
        return found

    def _size(self, pack: str) -> int:
        return self._learn(pack, self._repository.pack_size(pack))

    def _learn(self, pack: str, found: int | None) -> int:
        """Record what HEAD found; return the pack's size, 0 if it is lost or has another size."""
        expected = self._index.pack_size(pack)
        whole = found is not None and expected in (None, 0, found)
        if whole and found and not expected:
            self._index.learn_pack(pack, found)
        with self._lock:
            if expected == 0 and not whole:
                self._known.add(pack)
            return self._sizes.setdefault(pack, found if whole and found else 0)

# SPDX-License-Identifier: Apache-2.0
"""Writes the live bytes of packs of which little is live to other packs.

The order of writes makes every crash harmless. New packs come first: nothing needs them, so at
worst a later collection removes them. Then the moves, in one object that replaces the last one at
once: from then on readers find the bytes in the new packs, and the old packs are still there. They
are removed as any pack that no backup needs: after two looks and the grace period.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

from magnetodb_backup.domain.backup.collection import ContainerUse, Repacking
from magnetodb_backup.errors import NotFound
from magnetodb_backup.repository.collect.live_extents import LiveExtents
from magnetodb_backup.repository.collect.look import Look
from magnetodb_backup.repository.collect.records import Caller
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.stored_moves import StoredMoves
from magnetodb_backup.repository.upload.file_index import FileIndex

LOG = logging.getLogger(__name__)
_REQUESTS = 4  # two copies of the moves, each stored and read back


class Repack:
    """Repacks one container. Memory is bounded by two packs. The caller keeps uploads away."""

    def __init__(
        self, repository: NodeRepository, live: LiveExtents, caller: Caller, pack_size: int
    ) -> None:
        self._repository, self._live, self._caller = repository, live, caller
        self._pack_size = pack_size
        self._pending: list[tuple[str, int, int]] = []
        self._buffer = bytearray()
        self._written: dict[str, int] = {}

    def plan(self, repacking: Repacking, use: ContainerUse) -> ContainerUse:
        """Choose packs; return ``use`` with what it costs to repack them, and what that frees."""
        self._live.prepare()
        packs, size, live = self._live.choose(repacking.percent)
        if not packs or size - live < repacking.least:
            return replace(use, repack_left_bytes=size - live)
        written = -(-live // self._pack_size)
        return replace(
            use,
            repack_packs=packs,
            repack_read_bytes=size,
            repack_written_packs=written,
            repack_written_bytes=live,
            repack_requests=packs + written + _REQUESTS,
            repack_frees_bytes=size - live,
        )

    def write(self, use: ContainerUse) -> ContainerUse:
        """Store the live bytes of the chosen packs in other packs; return what was done."""
        packs = read = unreadable = 0
        for pack, size in self._live.chosen():
            self._caller.raise_if_cancelled()
            body = self._proved(pack)
            self._caller.get_on()
            extents = self._live.within(pack)
            if body is None or any(at + length > len(body) for at, length in extents):
                self._live.leave(pack)
                unreadable += 1
                continue
            packs, read = packs + 1, read + size
            for at, length in extents:
                self._take(pack, at, memoryview(body)[at : at + length])
        self._store()
        return replace(
            use,
            repack_packs=packs,
            repack_read_bytes=read,
            repack_written_packs=len(self._written),
            repack_written_bytes=sum(self._written.values()),
            repack_requests=packs + unreadable + len(self._written) + (_REQUESTS if packs else 0),
            repack_frees_bytes=read - sum(self._written.values()),
            repack_unreadable=unreadable,
        )

    def commit(
        self,
        moves: StoredMoves,
        generation: int,
        look: Look,
        index: FileIndex | None,
        spool_directory: Path,
    ) -> None:
        """Let readers, this look and the index find the bytes in the new packs."""
        self._live.follow()
        moves.store(self._live.moves(), generation, spool_directory)
        look.move(self._written, self._live.emptied())
        if index is not None:
            for pack, size in self._written.items():
                index.learn_pack(pack, size)
            index.move(self._live.steps())

    def added(self) -> tuple[int, int]:
        """Return number and bytes of the packs that the listing did not have."""
        new = [size for pack, size in self._written.items() if not self._live.has_size(pack)]
        return len(new), sum(new)

    def _proved(self, pack: str) -> bytes | None:
        """Return a pack's bytes; None if it is missing or has other bytes than were stored."""
        try:
            body = b"".join(self._repository.read_pack(pack))
        except NotFound:
            reason = "it is missing"
        else:
            if (found := hashlib.sha256(body).hexdigest()) == pack:
                return body
            reason = f"its bytes have SHA-256 {found}"
        LOG.warning(
            "node %s: pack %s is not repacked: %s; run backup verify --read-data",
            self._repository.host_id, pack, reason,
        )  # fmt: skip
        return None

    def _take(self, pack: str, at: int, body: memoryview) -> None:
        if self._buffer and len(self._buffer) + len(body) > self._pack_size:
            self._store()
        self._buffer += body
        self._pending.append((pack, at, len(body)))

    def _store(self) -> None:
        if not self._pending:
            return
        body = bytes(self._buffer)
        pack = hashlib.sha256(body).hexdigest()
        self._repository.put_pack(pack, body, hashlib.md5(body, usedforsecurity=False).hexdigest())
        self._caller.get_on()
        self._live.moved(self._pending, pack)
        self._written[pack] = len(body)
        self._pending, self._buffer = [], bytearray()

# SPDX-License-Identifier: Apache-2.0
"""Collects one container: mark, first look, second look, sweep.

A pack is removed if a stored look, a grace period ago, found that no manifest names it, and this
look finds it again. Each step can be repeated: a collection that was interrupted anywhere is
continued by the next one. The caller keeps uploads to the container away meanwhile.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from magnetodb_backup.domain.backup.collection import ContainerUse
from magnetodb_backup.errors import CollectionRefused, Conflict, FormatProblem
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.collect.first_look import load_first_look, store_first_look
from magnetodb_backup.repository.collect.live_extents import LiveExtents
from magnetodb_backup.repository.collect.look import Look
from magnetodb_backup.repository.collect.manifests import Marking, Places
from magnetodb_backup.repository.collect.records import Caller, Terms
from magnetodb_backup.repository.collect.repack import Repack
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.stored_moves import StoredMoves
from magnetodb_backup.repository.upload.file_index import FileIndex

LOG = logging.getLogger(__name__)
_BATCH = 256


def collect_container(
    repository: NodeRepository,
    cluster: ClusterRepository,
    index: FileIndex | None,
    terms: Terms,
    *,
    spool_directory: Path,
    caller: Caller,
    clock: Callable[[], float] = time.monotonic,
) -> ContainerUse:
    """Look at a container and remove what is due.

    ``index`` is that of the worker that uploads to it, None if another worker collects it.

    :raises CollectionRefused: if it is not certain what a backup needs; nothing is removed then.
    """
    writer = repository.guarded(caller.may_delete)
    stored = cluster.moves(repository.host_id).guarded(caller.may_delete)
    try:
        newest = stored.newest()
    except FormatProblem as error:
        raise CollectionRefused(
            f"no pack of node {repository.host_id} is removed, because it is not certain where the "
            f"bytes of its backups are: {error}"
        ) from None
    with Look() as look, LiveExtents() as live, newest.moves:
        if not newest.healthy and not terms.report_only:
            # Before this look: what it finds dead must be dead for readers too.
            stored.store(newest.moves, newest.moves.generation, spool_directory)
        places = Places(newest.moves, live if terms.repacking else None)
        marking = Marking(cluster, repository.host_id, terms, index, look, caller, places)
        collection = _Collection(writer, index, terms, look, caller, marking)
        moving = _Moving(stored, newest.moves.generation, live)
        return collection.run(spool_directory, clock, moving)


@dataclass(frozen=True)
class _Moving:
    """The stored moves, their generation, and the extents that may be moved."""

    stored: StoredMoves
    generation: int
    live: LiveExtents


class _Collection:
    def __init__(
        self,
        repository: NodeRepository,
        index: FileIndex | None,
        terms: Terms,
        look: Look,
        caller: Caller,
        marking: Marking,
    ) -> None:
        self._repository, self._index, self._terms = repository, index, terms
        self._look, self._caller, self._marking = look, caller, marking
        self._until = terms.now - terms.grace

    def run(
        self, spool_directory: Path, clock: Callable[[], float], moving: _Moving
    ) -> ContainerUse:
        started = clock()
        load_first_look(self._repository, self._look)
        self._marking.run()
        use = self._list(moving.live)
        self._marking.run()  # a manifest may have been stored, or listed, since
        self._look.revive()
        use = self._repacked(use, spool_directory, moving)
        use = self._counted(use)
        if self._terms.report_only:
            return use
        # The time at the end of this look: the packs were dead until now.
        now = self._terms.now + clock() - started
        store_first_look(self._repository, self._look, now, spool_directory)
        if use.due_packs:
            self._forget()
            use = self._sweep(use)
            self._look.drop_due(self._until)
            store_first_look(self._repository, self._look, now, spool_directory)
        elif self._index is not None:
            self._forget()
        gone = tuple(self._look.gone(self._terms.damaged))
        return self._remove_container(replace(use, gone=gone))

    def _repacked(self, use: ContainerUse, spool_directory: Path, moving: _Moving) -> ContainerUse:
        """Repack if it is asked for and frees enough, or remove moves that nothing needs."""
        terms = self._terms
        repack = Repack(self._repository, moving.live, self._caller, terms.pack_size)
        if terms.repacking is not None:
            use = repack.plan(terms.repacking, use)
        if terms.report_only:
            return use
        if use.repack_packs:
            use = repack.write(use)
        if use.repack_packs:
            repack.commit(
                moving.stored, moving.generation + 1, self._look, self._index, spool_directory
            )
            packs, size = repack.added()
            return replace(use, packs=use.packs + packs, bytes=use.bytes + size)
        if moving.generation and not self._marking.any_moved:
            moving.stored.remove()
        return use

    def _list(self, live: LiveExtents) -> ContainerUse:
        """Compare the listing with the marks."""
        packs = size = live_packs = live_bytes = shared = 0
        only: dict[str, int] = {}
        for count, (pack, found) in enumerate(self._repository.listed_packs()):
            if count % _BATCH == 0:
                self._caller.raise_if_cancelled()
                self._caller.get_on()
            packs, size = packs + 1, size + found
            if self._terms.repacking is not None:
                live.add_size(pack, found)
            owner = self._look.owner(pack)
            if owner is None:
                self._look.add_dead(pack, found)
                continue
            live_packs, live_bytes = live_packs + 1, live_bytes + found
            if owner:
                only[owner] = only.get(owner, 0) + found
            else:
                shared += found
        return ContainerUse(
            packs, size, live_packs, live_bytes, shared, manifests=self._look.manifests,
            backups=only,
        )  # fmt: skip

    def _counted(self, use: ContainerUse) -> ContainerUse:
        """Count what is due and what waits, now that all manifests are known."""
        (dead, dead_bytes), (due, due_bytes) = self._look.dead(), self._look.due(self._until)
        return replace(
            use,
            live_packs=use.packs - dead,
            live_bytes=use.bytes - dead_bytes,
            waiting_packs=dead - due,
            waiting_bytes=dead_bytes - due_bytes,
            due_packs=due,
            due_bytes=due_bytes,
            manifests=self._look.manifests,
        )

    def _forget(self) -> None:
        """Let the index forget packs before they are deleted: it never names a removed one."""
        if self._index is None:
            return
        unneeded = self._look.unneeded(self._index.recorded_packs(), self._until)
        if count := self._index.forget_packs(unneeded):
            LOG.info("the index forgets %d packs that no backup needs", count)

    def _sweep(self, use: ContainerUse) -> ContainerUse:
        packs = size = 0
        for found in self._deleted(self._look.due_packs(self._until)):
            packs, size = packs + 1, size + found
        LOG.info("node %s: removed %d packs of %d bytes", self._repository.host_id, packs, size)
        return replace(use, freed_packs=packs, freed_bytes=size)

    def _deleted(self, due: Iterator[tuple[str, int]]) -> Iterator[int]:
        """Delete packs, many at once; yield the size of each."""
        with ThreadPoolExecutor(self._terms.deletes, thread_name_prefix="delete") as pool:
            while batch := list(itertools.islice(due, _BATCH)):
                self._caller.raise_if_cancelled()
                yield from pool.map(self._delete, batch)
                self._caller.get_on()

    def _delete(self, pack: tuple[str, int]) -> int:
        self._repository.delete_pack(pack[0])
        return pack[1]

    def _remove_container(self, use: ContainerUse) -> ContainerUse:
        """Remove the container of a node that has left, once nothing is in it or needs it."""
        empty = use.packs == use.freed_packs and not self._look.any_marked()
        if not self._terms.remove_container or not empty:
            return use
        try:
            self._repository.delete_container()
        except Conflict as error:
            LOG.info("the container of node %s stays for now: %s", self._repository.host_id, error)
            return use
        return replace(use, container_removed=True)

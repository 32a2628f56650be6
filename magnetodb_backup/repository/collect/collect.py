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
from dataclasses import replace
from pathlib import Path

from magnetodb_backup.domain.backup.collection import ContainerUse
from magnetodb_backup.errors import Conflict
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.collect.first_look import load_first_look, store_first_look
from magnetodb_backup.repository.collect.look import Look
from magnetodb_backup.repository.collect.manifests import Marking
from magnetodb_backup.repository.collect.records import Caller, Terms
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex

LOG = logging.getLogger(__name__)
_DELETES = 16  # requests at once
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
    with Look() as look:
        collection = _Collection(repository, cluster, index, terms, look, caller)
        return collection.run(spool_directory, clock)


class _Collection:
    def __init__(
        self,
        repository: NodeRepository,
        cluster: ClusterRepository,
        index: FileIndex | None,
        terms: Terms,
        look: Look,
        caller: Caller,
    ) -> None:
        self._repository, self._index, self._terms = repository, index, terms
        self._look, self._caller = look, caller
        self._marking = Marking(cluster, repository.host_id, terms, index, look, caller)
        self._until = terms.now - terms.grace

    def run(self, spool_directory: Path, clock: Callable[[], float]) -> ContainerUse:
        started = clock()
        load_first_look(self._repository, self._look)
        self._marking.run()
        use = self._list()
        self._marking.run()  # a manifest may have been stored, or listed, since
        self._look.revive()
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

    def _list(self) -> ContainerUse:
        """Compare the listing with the marks."""
        packs = size = live_packs = live_bytes = shared = 0
        only: dict[str, int] = {}
        for count, (pack, found) in enumerate(self._repository.listed_packs()):
            if count % _BATCH == 0:
                self._caller.raise_if_cancelled()
                self._caller.get_on()
            packs, size = packs + 1, size + found
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
        with ThreadPoolExecutor(_DELETES, thread_name_prefix="delete") as pool:
            while batch := list(itertools.islice(due, _BATCH)):
                self._caller.raise_if_cancelled()
                yield from pool.map(self._delete, batch)
                self._caller.get_on()

    def _delete(self, pack: tuple[str, int]) -> int:
        self._caller.may_delete()
        self._repository.delete_pack(pack[0])
        return pack[1]

    def _remove_container(self, use: ContainerUse) -> ContainerUse:
        """Remove the container of a node that has left, once nothing is in it or needs it."""
        empty = use.packs == use.freed_packs and not self._look.any_marked()
        if not self._terms.remove_container or not empty:
            return use
        self._caller.may_delete()
        try:
            self._repository.delete_container()
        except Conflict as error:
            LOG.info("the container of node %s stays for now: %s", self._repository.host_id, error)
            return use
        return replace(use, container_removed=True)

# SPDX-License-Identifier: Apache-2.0
"""Collects the containers of a world's nodes by their own workers, or by another one.

What may run at the same time is what the fences let: uploads and collections of one worker take
its container, and a worker that collects the container of a node that has left the ring deletes
nothing once its conductor is silent for longer than the lease, when that node may be back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from magnetodb_backup.domain.backup.collection import ContainerUse, Repacking
from magnetodb_backup.errors import ConductorSilent
from magnetodb_backup.repository.format.names import FIRST_LOOK, node_container
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.codec import encode
from magnetodb_backup.tasks.collection import Collect
from magnetodb_backup.worker.backup.containers import Containers
from magnetodb_backup.worker.collect import CollectWork
from magnetodb_backup.worker.tasks import TaskContext
from tests.property.repository_parts import Asked, Parts
from tests.property.repository_world import HOSTS, Kill, World
from tests.unit.repository.disk import CLUSTER, PACK_SIZE, PREFIX

GRACE = 100_000.0  # seconds; longer than any listing lags
LEASE = 60.0
_ACCURACY = 1.0  # seconds
_CONTAINERS = {node_container(PREFIX, CLUSTER, host): host for host in HOSTS}


class _Alone:
    """A node that sees no other member of the ring."""

    def cql(self) -> _Alone:
        return self

    def ring(self) -> tuple[()]:
        return ()


class Collector:
    """The collections of one world; it watches what they delete."""

    def __init__(self, world: World, root: Path, parts: Parts) -> None:
        self._world, self._parts = world, parts
        (root / "other").mkdir()
        self._others = Containers(root / "other")
        self._looks: dict[str, list[tuple[float, set[str]]]] = defaultdict(list)
        self._repacking: Repacking | None = None
        self._other: tuple[str, Asked, Callable[[], None]] | None = None
        world.watchers.append(self._watch)

    def collect(
        self,
        host: str,
        killed_at: Kill | None = None,
        *,
        keep_index: bool = True,
        with_catalogue: bool = True,
        repack: int | None = None,
    ) -> None:
        """Let the worker of a node collect its container; the catalogue may be lost.

        Packs of which at most ``repack`` percent are live are written again.
        """
        before = self._world.copied_indexes()
        known = with_catalogue or self._world.store.lags()
        self._repacking = None if repack is None else Repacking(repack, least=0)
        with self._world.dying(killed_at) as death:
            self._perform(host, self._world.containers[host], TaskContext(), known=known)
        self._repacking = None
        self._world.relocate()
        if death.killed and not keep_index:
            self._world.put_back_indexes(before)

    def collect_by_another(
        self,
        host: str,
        silent_from: int | None,
        stall: float,
        come_back: Callable[[], None],
        *,
        in_sweep: bool,
    ) -> None:
        """Let another worker collect the container of a node that has left the ring.

        Its conductor dies at the check with the number ``silent_from``, counted from the begin or,
        if ``in_sweep``, from the first look, and the worker stalls. After the lease the node comes
        back, which ``come_back`` does, if the collection has not ended yet.
        """
        returned = False

        def come_back_once() -> None:
            nonlocal returned
            if not returned:
                returned = True
                come_back()

        def stalls() -> None:
            self._world.store.clock.sleep(stall)
            if stall > LEASE:
                come_back_once()

        context = self._parts.context(self._world.now, silent_from, stalls)
        context.counting = not in_sweep
        self._other = (host, context, come_back_once)
        try:
            self._perform(host, self._others, context, known=True)
        except ConductorSilent:
            assert silent_from is not None
        finally:
            self._other = None

    def _perform(
        self, host: str, containers: Containers, context: TaskContext, *, known: bool
    ) -> None:
        worker = host if containers is self._world.containers[host] else _other(host)
        world = self._world
        container = node_container(PREFIX, CLUSTER, host)
        if container not in world.raw.containers(container):
            return  # the conductor finds no such container
        work = CollectWork(
            cast(Any, _Alone()),
            cast(StorageDriver, world.driver),
            containers,
            prefix=PREFIX,
            pack_size=PACK_SIZE,
            collect=self._one_by_one,
        )
        task = Collect(
            host_id=worker,
            cluster=CLUSTER,
            source=host,
            known=world.catalogue.known(host) if known else (),
            now=world.now(),
            grace=GRACE,
            lease=LEASE,
            repacking=self._repacking,
        )
        (handler,) = work.handlers()
        handler.perform(encode(task), context)

    def _one_by_one(self, *arguments: Any, **more: Any) -> ContainerUse:
        """Collect by the emulated clock; packs are deleted in their order."""
        *parts, terms = arguments
        return self._parts.collect(
            *parts, replace(terms, deletes=1), clock=self._world.store.clock.now, **more
        )

    def _watch(self, method: str, container: str, name: str) -> None:
        host = _CONTAINERS.get(container)
        if host is None:
            return
        if method == "PUT" and name == FIRST_LOOK:
            if self._other is not None:
                self._other[1].counting = True
            self._world.relocate()
            self._looks[host].append((self._world.now(), self._world.needed(host)))
        if method == "DELETE" and name.startswith("packs/"):
            self._comes_back_late(host)
            self._may_go(host, name.rpartition("/")[2])

    def _comes_back_late(self, host: str) -> None:
        """Let the node come back if the lease of the one that deletes is over."""
        if self._other is None or self._other[0] != host:
            return
        _, context, come_back = self._other
        if context.silence() > LEASE:
            come_back()

    def _may_go(self, host: str, pack: str) -> None:
        world = self._world
        assert pack not in world.needed(host), f"pack {pack} is needed, and is deleted"
        until = world.now() - GRACE + _ACCURACY
        seen = any(at <= until and pack not in live for at, live in self._looks[host])
        assert seen, f"pack {pack} is deleted before its grace period was over"


def _other(host: str) -> str:
    return next(h for h in HOSTS if h != host)

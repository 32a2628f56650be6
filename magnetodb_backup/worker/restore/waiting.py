# SPDX-License-Identifier: Apache-2.0
"""Waits for work inside Cassandra for as long as it makes progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.worker.node import CqlConnection, LocalNode
from magnetodb_backup.worker.tasks import TaskContext

_LOOK_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Bounds:
    """Bounds of a wait in seconds: without progress (``stall``), and in all (0: no bound)."""

    stall: float
    longest: float = 0.0


@dataclass(frozen=True)
class Remaining:
    """What is not ready, each with a name for messages, and how far each work on it is."""

    names: tuple[str, ...]
    progress: Mapping[str, float] = field(default_factory=dict)


class _Record:
    """The best that was seen in a wait: the fewest names, and the most progress of each work."""

    def __init__(self) -> None:
        self._fewest = math.inf
        self._most: dict[str, float] = {}

    def is_beaten_by(self, found: Remaining) -> bool:
        """Return whether anything is better than ever before, and keep it.

        Work that fails and is repeated goes back and gets as far as before: that is no progress.
        """
        better = {
            name: value
            for name, value in found.progress.items()
            if name not in self._most or value > self._most[name]
        }
        self._most |= better
        fewer = len(found.names) < self._fewest
        self._fewest = min(self._fewest, len(found.names))
        return fewer or bool(better)


def wait_for_progress(
    look: Callable[[], Remaining], bounds: Bounds, remedy: str, context: TaskContext
) -> None:
    """Wait until nothing remains, for as long as the work gets further than before.

    :raises CommandFailed: naming what is not ready, the option that bounds it, and ``remedy``.
    """
    began = moved = time.monotonic()
    record = _Record()
    while True:
        context.raise_if_cancelled()
        found, now = look(), time.monotonic()
        if not found.names:
            return
        if record.is_beaten_by(found):
            moved = now
        names = ", ".join(found.names)
        if now - moved > bounds.stall:
            raise CommandFailed(
                f"not ready: {names}, without progress for {bounds.stall:g} s ([conductor] "
                f"build_stall_timeout); {remedy}"
            )
        if bounds.longest and now - began > bounds.longest:
            raise CommandFailed(
                f"not ready: {names} after {bounds.longest:g} s ([conductor] build_timeout); "
                f"{remedy}"
            )
        time.sleep(min(_LOOK_EVERY, bounds.stall / 4))


def wait_until_built(
    node: LocalNode,
    building: Mapping[str, Callable[[CqlConnection], bool]],
    bounds: Bounds,
    command: str,
    context: TaskContext,
) -> None:
    """Wait until Cassandra has built everything; ``building`` has a test for each name.

    :raises CommandFailed: naming what is not ready, and ``command`` of nodetool, which shows more.
    """

    def look() -> Remaining:
        cql = node.cql()
        names = tuple(name for name, is_built in building.items() if not is_built(cql))
        return Remaining(names, cql.build_progress() if names else {})

    remedy = (
        f"see nodetool {command}, nodetool compactionstats and Cassandra's log (system.log). The "
        "tables are restored"
    )
    wait_for_progress(look, bounds, remedy, context)


def wait_until_sent(node: LocalNode, bounds: Bounds, context: TaskContext) -> None:
    """Wait until the replicas have applied all view updates that this node has made until now.

    Cassandra sends updates of view rows to other nodes asynchronously; the build of a view does
    not wait for them. They stay in the batch log until the replica has acknowledged them. What a
    replica does not take is sent again by a replay of the batch log, and after that as hints.

    :raises CommandFailed: naming what is still to be sent.
    """
    kept = "view updates in the batch log (system.batches)"
    _wait_for_older(node, kept, lambda: node.cql().oldest_batch(), bounds, context)
    # A replay has written its hints before it removes the batch.
    kept = "hints for other nodes (nodetool listpendinghints, statushandoff)"
    _wait_for_older(node, kept, lambda: node.cql().oldest_hint(), bounds, context)


def _wait_for_older(
    node: LocalNode,
    kept: str,
    oldest: Callable[[], float | None],
    bounds: Bounds,
    context: TaskContext,
) -> None:
    """Wait until this node keeps nothing that is older than the present moment."""
    moment = node.cql().clock()

    def look() -> Remaining:
        found = oldest()
        if found is None or found > moment:
            return Remaining(())
        return Remaining((kept,), {kept: found})

    remedy = "are all nodes up? See Cassandra's log (system.log). The tables are restored"
    wait_for_progress(look, bounds, remedy, context)

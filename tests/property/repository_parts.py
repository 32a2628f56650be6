# SPDX-License-Identifier: Apache-2.0
"""The parts of the service that a world is made of, so that a test can break one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from magnetodb_backup.domain.backup.collection import ContainerUse
from magnetodb_backup.repository.collect.collect import collect_container
from magnetodb_backup.worker.backup.containers import Containers
from magnetodb_backup.worker.tasks import TaskContext


class Asked(TaskContext):
    """A task whose conductor dies at the check with the number ``silent_from``, if at all.

    Then ``stall`` is called: the worker is stalled, and goes on. ``now`` returns seconds. Checks
    count while ``counting`` is set.
    """

    def __init__(
        self, now: Callable[[], float], silent_from: int | None, stall: Callable[[], None]
    ) -> None:
        super().__init__()
        self._clock, self._left, self._stall = now, silent_from, stall
        self._silent_since: float | None = None
        self.counting = True

    @override
    def raise_if_cancelled(self) -> None:
        if self.counting and self._left is not None and self._silent_since is None:
            if self._left == 0:
                self._silent_since = self._clock()
                self._stall()
            self._left -= 1
        super().raise_if_cancelled()

    def silence(self) -> float:
        """Return for how many seconds the conductor is dead."""
        return 0.0 if self._silent_since is None else self._clock() - self._silent_since

    @override
    def unasked_for(self) -> float:
        return self.silence()


@dataclass(frozen=True)
class Parts:
    """What makes the containers of a worker, collects one, and is the context of a collection."""

    containers: Callable[[Path], Containers] = Containers
    collect: Callable[..., ContainerUse] = collect_container
    context: Callable[..., Asked] = Asked

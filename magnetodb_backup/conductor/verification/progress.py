# SPDX-License-Identifier: Apache-2.0
"""How far a verification is, as its job's record shows it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.manifest import NodeShare

_WRITE_EVERY, _FOR_EACH_NODE = 1.0, 0.01  # seconds
_AMOUNTS = ("files_total", "files_done", "bytes_total", "bytes_done")


@dataclass(frozen=True)
class ShownNode:
    """The progress of one node backup; sizes in bytes."""

    host_id: str
    address: str
    files_total: int = 0
    files_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    done: bool = False


@dataclass(frozen=True)
class Shown:
    """The progress of a step over all node backups, and of each; sizes in bytes."""

    step: str
    nodes_total: int = 0
    nodes_done: int = 0
    files_total: int = 0
    files_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    nodes: tuple[ShownNode, ...] = ()


class ProgressRecord:
    """Writes the progress of a job, once a second at most, of many nodes less often."""

    def __init__(self, database: Database, job_id: str) -> None:
        self._database, self._job_id = database, job_id
        self._step, self._written = "", 0.0
        self._addresses: dict[str, str] = {}
        self._nodes: dict[str, Mapping[str, int]] = {}
        self._done: set[str] = set()

    def enter(self, step: str) -> None:
        """Note that a step begins."""
        self._step, self._addresses, self._nodes, self._done = step, {}, {}, set()
        self._write()

    def expect(self, shares: Sequence[NodeShare]) -> None:
        """Note the node backups of the step."""
        self._addresses = {share.host_id: share.address for share in shares}

    def node(self, host_id: str, progress: Mapping[str, int], *, done: bool = False) -> None:
        """Note how far a node backup is; ``progress`` has the names of ``Progress``."""
        if progress:
            self._nodes[host_id] = progress
        if done:
            self._done.add(host_id)
        pause = max(_WRITE_EVERY, len(self._addresses) * _FOR_EACH_NODE)
        if time.monotonic() - self._written >= pause:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        sums = {name: sum(p.get(name, 0) for p in self._nodes.values()) for name in _AMOUNTS}
        nodes = tuple(
            ShownNode(host_id, address, **self._amounts(host_id), done=host_id in self._done)
            for host_id, address in self._addresses.items()
        )
        shown = Shown(self._step, len(self._addresses), len(self._done), **sums, nodes=nodes)
        self._database.jobs.show_progress(self._job_id, asdict(shown))

    def _amounts(self, host_id: str) -> dict[str, int]:
        progress = self._nodes.get(host_id, {})
        return {name: progress.get(name, 0) for name in _AMOUNTS}

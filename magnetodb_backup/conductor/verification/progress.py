# SPDX-License-Identifier: Apache-2.0
"""How far a verification is, as its job's record shows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from magnetodb_backup.database import Database

_WRITE_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class Shown:
    """The progress of a step over all node backups; sizes in bytes."""

    step: str
    nodes_total: int = 0
    nodes_done: int = 0
    files_total: int = 0
    files_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0


class ProgressRecord:
    """Writes the progress of a job, once a second at most."""

    def __init__(self, database: Database, job_id: str) -> None:
        self._database, self._job_id = database, job_id
        self._step, self._nodes_total = "", 0
        self._written = 0.0
        self._nodes: dict[str, Mapping[str, int]] = {}
        self._done: set[str] = set()

    def enter(self, step: str) -> None:
        """Note that a step begins."""
        self._step, self._nodes_total, self._nodes, self._done = step, 0, {}, set()
        self._write()

    def expect(self, nodes: int) -> None:
        """Note the number of node backups of the step."""
        self._nodes_total = nodes

    def node(self, host_id: str, progress: Mapping[str, int], *, done: bool = False) -> None:
        """Note how far a node backup is; ``progress`` has the names of ``Progress``."""
        if progress:
            self._nodes[host_id] = progress
        if done:
            self._done.add(host_id)
        if time.monotonic() - self._written >= _WRITE_EVERY:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        amounts = ("files_total", "files_done", "bytes_total", "bytes_done")
        sums = {name: sum(p.get(name, 0) for p in self._nodes.values()) for name in amounts}
        shown = Shown(self._step, self._nodes_total, len(self._done), **sums)
        self._database.jobs.show_progress(self._job_id, asdict(shown))

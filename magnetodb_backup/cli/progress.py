# SPDX-License-Identifier: Apache-2.0
"""Shows how far the nodes are: bars on a terminal, lines elsewhere, always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from magnetodb_backup.domain.backup.records import NodeBackup
from magnetodb_backup.domain.restore.records import NodeRestore

_LINE_EVERY = 5.0


@dataclass(frozen=True)
class NodeProgress:
    """What is shown of one node's share; ``detail`` is what only backups or restores have."""

    host_id: str
    address: str
    failed: bool
    files_total: int
    files_done: int
    bytes_total: int
    bytes_done: int
    detail: str


def _of(node: NodeBackup | NodeRestore, detail: str) -> NodeProgress:
    return NodeProgress(
        node.host_id,
        node.address,
        node.phase == "failed",
        node.progress.files_total,
        node.progress.files_done,
        node.progress.bytes_total,
        node.progress.bytes_done,
        detail,
    )


def of_node_backup(node: NodeBackup) -> NodeProgress:
    """Return what is shown of a node backup."""
    return _of(node, f"{node.progress.bytes_uploaded} uploaded")


def of_node_restore(node: NodeRestore) -> NodeProgress:
    """Return what is shown of a node's part of a restore."""
    p = node.progress
    sent = f", {p.bytes_sent} sent" if p.bytes_sent else ""
    return _of(
        node, f"{p.bytes_downloaded} downloaded, {p.sstables_imported} SSTables imported{sent}"
    )


class Display(Protocol):
    """Shows progress until it is closed."""

    def show(self, id_: str, phase: str, nodes: Sequence[NodeProgress]) -> None:
        """Show the phase and the progress of the nodes now."""

    def close(self) -> None:
        """End the display; what is shown stays."""


def make_display() -> Display:
    """Return what suits standard error."""
    return _Bars() if sys.stderr.isatty() else _Lines()


class _Bars:
    """A bar per node, for a terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[phase]}"),
            console=Console(stderr=True),
        )
        self._bars: dict[str, TaskID] = {}
        self._progress.start()

    def show(self, id_: str, phase: str, nodes: Sequence[NodeProgress]) -> None:
        for node in nodes:
            if node.host_id not in self._bars:
                self._bars[node.host_id] = self._progress.add_task(
                    node.address, total=None, phase=""
                )
            self._progress.update(
                self._bars[node.host_id],
                total=node.bytes_total or None,
                completed=node.bytes_done,
                phase="failed" if node.failed else phase,
            )

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    """A line per phase, and one per node every few seconds, for logs."""

    def __init__(self) -> None:
        self._phase = ""
        self._told: dict[str, tuple[float, str]] = {}

    def show(self, id_: str, phase: str, nodes: Sequence[NodeProgress]) -> None:
        if phase != self._phase:
            self._phase = phase
            sys.stderr.write(f"{id_}: {phase}\n")
        now = time.monotonic()
        for node in nodes:
            line = (
                f"{node.address}: {node.files_done}/{node.files_total} files, "
                f"{node.bytes_done}/{node.bytes_total} bytes, {node.detail}\n"
            )
            last, told = self._told.get(node.host_id, (0.0, ""))
            if node.bytes_done + node.files_done and line != told and now - last >= _LINE_EVERY:
                self._told[node.host_id] = (now, line)
                sys.stderr.write(line)
        sys.stderr.flush()

    def close(self) -> None:
        """Nothing is open."""

# SPDX-License-Identifier: Apache-2.0
"""Shows a job's progress on standard error: a live list on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from magnetodb_backup.cli.steps import State, StepList
from magnetodb_backup.cli.units import count, duration, size
from magnetodb_backup.domain.backup.records import NodeBackup
from magnetodb_backup.domain.restore.records import NodeRestore

_LINE_EVERY = 5.0  # seconds between two lines of one node
_FEWEST_NODES = 3  # shown however small the terminal is
_ALL = "all nodes"
_STYLES = {
    State.TO_DO: "dim",
    State.RUNNING: "bold",
    State.DONE: "green",
    State.FAILED: "bold red",
    State.CANCELLED: "yellow",
}


@dataclass(frozen=True)
class NodeProgress:
    """One node's share of a job; sizes in bytes.

    ``reused`` says what need not be transferred, ``detail`` what only backups or restores have.
    """

    host_id: str
    address: str
    phase: str
    files_total: int
    files_done: int
    bytes_total: int
    bytes_done: int
    reused: str
    detail: str

    @property
    def ended(self) -> bool:
        """Whether the node's share is done, has failed or is missing."""
        return self.phase in ("done", "failed", "missing")


def _of(node: NodeBackup | NodeRestore, reused: str, detail: str) -> NodeProgress:
    return NodeProgress(
        node.host_id,
        node.address,
        node.phase,
        node.progress.files_total,
        node.progress.files_done,
        node.progress.bytes_total,
        node.progress.bytes_done,
        reused,
        detail,
    )


def of_node_backup(node: NodeBackup) -> NodeProgress:
    """Return the progress of a node backup."""
    p = node.progress
    return _of(node, f"{size(p.bytes_reused)} re-used", f"{size(p.bytes_uploaded)} uploaded")


def of_node_restore(node: NodeRestore) -> NodeProgress:
    """Return the progress of a node's part of a restore."""
    p = node.progress
    sent = f", {size(p.bytes_sent)} streamed" if p.bytes_sent else ""
    imported = f"{count(p.sstables_imported, 'SSTable')} imported"
    return _of(
        node,
        f"{size(p.bytes_resumed)} re-used",
        f"{size(p.bytes_downloaded)} downloaded, {imported}{sent}",
    )


def of_verification(progress: Mapping[str, Any]) -> list[NodeProgress]:
    """Return the progress of a verification's step by node, or over all nodes as that of one."""
    step = str(progress.get("step", ""))
    if nodes := progress.get("nodes"):
        return [
            _verified(n["host_id"], n["address"], "done" if n["done"] else step, n) for n in nodes
        ]
    if not progress.get("files_done") and not progress.get("files_total"):
        return []
    ready = ""
    if total := progress.get("nodes_total"):  # of a conductor of an older release
        ready = f"{progress.get('nodes_done', 0)} of {count(total, 'node')} done"
    return [_verified("", _ALL, step, progress, ready)]


def _verified(
    host_id: str, address: str, phase: str, amounts: Mapping[str, Any], ready: str = ""
) -> NodeProgress:
    return NodeProgress(
        host_id,
        address,
        phase,
        amounts.get("files_total", 0),
        amounts.get("files_done", 0),
        amounts.get("bytes_total", 0),
        amounts.get("bytes_done", 0),
        ready,
        "verified",
    )


class Display(Protocol):
    """Shows progress until it is closed."""

    def show(
        self, id_: str, phase: str, nodes: Sequence[NodeProgress], ended: State | None
    ) -> None:
        """Show the phase and the nodes; ``ended`` is how the job ended, None if it runs."""

    def warn(self, text: str) -> None:
        """Show a warning that stays."""

    def close(self) -> None:
        """End the display; what is shown stays."""


def make_display(title: str, steps: Mapping[str, str]) -> Display:
    """Return the display that suits standard error; ``steps`` are names and texts, in order."""
    if sys.stderr.isatty():
        console = Console(stderr=True, highlight=False)
        if not console.is_dumb_terminal:
            return LiveList(console, title, steps)
    return _Lines()


class _Nodes:
    """The nodes as tasks of rich, which computes rate and remaining time from the looks."""

    def __init__(self, console: Console | None = None) -> None:
        self.progress = Progress(
            TextColumn("  {task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12),
            DownloadColumn(table_column=Column(no_wrap=True)),
            TransferSpeedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True)),
            console=console,
            auto_refresh=False,
        )
        self._tasks: dict[str, TaskID] = {}

    def update(
        self, key: str, name: str, done: int, total: int, *, note: str = "", visible: bool = True
    ) -> None:
        """Record how far a node, or all of them, is."""
        if key not in self._tasks:
            self._tasks[key] = self.progress.add_task(name, total=None, note="")
        self.progress.update(
            self._tasks[key], total=total or None, completed=done, note=note, visible=visible
        )

    def tasks(self) -> dict[str, Task]:
        """Return the task of each node, which has its rate and remaining time."""
        by_id = {task.id: task for task in self.progress.tasks}
        return {key: by_id[id_] for key, id_ in self._tasks.items()}


class LiveList:
    """The steps with their states, and a line for each node, drawn again at each look."""

    def __init__(
        self,
        console: Console,
        title: str,
        steps: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._title, self._clock = console, title, clock
        self._steps, self._nodes, self._hidden = StepList(steps), _Nodes(console), ""
        self._live = Live(get_renderable=self.picture, console=console, auto_refresh=False)
        self._live.start()

    def show(
        self, id_: str, phase: str, nodes: Sequence[NodeProgress], ended: State | None
    ) -> None:
        """Draw what a look showed; ``ended`` is how the job ended, None if it runs."""
        self._steps.at(phase, self._clock(), ended)
        room = max(_FEWEST_NODES, self._console.height - len(self._steps.steps) - 5)
        # Those that work come first: of a thousand nodes they are worth the room.
        order = sorted(nodes, key=lambda node: (node.ended and node.phase == "done", node.address))
        for place, node in enumerate(order):
            note = node.phase if node.phase in ("failed", "missing") else node.reused
            self._nodes.update(
                node.host_id,
                node.address,
                node.bytes_done,
                node.bytes_total,
                note=note,
                visible=place < room,
            )
        if len(nodes) > 1:
            done, total = (sum(getattr(n, f"bytes_{x}") for n in nodes) for x in ("done", "total"))
            ready = f"{sum(node.phase == 'done' for node in nodes)} of {len(nodes)} done"
            self._nodes.update(_ALL, _ALL, done, total, note=ready)
        more = len(nodes) - room
        self._hidden = f"  and {count(more, 'more node')}" if more > 0 else ""
        self._live.refresh()

    def picture(self) -> RenderableType:
        """Return the steps, the nodes, and how many nodes there is no room for."""
        steps = Table.grid(padding=(0, 2))
        for step in self._steps.steps:
            took = duration(step.seconds) if step.seconds else ""
            style = _STYLES[step.state]
            steps.add_row(f"  {step.name}", step.text, step.state.value, took, style=style)
        parts: list[RenderableType] = [self._title, steps]
        if self._nodes.progress.tasks:
            parts.append(self._nodes.progress.get_renderable())
        if self._hidden:
            parts.append(self._hidden)
        return Group(*parts)

    def warn(self, text: str) -> None:
        """Write a warning above the list."""
        self._console.print(Text(f"warning: {text}", style="yellow"), soft_wrap=True)

    def close(self) -> None:
        """Leave the last state on the terminal."""
        self._live.stop()


class _Lines:
    """A line per step, and one per node every few seconds, for logs."""

    def __init__(self) -> None:
        self._phase, self._nodes = "", _Nodes()
        self._written: dict[str, tuple[float, str]] = {}

    def show(
        self, id_: str, phase: str, nodes: Sequence[NodeProgress], ended: State | None
    ) -> None:
        if phase != self._phase:
            self._phase = phase
            sys.stderr.write(f"{id_}: {phase}\n")
        now = time.monotonic()
        for node in nodes:
            self._nodes.update(node.host_id, node.address, node.bytes_done, node.bytes_total)
        tasks = self._nodes.tasks()
        for node in nodes:
            line = (
                f"{node.address}: {node.files_done} of {count(node.files_total, 'file')}, "
                f"{size(node.bytes_done)} of {size(node.bytes_total)}, {node.detail}"
                f"{', ' if node.reused else ''}{node.reused}"
            )
            last, written = self._written.get(node.host_id, (0.0, ""))
            started = node.bytes_done + node.files_done
            if started and line != written and now - last >= _LINE_EVERY:
                self._written[node.host_id] = (now, line)
                sys.stderr.write(f"{line}{_pace(tasks[node.host_id])}\n")
        sys.stderr.flush()

    def warn(self, text: str) -> None:
        sys.stderr.write(f"warning: {text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Do nothing: no line is open."""


def _pace(task: Task) -> str:
    """Return rate and remaining time, empty as long as they are unknown."""
    if not task.speed or task.finished:
        return ""
    left = task.time_remaining
    return f"; {size(task.speed)}/s" + (f", {duration(left)} left" if left is not None else "")

# SPDX-License-Identifier: Apache-2.0
"""Shows how far the reading of many manifests is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

_FEW, _MANY = 100, 1000  # manifests between two lines
_REDRAW = 0.2  # seconds


class ReadingBar:
    """A bar on a terminal for each cluster."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._drawn = clock, 0.0
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("manifests"),
            TimeRemainingColumn(compact=True),
            console=console,
            auto_refresh=False,
        )
        self._progress.start()

    def begin(self, cluster: str, manifests: int) -> None:
        """Start a bar."""
        self._task = self._progress.add_task(f"cluster {cluster}", total=manifests)
        self._progress.refresh()

    def advance(self) -> None:
        """Draw the bar again, a few times in a second."""
        self._progress.advance(self._task)
        finished = self._progress.finished
        if finished or self._clock() - self._drawn >= _REDRAW:
            self._drawn = self._clock()
            self._progress.refresh()

    def note(self, text: str) -> None:
        """Write a line above the bars."""
        self._progress.console.print(text, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()


class ReadingLines:
    """A line for every hundred manifests, or for every thousand of many."""

    def begin(self, cluster: str, manifests: int) -> None:
        """Count from the start."""
        self._total, self._read = manifests, 0
        self._every = _FEW if manifests <= 10 * _FEW else _MANY

    def advance(self) -> None:
        """Count one manifest."""
        self._read += 1
        if self._read % self._every == 0:
            self.note(f"{self._read} of {self._total} manifests read")

    def note(self, text: str) -> None:
        """Write a line."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Do nothing: no line is open."""


def make_reading() -> ReadingBar | ReadingLines:
    """Return what suits standard error."""
    if sys.stderr.isatty():
        console = Console(stderr=True, highlight=False)
        if not console.is_dumb_terminal:
            return ReadingBar(console)
    return ReadingLines()

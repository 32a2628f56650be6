# SPDX-License-Identifier: Apache-2.0
"""Bounds how long troubles last."""

from __future__ import annotations

import time
from collections.abc import Mapping


class Patience:
    """Bounds how long troubles last, in seconds; pauses between them double up to 16 polls.

    Work that ran for the whole deadline ends a time of trouble; shorter work does not, or a
    task that fails a moment after each start would be repeated for ever. Nor does a task that
    runs without progress: it may itself be waiting for the end of the trouble.
    """

    def __init__(self, deadline: float, poll_interval: float) -> None:
        self._deadline, self._poll_interval = deadline, poll_interval
        self._since: float | None = None
        self._running_since: float | None = None
        self._shown: tuple[Mapping[str, int], int | None] = ({}, None)
        self._troubles = 0

    def runs(self, progress: Mapping[str, int], activity: int | None = None) -> None:
        """Note that the work runs, and how far it is; ``activity`` grows while it gets on."""
        now = time.monotonic()
        self._running_since = self._running_since or now
        moved, self._shown = (progress, activity) != self._shown, (progress, activity)
        if moved and now - self._running_since > self._deadline:
            self._since, self._troubles = None, 0

    def pause_after_trouble(self) -> float:
        """Note a trouble; return the seconds to wait before the next attempt."""
        self._since = self._since or time.monotonic()
        self._running_since = None
        self._troubles += 1
        return self._poll_interval * min(1 << (self._troubles - 1), 16)

    @property
    def exhausted(self) -> bool:
        """Return whether the trouble has lasted longer than the deadline."""
        return self._since is not None and time.monotonic() - self._since > self._deadline

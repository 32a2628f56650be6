# SPDX-License-Identifier: Apache-2.0
"""A clock that moves only when it is told to: waiting takes no time."""

from __future__ import annotations

import threading


class SteppingClock:
    """Seconds. ``sleep`` moves it, so code that waits by it never really waits. Thread-safe."""

    def __init__(self, start: float = 0.0) -> None:
        self._lock = threading.Lock()
        self._now = start

    def now(self) -> float:
        """Return the present time in seconds."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move the time on."""
        with self._lock:
            self._now += max(0.0, seconds)

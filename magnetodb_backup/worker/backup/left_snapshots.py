# SPDX-License-Identifier: Apache-2.0
"""Removes what ended backups have left, without keeping the reports of the worker waiting."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from magnetodb_backup.errors import BackupError, Unexpected

LOG = logging.getLogger(__name__)
_PAUSE = 60.0  # seconds after a failure; each attempt starts a command of Cassandra


class LeftSnapshots:
    """Removes snapshots one by one in a thread: a command of Cassandra may take minutes.

    A worker that does not report meanwhile would be taken for dead. An attempt that failed is
    repeated after ``pause`` seconds.
    """

    def __init__(self, remove: Callable[[str], None], *, pause: float = _PAUSE) -> None:
        self._remove, self._pause = remove, pause
        self._lock = threading.Lock()
        self._waiting: dict[str, None] = {}  # tags, in their order
        self._errors: dict[str, tuple[BackupError, float]] = {}  # with the time
        self._thread: threading.Thread | None = None

    def remove(self, tag: str) -> None:
        """Let the snapshot be removed; call again until there is none.

        :raises BackupError: the error of the last attempt.
        """
        with self._lock:
            error, failed_at = self._errors.get(tag, (None, 0.0))
            if error is None or time.monotonic() - failed_at >= self._pause:
                self._waiting.setdefault(tag)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
                    self._thread.start()
        if error is not None:
            raise error

    def _run(self) -> None:
        while (tag := self._next()) is not None:
            error: BackupError | None = None
            try:
                self._remove(tag)
            except BackupError as raised:
                error = raised
            except Exception as raised:
                LOG.exception("removing snapshot %s failed", tag)
                error = Unexpected(f"removing snapshot {tag} failed: {raised}")
            with self._lock:
                del self._waiting[tag]
                self._errors.pop(tag, None)
                if error is not None:
                    self._errors[tag] = error, time.monotonic()

    def _next(self) -> str | None:
        with self._lock:
            tag = next(iter(self._waiting), None)
            if tag is None:
                self._thread = None
            return tag

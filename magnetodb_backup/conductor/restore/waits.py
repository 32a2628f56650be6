# SPDX-License-Identifier: Apache-2.0
"""Shows in a restore's record what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable

from magnetodb_backup.conductor.fanout import Call
from magnetodb_backup.database import Database
from magnetodb_backup.errors import Transient

_WRITE_EVERY = 1.0  # seconds
_SHOWN = 3  # nodes that a record names


class Waits:
    """Writes the reason of a wait into the member ``waiting_for`` of a restore's record."""

    def __init__(self, database: Database, restore_id: str) -> None:
        self._database, self._restore_id = database, restore_id
        self._troubles: dict[str, str] = {}  # by node
        self._shown = ""
        self._written_at = 0.0

    def show(self, text: str) -> None:
        """Show a text, an empty one at the end of the wait."""
        if text != self._shown:
            self._shown, self._written_at = text, time.monotonic()
            self._database.restores.update(self._restore_id, waiting_for=text)

    def of_step(self, step: str) -> Callable[[Call, Transient | None], None]:
        """Return what notes each trouble of a node in a step, and its end."""

        def note(call: Call, error: Transient | None) -> None:
            if error is None:
                self._troubles.pop(call.host, None)
            else:
                self._troubles[call.host] = str(error)
            if self._troubles and time.monotonic() - self._written_at < _WRITE_EVERY:
                return  # each attempt notes its trouble again
            self.show(self._text(step))

        return note

    def _text(self, step: str) -> str:
        if not self._troubles:
            return ""
        named = [f"node {host}: {text}" for host, text in list(self._troubles.items())[:_SHOWN]]
        if more := len(self._troubles) - len(named):
            named.append(f"{more} more nodes")
        return f"{step}: {'; '.join(named)}"

# SPDX-License-Identifier: Apache-2.0
"""Collects what Cassandra refuses; the result stays small enough for a message."""

from __future__ import annotations

from magnetodb_backup.tasks.verification import MOST_DESCRIBED, Failure, Failures

_LONGEST = 500  # characters of a message
_SHORT = 200  # of the message that each table has


class FailureList:
    """The failures so far."""

    def __init__(self) -> None:
        self._described: list[Failure] = []
        self._tables: dict[tuple[str, str], str] = {}
        self._count = 0

    def add(self, kind: str, keyspace: str, table: str, name: str, detail: str) -> None:
        """Add a failure; see ``Failure``."""
        failure = Failure(kind, keyspace, table, name, shortened(detail, _LONGEST))
        self._count += 1
        if len(self._described) < MOST_DESCRIBED:
            self._described.append(failure)
        text = f"{kind} {name}: {detail}" if name else detail
        self._tables.setdefault((keyspace, table), shortened(text, _SHORT))

    def result(self) -> Failures:
        """Return what is sent and stored of the failures."""
        tables = tuple((*table, detail) for table, detail in self._tables.items())
        return Failures(tuple(self._described), self._count, tables)


def shortened(text: str, length: int) -> str:
    """Return a text in one line of at most ``length`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 2]} …"

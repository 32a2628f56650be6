# SPDX-License-Identifier: Apache-2.0
"""What a verification has read of a node backup, so that another attempt continues there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.repository.findings import Problem


@dataclass(frozen=True)
class Checked:
    """How far the reading was, and what was found since the entry before.

    Packs are read in the order of their names, up to ``pack``; then the files that several packs
    have, in the order of their numbers, up to ``file`` (-1 for none). ``packs``, ``files`` and
    ``bytes_read`` count all that was read. ``tables`` have keyspace, table and a problem's text.
    """

    pack: str = ""
    file: int = -1
    packs: int = 0
    files: int = 0
    bytes_read: int = 0
    problems: tuple[Problem, ...] = ()
    tables: tuple[tuple[str, str, str], ...] = ()


class Journal(Protocol):
    """Keeps what was read of one node backup for one job."""

    def load(self) -> Iterable[Checked]:
        """Return the entries of earlier attempts."""

    def add(self, entry: Checked) -> None:
        """Append an entry; it is durable afterwards."""

    def clear(self) -> None:
        """Remove all entries."""


class NoJournal:
    """Keeps nothing: an interrupted verification begins again."""

    def load(self) -> Iterable[Checked]:
        """Return nothing."""
        return ()

    def add(self, entry: Checked) -> None:
        """Do nothing."""

    def clear(self) -> None:
        """Do nothing."""


class Position:
    """How far the reading is. It is written to a journal ``every`` so many seconds."""

    def __init__(self, journal: Journal, every: float) -> None:
        self._journal, self._every = journal, every
        self.pack, self.file = "", -1
        self.packs = self.files = self.bytes_read = 0
        self._problems: list[Problem] = []
        self._tables: dict[TableName, str] = {}
        self._written_at, self._unwritten = time.monotonic(), False

    def begin_at(self, entry: Checked) -> None:
        """Continue after the last entry of the journal."""
        self.pack, self.file = entry.pack, entry.file
        self.packs, self.files, self.bytes_read = entry.packs, entry.files, entry.bytes_read

    def found(self, problem: Problem, tables: Mapping[TableName, str]) -> None:
        """Add a problem to the next entry."""
        self._problems.append(problem)
        for table, text in tables.items():
            self._tables.setdefault(table, text)

    def has_read_pack(self, pack: str) -> None:
        """Move on: a pack is read to its end, or cannot be read."""
        self.pack, self.packs = pack, self.packs + 1
        self._moved()

    def has_read_file(self, number: int) -> None:
        """Move on: a file that several packs have is read to its end."""
        self.file = number
        self._moved()

    def _moved(self) -> None:
        self._unwritten = True
        if time.monotonic() - self._written_at >= self._every:
            self.write()

    def write(self) -> None:
        """Write an entry for what has been read since the last one."""
        if self._unwritten:
            tables = tuple((*table, text) for table, text in self._tables.items())
            self._journal.add(
                Checked(
                    self.pack,
                    self.file,
                    self.packs,
                    self.files,
                    self.bytes_read,
                    tuple(self._problems),
                    tables,
                )
            )
        self._problems, self._tables = [], {}
        self._written_at, self._unwritten = time.monotonic(), False

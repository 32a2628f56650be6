# SPDX-License-Identifier: Apache-2.0
"""What a verification needs of a scratch Cassandra."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from magnetodb_backup.domain.tables import TableName


class ScratchCql(Protocol):
    """A running scratch Cassandra with an empty schema. Raises ScratchFailed."""

    def execute(self, statement: str) -> str:
        """Execute DDL; return Cassandra's message if it refuses the statement, else nothing."""

    def version(self) -> str:
        """Return the version of Cassandra."""


class ScratchHome(Protocol):
    """The place of one scratch Cassandra; everything in it is removed in the end."""

    def node(
        self, raise_if_cancelled: Callable[[], None], *, lenient: bool
    ) -> AbstractContextManager[ScratchCql]:
        """Run Cassandra; its schema is on disk afterwards. Raises ScratchFailed.

        With ``lenient`` it can create every kind of table, also one that the node does not allow.
        """

    def directory(self, table: TableName) -> Path | None:
        """Return where SSTables of a table are verified; None if there is no such table."""

    def verify(
        self, table: TableName, sstables: Sequence[str], raise_if_cancelled: Callable[[], None]
    ) -> Mapping[str, str]:
        """Let Cassandra's verifier read the SSTables in the directory of a table.

        Return Cassandra's message for each of ``sstables`` that it does not accept. Raises
        ScratchFailed.
        """


class Scratch(Protocol):
    """Lends places for scratch Cassandras, one at a time."""

    @property
    def path(self) -> Path:
        """The directory of all places, that may also keep notes."""

    def home(self, raise_if_cancelled: Callable[[], None]) -> AbstractContextManager[ScratchHome]:
        """Lend a place, once no other one is lent. Raises ScratchFailed."""

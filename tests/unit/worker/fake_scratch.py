# SPDX-License-Identifier: Apache-2.0
"""A scratch Cassandra that consists of directories; it refuses what it is told to refuse."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from magnetodb_backup.cassandra.files.staging import sstable_of
from magnetodb_backup.domain.schema.cql_text import split_statements
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import BackupError


class FakeScratch:
    """Lends directories below ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: dict[str, str] = {}  # the message by a part of the statement
        self.malformed: dict[bytes, str] = {}  # the message by the bytes of a Data.db
        self.trouble: BackupError | None = None  # of the next starts
        self.on_verify: Callable[[TableName], None] = lambda table: None
        self.statements: list[str] = []
        self.lenient: list[bool] = []  # of each start
        self.verified: list[tuple[TableName, tuple[str, ...]]] = []
        self.homes = 0

    @contextmanager
    def home(self, raise_if_cancelled: Callable[[], None]) -> Iterator[FakePlace]:
        raise_if_cancelled()
        self.homes += 1
        home = self.path / f"home-{self.homes}"
        home.mkdir(parents=True)
        try:
            yield FakePlace(self, home)
        finally:
            shutil.rmtree(home)

    def left(self) -> list[str]:
        """Return the names of what is in the directory; none if it does not exist."""
        return sorted(p.name for p in self.path.iterdir()) if self.path.exists() else []


class FakePlace:
    """One place, with the tables that have been created there."""

    def __init__(self, scratch: FakeScratch, home: Path) -> None:
        self._scratch, self._home = scratch, home
        self._tables: set[TableName] = set()

    @contextmanager
    def node(self, raise_if_cancelled: Callable[[], None], *, lenient: bool) -> Iterator[FakePlace]:
        raise_if_cancelled()
        self._scratch.lenient.append(lenient)
        if self._scratch.trouble is not None:
            raise self._scratch.trouble
        yield self

    def version(self) -> str:
        return "5.0.9"

    def execute(self, statement: str) -> str:
        self._scratch.statements.append(statement)
        for part, message in self._scratch.refused.items():
            if part in statement:
                return message
        for made in split_statements(statement):
            if made.kind in ("table", "view"):
                self._tables.add(TableName(made.keyspace, made.name))
        return ""

    def directory(self, table: TableName) -> Path | None:
        if table not in self._tables:
            return None
        return self._home / "fetched" / table.keyspace / f"{table.table}-1"

    def verify(
        self, table: TableName, sstables: Sequence[str], raise_if_cancelled: Callable[[], None]
    ) -> Mapping[str, str]:
        raise_if_cancelled()
        directory = self.directory(table)
        assert directory is not None
        assert {sstable_of(p.name) for p in directory.iterdir()} == set(sstables)
        self._scratch.on_verify(table)
        self._scratch.verified.append((table, tuple(sstables)))
        bodies = {name: (directory / f"{name}-Data.db").read_bytes() for name in sstables}
        malformed = self._scratch.malformed
        return {name: malformed[body] for name, body in bodies.items() if body in malformed}

# SPDX-License-Identifier: Apache-2.0
"""One look at a container: which packs manifests name, and which no manifest names.

A temporary SQLite file holds it, so memory is bounded by SQLite's cache for any number of
packs: about 45 bytes of disk for each pack that a manifest names, and 55 for each other one.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from types import TracebackType

_CACHE = -8 * 1024  # KiB
_SHARED = 0  # the owner of a pack that several backups need
_BATCH = 1000
_TABLES = """
CREATE TABLE marks (pack BLOB PRIMARY KEY, owner INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE earlier (pack BLOB PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE dead (pack BLOB PRIMARY KEY, size INTEGER NOT NULL, since REAL) WITHOUT ROWID;
CREATE TABLE unneeded (pack BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_MARK = """
INSERT INTO marks VALUES (?, ?)
    ON CONFLICT (pack) DO UPDATE SET owner = 0 WHERE owner <> excluded.owner
"""


class Look:
    """Packs by their SHA-256 in hexadecimal. Times in seconds. Not thread-safe."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(f"PRAGMA cache_size = {_CACHE}")
        self._db.executescript(_TABLES)
        self._backups: list[str] = []
        self._owners: dict[str, int] = {}
        self._manifests = 0

    def __enter__(self) -> Look:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def mark(self, backup_id: str, packs: Iterable[str]) -> None:
        """Note that a backup needs packs; repetitions are cheap if they follow each other.

        A backup that stands for several is marked with the manifest of each.
        """
        self._manifests += 1
        if backup_id not in self._owners:
            self._backups.append(backup_id)
            self._owners[backup_id] = len(self._backups)
        owner = self._owners[backup_id]
        different = (pack for pack, _ in itertools.groupby(packs))
        rows = ((bytes.fromhex(pack), owner) for pack in different)
        self._in_batches(_MARK, rows)

    def learn_earlier(self, packs: Iterable[tuple[str, float]]) -> None:
        """Note since when an earlier look has found packs dead."""
        rows = ((bytes.fromhex(pack), since) for pack, since in packs)
        self._in_batches("INSERT OR REPLACE INTO earlier VALUES (?, ?)", rows)

    def forget_earlier(self) -> None:
        """Forget what an earlier look has found: it cannot be read to its end."""
        self._db.execute("DELETE FROM earlier")

    def owner(self, pack: str) -> str | None:
        """Return the only backup that needs a pack, nothing for several; None if none does."""
        query = "SELECT owner FROM marks WHERE pack = ?"
        row = self._db.execute(query, (bytes.fromhex(pack),)).fetchone()
        if row is None:
            return None
        return "" if row[0] == _SHARED else self._backups[row[0] - 1]

    @property
    def manifests(self) -> int:
        """The number of node manifests that were read."""
        return self._manifests

    def any_marked(self) -> bool:
        """Return whether some backup needs a pack, stored or not."""
        return self._db.execute("SELECT 1 FROM marks LIMIT 1").fetchone() is not None

    def add_dead(self, pack: str, size: int) -> None:
        """Note a listed pack of ``size`` bytes that no manifest names."""
        query = """
            INSERT OR REPLACE INTO dead VALUES
                (?1, ?2, (SELECT since FROM earlier WHERE pack = ?1))
        """
        self._db.execute(query, (bytes.fromhex(pack), size))

    def revive(self) -> None:
        """Take the packs back that a manifest names by now: it was found after the listing."""
        self._db.execute("DELETE FROM dead WHERE pack IN (SELECT pack FROM marks)")

    def move(self, packs: Iterable[str], emptied: Iterable[tuple[str, int]]) -> None:
        """Note packs that were stored again, and those, with sizes, that they replace."""
        rows = ((bytes.fromhex(pack), _SHARED) for pack in packs)
        self._in_batches("INSERT OR REPLACE INTO marks VALUES (?, ?)", rows)
        self.revive()
        for pack, size in emptied:
            self._db.execute("DELETE FROM marks WHERE pack = ?", (bytes.fromhex(pack),))
            # Not known from an earlier look: it waits for the whole grace period.
            query = "INSERT OR REPLACE INTO dead VALUES (?, ?, NULL)"
            self._db.execute(query, (bytes.fromhex(pack), size))

    def dead(self) -> tuple[int, int]:
        """Return the number of dead packs and their bytes."""
        return self._sum("SELECT COUNT(*), SUM(size) FROM dead")

    def due(self, until: float) -> tuple[int, int]:
        """Return number and bytes of those that an earlier look found dead, until then."""
        return self._sum("SELECT COUNT(*), SUM(size) FROM dead WHERE since <= ?", until)

    def due_packs(self, until: float) -> Iterator[tuple[str, int]]:
        """Yield those packs with their sizes."""
        found = self._db.execute("SELECT pack, size FROM dead WHERE since <= ?", (until,))
        return ((pack.hex(), size) for pack, size in found)

    def drop_due(self, until: float) -> None:
        """Forget those packs: they are removed."""
        self._db.execute("DELETE FROM dead WHERE since <= ?", (until,))

    def gone(self, packs: Iterable[str]) -> Iterator[str]:
        """Yield those of the packs that no manifest names and that are not stored any more."""
        query = """
            SELECT 1 FROM marks WHERE pack = ?1 UNION ALL SELECT 1 FROM dead WHERE pack = ?1
        """
        for pack in packs:
            if self._db.execute(query, (bytes.fromhex(pack),)).fetchone() is None:
                yield pack

    def first_look(self, now: float) -> Iterator[tuple[str, float]]:
        """Yield each dead pack, and since when it is known to be that: ``now`` for new ones."""
        found = self._db.execute("SELECT pack, COALESCE(since, ?) FROM dead ORDER BY pack", (now,))
        return ((pack.hex(), since) for pack, since in found)

    def unneeded(self, packs: Iterable[str], until: float) -> Iterator[str]:
        """Yield those of the packs that no manifest names, unless they are stored and not due."""
        rows = ((bytes.fromhex(pack),) for pack in packs)
        self._in_batches("INSERT OR IGNORE INTO unneeded VALUES (?)", rows)
        query = """
            SELECT pack FROM unneeded WHERE pack NOT IN (SELECT pack FROM marks)
                AND pack NOT IN (SELECT pack FROM dead WHERE since IS NULL OR since > ?)
        """
        return (pack.hex() for (pack,) in self._db.execute(query, (until,)))

    def _sum(self, query: str, *values: float) -> tuple[int, int]:
        count, size = self._db.execute(query, values).fetchone()
        return count, size or 0

    def _in_batches(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        remaining = iter(rows)
        while batch := list(itertools.islice(remaining, _BATCH)):
            self._db.execute("BEGIN")
            self._db.executemany(statement, batch)
            self._db.execute("COMMIT")

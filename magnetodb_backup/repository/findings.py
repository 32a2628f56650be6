# SPDX-License-Identifier: Apache-2.0
"""What a verification found, bounded so that it can be stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from magnetodb_backup.domain.tables import TableName

# The report is stored in the database: when thousands of packs are lost, not everything fits.
_DESCRIBED, _FURTHER = 1000, 100_000  # problems, and packs of others: about 7 MB
# Without its manifests and its schema nothing of a backup, or of a node, can be restored.
_OF_EVERY_TABLE = ("manifest", "schema")


@dataclass(frozen=True)
class Problem:
    """A finding. ``kind``: missing, size, corrupt (a pack), content (a file), manifest.

    Or schema, schema_rows (with the grants), figures (fingerprints) or the backup's own manifest,
    which belong to no node: their ``host_id`` is empty. A scratch Cassandra finds an ``sstable``
    that it cannot read and a ``statement`` that it refuses; the SSTables of an ``unread`` node were
    not looked at.
    ``files`` names the first affected files, unless there are many problems; ``file_count`` counts
    all of them.
    """

    host_id: str
    kind: str
    pack: str
    detail: str
    files: tuple[str, ...] = ()
    file_count: int = 0


@dataclass(frozen=True)
class VerificationReport:
    """The checked amounts and the problems found. Sizes in bytes.

    Of many problems only the first ones are described: ``problem_count`` counts all, and
    ``further_packs`` has the packs of others, by host ID. ``tables`` has keyspace, table and the
    first problem of each table whose rows a problem concerns; ``every_table`` is one that concerns
    all.
    """

    backup_id: str
    read_data: bool
    files: int
    bytes: int
    packs: int
    bytes_read: int
    problems: tuple[Problem, ...]
    problem_count: int = 0
    further_packs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tables: tuple[tuple[str, str, str], ...] = ()
    every_table: str = ""

    def failed_tables(self) -> dict[TableName, str]:
        """Return the first problem of each table of ``tables``."""
        return {TableName(keyspace, table): text for keyspace, table, text in self.tables}


class Findings:
    """The problems of a verification; what is stored of them is bounded."""

    def __init__(self) -> None:
        self._described: list[Problem] = []
        self._further: dict[str, list[str]] = defaultdict(list)
        self._count = self._further_count = 0
        self._tables: dict[TableName, str] = {}
        self._every_table = ""

    def add(
        self, problems: Iterable[Problem], tables: Mapping[TableName, str] | None = None
    ) -> None:
        """Add problems in the order in which they are reported, and what they mean for tables."""
        self._tables = {**(tables or {}), **self._tables}
        for problem in problems:
            self._count += 1
            if problem.kind in _OF_EVERY_TABLE:
                self._every_table = self._every_table or f"{problem.kind}: {problem.detail}"
            if len(self._described) < _DESCRIBED:
                self._described.append(problem)
            elif problem.pack and self._further_count < _FURTHER:
                self._further_count += 1
                self._further[problem.host_id].append(problem.pack)

    def report(
        self, backup_id: str, read_data: bool, totals: Mapping[str, int]
    ) -> VerificationReport:
        """Return the report; ``totals`` has the checked amounts by their names in it."""
        return VerificationReport(
            backup_id,
            read_data,
            totals["files"],
            totals["bytes"],
            totals["packs"],
            totals["bytes_read"],
            tuple(self._described),
            self._count,
            {host_id: tuple(packs) for host_id, packs in self._further.items()},
            tuple((*table, text) for table, text in self._tables.items()),
            self._every_table,
        )

# SPDX-License-Identifier: Apache-2.0
"""What a verification found, bounded so that it can be stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.domain.tables import TableName

# The report is stored in the database: when thousands of packs are lost, not everything fits.
DESCRIBED, FURTHER = 1000, 100_000  # problems, and packs of others: about 7 MB
_AMOUNTS = ("files", "bytes", "packs", "packs_read", "bytes_read")
# Without its manifests and its schema nothing of a backup, or of a node, can be restored.
_OF_EVERY_TABLE = ("manifest", "schema")


@dataclass(frozen=True)
class Problem:
    """A finding. ``kind``: missing, size, corrupt (a pack), content (a file), manifest.

    Or schema, figures (fingerprints) or the backup's own manifest, which belong to no node: their
    ``host_id`` is empty. A scratch Cassandra finds an ``sstable`` that it cannot read and a
    ``statement`` that it refuses; the SSTables of an ``unread`` node were not looked at.
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
class NodeChecked:
    """What was checked of one node backup, and what was found. Sizes in bytes.

    ``packs_read`` counts the packs whose bytes were read. As in ``VerificationReport`` the first
    problems are described, and the packs of others are named. ``manifest_read`` is false if the
    node manifest is not that of the backup: then its packs were not looked at.
    """

    host_id: str
    files: int
    bytes: int
    packs: int
    packs_read: int
    bytes_read: int
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    further_packs: tuple[str, ...] = ()
    tables: tuple[tuple[str, str, str], ...] = ()
    manifest_read: bool = True


@dataclass(frozen=True)
class VerificationReport:
    """The checked amounts and the problems found. Sizes in bytes.

    Of many problems only the first ones are described: ``problem_count`` counts all, and
    ``further_packs`` has the packs of others, by host ID. ``tables`` has keyspace, table and the
    first problem of each table whose rows a problem concerns; ``every_table`` is one that concerns
    all. ``read_data`` is true if every byte was to be read; with a ``sample`` only its packs were.
    ``unread`` are the host IDs of node backups whose manifests cannot be used.
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
    packs_read: int = 0
    sample: Sample | None = None
    unread: tuple[str, ...] = ()

    def failed_tables(self) -> dict[TableName, str]:
        """Return the first problem of each table of ``tables``."""
        return {TableName(keyspace, table): text for keyspace, table, text in self.tables}


class Findings:
    """The problems of a verification; what is stored of them is bounded.

    ``described`` and ``further`` are the greatest numbers of problems and of packs of others.
    """

    def __init__(self, described: int = DESCRIBED, further: int = FURTHER) -> None:
        self._most_described, self._most_further = described, further
        self._described: list[Problem] = []
        self._further: dict[str, list[str]] = defaultdict(list)
        self._further_count = 0
        self.count = 0
        self._tables: dict[TableName, str] = {}
        self._every_table = ""
        self._unread: list[str] = []
        self._totals: dict[str, int] = dict.fromkeys(_AMOUNTS, 0)

    def add(
        self, problems: Iterable[Problem], tables: Mapping[TableName, str] | None = None
    ) -> None:
        """Add problems in the order in which they are reported, and what they mean for tables."""
        for table, text in (tables or {}).items():
            self._tables.setdefault(table, text)
        for problem in problems:
            self.count += 1
            if problem.kind in _OF_EVERY_TABLE:
                self._every_table = self._every_table or f"{problem.kind}: {problem.detail}"
            if len(self._described) < self._most_described:
                self._described.append(problem)
            elif problem.pack:
                self._add_further(problem.host_id, problem.pack)

    def add_node(self, node: NodeChecked) -> None:
        """Add what was found in a node backup."""
        self.add(node.problems, {TableName(k, t): text for k, t, text in node.tables})
        self.count += node.problem_count - len(node.problems)
        for pack in node.further_packs:
            self._add_further(node.host_id, pack)
        if not node.manifest_read:
            self._unread.append(node.host_id)
        for name in _AMOUNTS:
            self._totals[name] += getattr(node, name)

    def _add_further(self, host_id: str, pack: str) -> None:
        if self._further_count < self._most_further:
            self._further_count += 1
            self._further[host_id].append(pack)

    def of_node(
        self, host_id: str, amounts: Mapping[str, int], *, manifest_read: bool
    ) -> NodeChecked:
        """Return what was found in the only node backup; ``amounts`` by their names in it."""
        return NodeChecked(
            host_id,
            **amounts,
            problems=tuple(self._described),
            problem_count=self.count,
            further_packs=tuple(self._further[host_id]),
            tables=self._failed_tables(),
            manifest_read=manifest_read,
        )

    def report(
        self, backup_id: str, *, read_data: bool, sample: Sample | None = None
    ) -> VerificationReport:
        """Return the report; with a sample not every byte was read."""
        return VerificationReport(
            backup_id,
            read_data and sample is None,
            **self._totals,
            problems=tuple(self._described),
            problem_count=self.count,
            further_packs={host_id: tuple(packs) for host_id, packs in self._further.items()},
            tables=self._failed_tables(),
            every_table=self._every_table,
            sample=sample,
            unread=tuple(self._unread),
        )

    def _failed_tables(self) -> tuple[tuple[str, str, str], ...]:
        return tuple((*table, text) for table, text in self._tables.items())

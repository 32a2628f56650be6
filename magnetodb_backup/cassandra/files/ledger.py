# SPDX-License-Identifier: Apache-2.0
"""What a restore has staged on a node, and what of it was delivered; both survive the worker.

``expected.json`` in the staging root has the SSTables of the download with their numbers of files;
``delivered.jsonl`` those that were handed over, noted before their files may leave.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.cassandra.files.staging import Staging
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import StagedFilesLost

_SHOWN = 5  # SSTables that an error names
# The files of each SSTable (nb-1-big) by node backup and table.
Staged = Mapping[tuple[str, TableName], Mapping[str, int]]


class Ledger:
    """Compares expected, delivered and staged SSTables of one restore on this node."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._expected_path = staging.note("expected.json")
        self._delivered_path = staging.note("delivered.jsonl")

    def expect(self, staged: Staged) -> None:
        """Note what the download has staged; durable afterwards."""
        rows = [[s, t.keyspace, t.table, dict(found)] for (s, t), found in sorted(staged.items())]
        disk.write_file(self._expected_path, json.dumps(rows).encode())

    def expected(self) -> Staged | None:
        """Return what the download has noted, None if there is no note."""
        try:
            rows = json.loads(self._expected_path.read_bytes())
        except FileNotFoundError:
            return None
        return {(source, TableName(k, t)): found for source, k, t, found in rows}

    def hand_over(self, source: str, table: TableName, sstables: Collection[str]) -> None:
        """Note SSTables whose files may leave the staging directory from now on."""
        row = [source, table.keyspace, table.table, sorted(sstables)]
        # A new line first, so that this line is not appended to a torn one.
        disk.append(self._delivered_path, b"\n" + json.dumps(row).encode() + b"\n")

    def digest(self, source: str, tables: Collection[TableName]) -> tuple[int, str]:
        """Return the number of expected SSTables, and a digest of their names and files."""
        lines = sorted(
            f"{table}/{sstable} {files}\n"
            for (of_source, table), found in (self.expected() or {}).items()
            if of_source == source and table in tables
            for sstable, files in found.items()
        )
        return len(lines), hashlib.sha256("".join(lines).encode()).hexdigest()

    def check(
        self, source: str, tables: Collection[TableName], wanted: tuple[int, str] | None
    ) -> None:
        """Compare delivered and staged SSTables with the expected ones; ``wanted`` is the digest.

        Nothing is compared without a note and without ``wanted``: an older release wrote none.

        :raises StagedFilesLost: naming what is missing.
        """
        expected = self.expected()
        if expected is None and wanted is None:
            return
        if wanted is not None and self.digest(source, tables) != wanted:
            raise StagedFilesLost(
                f"{self._expected_path} does not have the {wanted[0]} SSTables that were staged "
                f"from node backup {source}; {_REMEDY}"
            )
        missing = list(self._missing(source, tables, expected or {}))
        if missing:
            shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
            raise StagedFilesLost(
                f"{len(missing)} SSTables that were staged from node backup {source} are missing "
                f"or incomplete in {self._expected_path.parent}: {shown}; {_REMEDY}"
            )

    def _missing(
        self, source: str, tables: Collection[TableName], expected: Staged
    ) -> Iterator[str]:
        delivered, staged = self._delivered(), self._staging.component_counts(source)
        for (of_source, table), sstables in sorted(expected.items()):
            if of_source != source or table not in tables:
                continue
            gone = delivered.get((source, table), set())
            there = staged.get(table, {})
            for sstable, files in sstables.items():
                if there.get(sstable, 0) != files and sstable not in gone:
                    yield f"{table}/{sstable}"

    def _delivered(self) -> dict[tuple[str, TableName], set[str]]:
        found: dict[tuple[str, TableName], set[str]] = {}
        for line in _lines(self._delivered_path):
            try:
                source, keyspace, table, sstables = json.loads(line)
            except ValueError:
                continue  # the process died during the write; no file had left
            found.setdefault((source, TableName(keyspace, table)), set()).update(sstables)
        return found


_REMEDY = (
    "something removed files there (another service with the same nodes, or an operator). Repeat "
    "the restore"
)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []

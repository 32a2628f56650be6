# SPDX-License-Identifier: Apache-2.0
"""What has been read or parsed of a node backup, so that another attempt continues there."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import Unexpected
from magnetodb_backup.repository.check_journal import Checked
from magnetodb_backup.tasks.codec import decode, encode

LOG = logging.getLogger(__name__)
_FORGOTTEN = 7 * 86_400.0  # seconds; jobs end sooner, or have been given up


@dataclass(frozen=True)
class ParsedTable:
    """A table's SSTables that were read, and Cassandra's message for each refused one."""

    keyspace: str
    table: str
    sstables: int
    files: int
    bytes: int
    refused: Mapping[str, str]

    @property
    def name(self) -> TableName:
        """The table."""
        return TableName(self.keyspace, self.table)


class ParsedTables:
    """A file with a line for each table; of one job and one node backup."""

    def __init__(self, directory: Path, job_id: str, source: str) -> None:
        self._path = directory / f"parsed-{job_id}-{source}.jsonl"
        _forget_old(directory, "parsed")

    def load(self) -> dict[TableName, ParsedTable]:
        """Return the tables that an earlier attempt has finished."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        found = {}
        for line in lines:
            try:
                parsed = decode(ParsedTable, json.loads(line))
            except (ValueError, Unexpected):
                LOG.info("%s ends with an incomplete line", self._path)
                break
            found[parsed.name] = parsed
        return found

    def add(self, parsed: ParsedTable) -> None:
        """Record a finished table."""
        disk.append(self._path, json.dumps(encode(parsed)).encode() + b"\n")


class ReadJournal:
    """A file with a line for each entry; of one job and one node backup.

    Its first line is ``of``, what is read: entries on anything else are not used.
    """

    def __init__(self, directory: Path, job_id: str, source: str, of: str) -> None:
        disk.make_directories(directory, 0o700)
        self._path = directory / f"read-{job_id}-{source}.jsonl"
        self._first = json.dumps({"of": of}).encode() + b"\n"
        _forget_old(directory, "read")

    def load(self) -> Iterator[Checked]:
        """Yield the entries; what a crash left incomplete at the end is cut off."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            if file.readline() != self._first:
                self.clear()
                return
            end = file.tell()
            for line in file:
                try:
                    entry = decode(Checked, json.loads(line))
                except (ValueError, Unexpected):
                    LOG.info("%s ends with an incomplete line", self._path)
                    os.truncate(self._path, end)
                    return
                end += len(line)
                yield entry

    def add(self, entry: Checked) -> None:
        """Append an entry."""
        line = json.dumps(encode(entry)).encode() + b"\n"
        disk.append(self._path, line if self._path.exists() else self._first + line)

    def clear(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


def _forget_old(directory: Path, kind: str) -> None:
    for path in directory.glob(f"{kind}-*.jsonl"):
        if path.stat().st_mtime < time.time() - _FORGOTTEN:
            path.unlink(missing_ok=True)

# SPDX-License-Identifier: Apache-2.0
"""Which tables of a node backup have been parsed, so that another attempt continues there."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import Unexpected
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
        _forget_old(directory)

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


def _forget_old(directory: Path) -> None:
    for path in directory.glob("parsed-*.jsonl"):
        if path.stat().st_mtime < time.time() - _FORGOTTEN:
            path.unlink(missing_ok=True)

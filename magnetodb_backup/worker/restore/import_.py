# SPDX-License-Identifier: Apache-2.0
"""The task of a restore that lets Cassandra take over the files that are staged on its node."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magnetodb_backup import disk
from magnetodb_backup.cassandra.files.staging import (
    Staging,
    is_one_directory_each,
    one_directory_each,
)
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import SSTableRefused
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import Handler, TaskContext

LOG = logging.getLogger(__name__)


class ImportWork:
    """Imports SSTables; one that is malformed does not stop the others."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node

    def handlers(self) -> Mapping[TaskKind, Handler]:
        """Return what does each kind of task."""
        return {TaskKind.RESTORE_IMPORT: self._import}

    def _import(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Let Cassandra take over what is staged, table by table.

        Imported files leave the staging directory, so a repeated task goes on with the rest.
        """
        staging = Staging(self._node.known().data_directories, str(arguments["restore_id"]))
        refused: dict[str, list[str]] = noted(staging)
        tables = [
            (table, directories)
            for source in sources_of(arguments)
            for table, directories in sorted(staging.tables(source).items())
        ]
        left = sum(_sstables(directories) for _, directories in tables)
        total = _staged_at_first(staging, left)
        for table, directories in tables:
            context.check()
            staged = _sstables(directories)
            for reason in self._import_table(table, directories):
                known = refused.setdefault(str(table), [])
                if reason not in known:  # by an attempt that died
                    known.append(reason)
                    note(staging, refused)
            left -= staged - _sstables(directories)
            context.report(RestoreProgress(sstables_imported=total - left))
        return {"sstables": total - left, "refused": refused}

    def _import_table(self, table: TableName, directories: list[Path]) -> list[str]:
        """Import a table's SSTables at once; where one is refused, one by one.

        What an attempt that died has begun to import one by one is imported so.
        """
        single_ones = [d for d in directories if is_one_directory_each(d)]
        if whole := [d for d in directories if d not in single_ones]:
            try:
                self._take_over(table, whole)
            except SSTableRefused as error:
                LOG.warning("%s is imported SSTable by SSTable: %s", table, error)
                single_ones = directories
        refused = []
        for directory in single_ones:
            for sstable, single in one_directory_each(directory).items():
                try:
                    self._take_over(table, [single])
                except SSTableRefused as error:
                    refused.append(f"{sstable} ({error})")
        return refused

    def _take_over(self, table: TableName, directories: Sequence[Path]) -> None:
        """Let Cassandra import the directories' SSTables.

        :raises SSTableRefused: if it refuses any, or leaves one where it is without a word.
        """
        self._node.control.import_sstables(table, [str(d) for d in directories])
        if left := _sstables(directories):
            raise SSTableRefused(
                f"Cassandra has left {left} SSTables for {table} in "
                f"{', '.join(map(str, directories))}; its log (system.log) tells why"
            )


def sources_of(arguments: Mapping[str, Any]) -> list[str]:
    """Return the node backups (by host ID) that a task works on."""
    return [str(part["source"]) for part in arguments["parts"]]


def _sstables(directories: Sequence[Path]) -> int:
    return sum(len(list(directory.rglob("*-Data.db"))) for directory in directories)


def _staged_at_first(staging: Staging, now: int) -> int:
    """Return how many SSTables were staged when the first attempt of an import began."""
    path = staging.note("sstables")
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        disk.write_file(path, str(now).encode())
        return now


def noted(staging: Staging) -> dict[str, list[str]]:
    """Return the refused SSTables that an earlier attempt noted."""
    path = staging.note("refused.json")
    try:
        found: dict[str, list[str]] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def note(staging: Staging, refused: Mapping[str, list[str]]) -> None:
    """Note the refused SSTables, by table, for an attempt to come."""
    disk.write_file(staging.note("refused.json"), json.dumps(refused).encode())

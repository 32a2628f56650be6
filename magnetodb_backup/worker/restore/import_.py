# SPDX-License-Identifier: Apache-2.0
"""The task of a restore that lets Cassandra take over the files that are staged on its node."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.cassandra.files.ledger import Ledger
from magnetodb_backup.cassandra.files.staging import (
    Staging,
    is_one_directory_each,
    one_directory_each,
    sstable_of,
)
from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import SSTableRefused
from magnetodb_backup.tasks.restore_delivery import Imported, ImportParts
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.confirm import confirm_staged
from magnetodb_backup.worker.restore.running_imports import RunningImports
from magnetodb_backup.worker.tasks import TaskContext

LOG = logging.getLogger(__name__)


# Notes SSTables of a table whose files may leave the staging directory.
HandOver = Callable[[TableName, Collection[str]], None]


class ImportWork:
    """Imports SSTables; one that is malformed does not stop the others."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(ImportParts, self._import)]

    def _import(self, task: ImportParts, context: TaskContext) -> Imported:
        """Let Cassandra take over the staged files, table by table.

        Imported files leave the staging directory, so a repeated task imports the rest, after the
        end of an import that an earlier one has left running.
        """
        parts = task.own_parts()
        staging = Staging(self._node.known().data_directories, task.restore_id)
        running = RunningImports(self._node, staging)
        running.await_end(context.raise_if_cancelled)
        confirm_staged(staging, parts, task.expected)
        ledger = Ledger(staging)
        refused: dict[str, list[str]] = noted(staging)
        tables = [
            (source, table, directories)
            for source in sources_of(parts)
            for table, directories in sorted(staging.tables(source).items())
            if table in targets_of(parts)
        ]
        left = sum(_sstables(directories) for _, _, directories in tables)
        total = _staged_at_first(staging, left)
        for source, table, directories in tables:
            context.raise_if_cancelled()
            staged = _sstables(directories)
            hand_over = partial(ledger.hand_over, source)
            with running.noted(table):
                reasons = self._import_table(table, directories, hand_over, context)
            for reason in reasons:
                known = refused.setdefault(str(table), [])
                if reason not in known:  # by an attempt that died
                    known.append(reason)
                    note(staging, refused)
            left -= staged - _sstables(directories)
            context.report(RestoreProgress(sstables_imported=total - left))
        confirm_staged(staging, parts, task.expected)
        return Imported(
            sstables=total - left, refused={t: tuple(reasons) for t, reasons in refused.items()}
        )

    def _import_table(
        self, table: TableName, directories: list[Path], hand_over: HandOver, context: TaskContext
    ) -> list[str]:
        """Import a table's SSTables at once; if one is refused, import them one by one.

        Directories that an earlier attempt has split are imported one by one at once.
        """
        single_ones = [d for d in directories if is_one_directory_each(d)]
        if whole := [d for d in directories if d not in single_ones]:
            try:
                self._take_over(table, whole, hand_over, context)
            except SSTableRefused as error:
                LOG.warning("%s is imported SSTable by SSTable: %s", table, error)
                single_ones = directories
        refused = []
        for directory in single_ones:
            for sstable, single in one_directory_each(directory).items():
                try:
                    self._take_over(table, [single], hand_over, context)
                except SSTableRefused as error:
                    refused.append(f"{sstable} ({error})")
        return refused

    def _take_over(
        self,
        table: TableName,
        directories: Sequence[Path],
        hand_over: HandOver,
        context: TaskContext,
    ) -> None:
        """Let Cassandra import the directories' SSTables.

        :raises SSTableRefused: if it refuses any, or leaves one in place without an error.
        """
        files = (path.name for d in directories for path in d.iterdir() if not path.is_dir())
        hand_over(table, {sstable_of(name) for name in files})
        names = [str(directory) for directory in directories]
        self._node.control.import_sstables(table, names, context.raise_if_cancelled)
        if left := _sstables(directories):
            raise SSTableRefused(
                f"Cassandra has left {left} SSTables for {table} in "
                f"{', '.join(map(str, directories))}; its log (system.log) has the reason"
            )


def sources_of(parts: Sequence[Part]) -> list[str]:
    """Return the node backups (by host ID) of the parts, each once."""
    return list(dict.fromkeys(part.source for part in parts))


def targets_of(parts: Sequence[Part]) -> frozenset[TableName]:
    """Return the tables that the parts are delivered to."""
    return frozenset(ref.target for part in parts for ref in part.tables)


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
    """Note the refused SSTables, by table, for a later attempt."""
    disk.write_file(staging.note("refused.json"), json.dumps(refused).encode())

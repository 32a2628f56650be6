# SPDX-License-Identifier: Apache-2.0
"""Lets Cassandra's verifier read every SSTable of a node backup, in bounded disk space."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.domain.backup.manifest import FileEntry
from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.domain.schema.trial import tables_trial
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CorruptObject, NoSpace, NotFound
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.download.download import DownloadSettings, download_node
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.sstables import SSTable, SSTableIndex
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.verification import Parsed, ParseSSTables, ParseSSTablesAsOf
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.tasks import TaskContext
from magnetodb_backup.worker.verification.failures import FailureList
from magnetodb_backup.worker.verification.interface import Scratch, ScratchHome
from magnetodb_backup.worker.verification.journal import ParsedTable, ParsedTables
from magnetodb_backup.worker.verification.schema import DATA_CENTRE, execute_trial

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParseSettings:
    """``room`` is how many bytes of SSTables are kept at a time; a larger SSTable is alone.

    ``head_room_percent`` of the file system stays free.
    """

    prefix: str
    download: DownloadSettings
    room: int
    head_room_percent: float


class ParseWork:
    """Fetches SSTables table by table, verifies and removes them."""

    def __init__(self, scratch: Scratch, storage: StorageDriver, settings: ParseSettings) -> None:
        self._scratch, self._storage, self._settings = scratch, storage, settings

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(ParseSSTables, self._parse), handles(ParseSSTablesAsOf, self._parse_as_of)]

    def _parse(self, task: ParseSSTables, context: TaskContext) -> Parsed:
        return self._parse_from(self._storage, task, context)

    def _parse_as_of(self, task: ParseSSTablesAsOf, context: TaskContext) -> Parsed:
        return self._parse_from(self._storage.as_of(task.as_of), task, context)

    def _parse_from(
        self, storage: StorageDriver, task: ParseSSTables, context: TaskContext
    ) -> Parsed:
        index = SSTableIndex()
        try:
            repository = ClusterRepository(storage, self._settings.prefix, task.cluster)
            index.add(repository.node_manifest(task.backup_id, task.source, task.manifest))
            with self._scratch.home(context.raise_if_cancelled) as home:
                directory = self._scratch.path
                run = _Run(storage, self._settings, task, context, index, home, directory)
                return run.result(ParsedTables(directory, task.job_id, task.source))
        finally:
            index.close()


class _Run:
    """One attempt; the tables of earlier ones are not read again."""

    def __init__(
        self,
        storage: StorageDriver,
        settings: ParseSettings,
        task: ParseSSTables,
        context: TaskContext,
        index: SSTableIndex,
        home: ScratchHome,
        directory: Path,
    ) -> None:
        self._settings, self._task, self._context = settings, task, context
        self._index, self._home, self._directory = index, home, directory
        self._cluster = ClusterRepository(storage, settings.prefix, task.cluster)
        self._node = NodeRepository(storage, settings.prefix, task.cluster, task.source)
        self._total, self._version = index.amount(), ""
        self._files = self._bytes = 0

    def result(self, journal: ParsedTables) -> Parsed:
        tables, done = self._index.tables(), journal.load()
        left = [table for table in tables if table not in done]
        for parsed in done.values():
            self._advance(parsed.files, parsed.bytes)
        refused = self._make_tables(left) if left else {}
        for table in left:
            self._context.raise_if_cancelled()
            done[table] = self._parse_table(table, refused.get(table, ""))
            journal.add(done[table])
        failures = FailureList()
        for table in tables:
            for sstable, detail in done[table].refused.items():
                failures.add("sstable", *table, sstable, detail)
        return Parsed(
            len(tables), self._total.sstables, self._total.bytes, failures.result(), self._version
        )

    def _make_tables(self, tables: Sequence[TableName]) -> dict[TableName, str]:
        """Create the tables; return Cassandra's message for each one that cannot be created."""
        rows = self._cluster.schema_rows(self._task.backup_id).rows
        trial, failures = tables_trial(rows, tables, DATA_CENTRE), FailureList()
        stop = self._context.raise_if_cancelled
        with self._home.node(stop, lenient=True) as cql:
            execute_trial(cql, trial, failures, stop)
            self._version = cql.version()
        return failures.result().by_table()

    def _parse_table(self, table: TableName, trouble: str) -> ParsedTable:
        amount, directory = self._index.amount(table), self._home.directory(table)
        refused: dict[str, str] = {}
        if directory is None:
            reason = trouble or "this Cassandra does not have it"
            refused[""] = f"the table cannot be created in a scratch Cassandra: {reason}"
            self._advance(amount.files, amount.bytes)
        else:
            for portion in self._index.portions(table, self._settings.room):
                refused |= self._parse_portion(table, portion, directory)
        return ParsedTable(*table, amount.sstables, amount.files, amount.bytes, refused)

    def _parse_portion(
        self, table: TableName, portion: Sequence[SSTable], directory: Path
    ) -> dict[str, str]:
        """Fetch and verify SSTables; where that fails for a lost pack, each one alone."""
        refused: dict[str, str] = {}
        try:
            self._fetch(portion, directory)
            with self._context.command_of_cassandra():
                names = [sstable.name for sstable in portion]
                refused |= self._home.verify(table, names, self._context.raise_if_cancelled)
        except (CorruptObject, NotFound) as error:
            shutil.rmtree(directory, ignore_errors=True)
            if len(portion) > 1:
                for sstable in portion:
                    refused |= self._parse_portion(table, [sstable], directory)
                return refused
            refused[portion[0].name] = f"its files cannot be fetched: {error}"
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        files = sum(len(sstable.files) for sstable in portion)
        self._advance(files, sum(sstable.size for sstable in portion))
        return refused

    def _fetch(self, portion: Sequence[SSTable], directory: Path) -> None:
        self._check_room(sum(sstable.size for sstable in portion), directory)
        journal = directory.parent / "fetched.jsonl"
        journal.unlink(missing_ok=True)  # of another portion

        def place(entry: FileEntry) -> Path:
            return directory / entry.name

        download_node(
            self._node,
            lambda: [entry for sstable in portion for entry in sstable.files],
            place,
            journal=journal,
            settings=self._settings.download,
            progress=lambda p: self._report(p.files_done, p.bytes_done),
            raise_if_cancelled=self._context.raise_if_cancelled,
        )

    def _check_room(self, size: int, directory: Path) -> None:
        disk.make_directories(directory, 0o700)
        space = disk.space(directory)
        kept = int(space.total * self._settings.head_room_percent / 100)
        if space.free - size < kept:
            raise NoSpace(
                f"{size} bytes of SSTables are to be verified in {self._directory}, which has "
                f"{space.free} bytes free, of which {kept} must stay free; set [scratch] "
                "directory to a larger file system, or [scratch] room to less"
            )

    def _advance(self, files: int, size: int) -> None:
        self._files, self._bytes = self._files + files, self._bytes + size
        self._report()

    def _report(self, files: int = 0, size: int = 0) -> None:
        """Publish the progress; ``files`` and ``size`` are of the present portion."""
        self._context.report(
            Progress(
                files_total=self._total.files,
                files_done=self._files + files,
                bytes_total=self._total.bytes,
                bytes_done=self._bytes + size,
            )
        )

# SPDX-License-Identifier: Apache-2.0
"""Which tables Cassandra may still be importing into, though the task that asked for it has ended.

An import cannot be cancelled: it continues in Cassandra when its task, or the worker, ends. Staged
files must not be removed below it, nor imported a second time beside it.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.cassandra.files.staging import Staging, staged_restores
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    AccessDenied,
    BackupError,
    CassandraUnavailable,
    CommandFailed,
    DataDirectoryProblem,
    ImportRuns,
    ImportUnknown,
    SSTableRefused,
    UnknownTable,
)
from magnetodb_backup.worker.node import LocalNode

LOG = logging.getLogger(__name__)
_NOTE = "importing.json"


class RunningImports:
    """The imports of one restore, noted in its staging directory for later attempts."""

    def __init__(self, node: LocalNode, staging: Staging) -> None:
        self._node, self._staging = node, staging

    def tables(self) -> list[TableName]:
        """Return the tables whose imports began and have not ended, as far as is known.

        An import ends with the process of Cassandra that it ran in.

        :raises DataDirectoryProblem: naming the note that cannot be read.
        """
        path = self._staging.note(_NOTE)
        try:
            found = json.loads(path.read_bytes())
            tables = [TableName(keyspace, table) for keyspace, table in found["tables"]]
            generation = found["generation"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return []
        except OSError as error:
            raise _unusable(path, error) from None
        if tables and generation is not None and self._generation() not in (None, generation):
            LOG.info("Cassandra was restarted: it does not import into %s any more", tables)
            return []
        return tables

    def _generation(self) -> int | None:
        """Return the number of Cassandra's start, None if it cannot be asked."""
        try:
            return self._node.cql().generation()
        except CassandraUnavailable:
            self._node.forget_connection()
            return None

    @contextmanager
    def noted(self, table: TableName) -> Iterator[None]:
        """Note the import of a table until its end is known: an error leaves the note."""
        before = self.tables()
        self._note([*before, table])
        yield
        self._note(before)

    def await_end(self, raise_if_cancelled: Callable[[], None]) -> list[TableName]:
        """Wait until the noted imports have ended, and return their tables.

        Cassandra imports into a table by one call at a time, so that the import of an empty
        directory returns when the earlier ones have ended. Without Cassandra there is no import.

        :raises CassandraUnavailable: if Cassandra runs and cannot be asked.
        :raises ImportUnknown: if Cassandra refuses to be asked.
        """
        tables = self.tables()
        for table in tables:
            LOG.info("waiting until Cassandra has ended its imports into %s", table)
            try:
                directory = self._staging.empty_directory(table)
                self._node.control.import_sstables(table, [str(directory)], raise_if_cancelled)
            except UnknownTable:
                LOG.info("%s was dropped: nothing is imported into it", table)
            except CassandraUnavailable:
                if self._node.control.listens():
                    raise
            except (CommandFailed, AccessDenied, SSTableRefused, OSError) as error:
                raise ImportUnknown(
                    f"cannot find out whether Cassandra still imports into {table}: {error}. "
                    "Restart Cassandra on this node, which ends its imports; or wait until its "
                    "log (system.log) shows the end of the import, and remove "
                    f"{self._staging.note(_NOTE)}"
                ) from None
        if tables:
            self._note([])
        return tables

    def _note(self, tables: list[TableName]) -> None:
        names = [[table.keyspace, table.table] for table in tables]
        note = {"generation": self._generation() if tables else None, "tables": names}
        path = self._staging.note(_NOTE)
        try:
            disk.write_file(path, json.dumps(note).encode())
        except OSError as error:
            raise _unusable(path, error) from None


def _unusable(path: Path, error: OSError) -> DataDirectoryProblem:
    return DataDirectoryProblem(
        f"the note of running imports {path} cannot be used: {error.strerror}; a restore needs a "
        "worker that may write to the data directories. Remove the note if Cassandra was restarted"
    )


def await_all(node: LocalNode, raise_if_cancelled: Callable[[], None]) -> None:
    """Wait until the imports of all restores have ended that have files on this node.

    What one of them still moves would come into a table after another restore has truncated it.
    """
    directories = node.known().data_directories
    for restore_id in sorted(staged_restores(directories)):
        RunningImports(node, Staging(directories, restore_id)).await_end(raise_if_cancelled)


class EndedRestores:
    """Removes what ended restores have left, never below a running import, without waiting."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._waiting: dict[str, threading.Thread] = {}

    def remove_staging(self, restore_id: str) -> None:
        """Remove what a restore has left on this node.

        :raises ImportRuns: while Cassandra may be importing from there.
        """
        staging = Staging(self._node.known().data_directories, restore_id)
        running = RunningImports(self._node, staging)
        waiting = self._waiting.get(restore_id)
        if tables := running.tables():
            if waiting is None or not waiting.is_alive():
                self._waiting[restore_id] = thread = threading.Thread(
                    target=_await, args=(running,), name="imports", daemon=True
                )
                thread.start()
            raise ImportRuns(
                f"the staged files of restore {restore_id} stay until Cassandra has ended its "
                f"imports into {', '.join(map(str, tables))}"
            )
        self._waiting.pop(restore_id, None)
        staging.remove()


def _await(running: RunningImports) -> None:
    try:
        running.await_end(lambda: None)
    except BackupError as error:
        LOG.warning("cannot find out whether Cassandra still imports: %s", error)

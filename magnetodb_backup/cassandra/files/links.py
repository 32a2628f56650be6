# SPDX-License-Identifier: Apache-2.0
"""The links by which a restore takes fetched files into its staging directories."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.cassandra.files.fetched import FetchedFiles
from magnetodb_backup.cassandra.files.staging import Staging, sstable_of
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import DataDirectoryProblem

# Cassandra appends to this component where it lies, so it is copied; others it replaces.
_COPIED = "-TOC.txt"
_MODE = 0o660
_AT_ONCE = 8  # a file system syncs several files in hardly more time than one


class Links:
    """The files that a restore takes from one node backup: collected first, then made."""

    def __init__(self, fetched: FetchedFiles, staging: Staging, source: str) -> None:
        self._fetched, self._staging, self._source = fetched, staging, source
        self._names: dict[tuple[TableName, TableName, int], dict[str, set[str]]] = {}

    def add(self, table: TableName, target: TableName, number: int, name: str) -> None:
        """Add a fetched file of ``table``, in the data directory of this number."""
        of_table = self._names.setdefault((table, target, number), {})
        of_table.setdefault(sstable_of(name), set()).add(name)

    def counts(self) -> Mapping[TableName, Mapping[str, int]]:
        """Return the number of files of each SSTable, by target table."""
        found: dict[TableName, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for (_, target, _), sstables in self._names.items():
            for sstable, names in sstables.items():
                found[target][sstable] += len(names)
        return found

    def make(self, go_on: Callable[[], None]) -> None:
        """Give the staging directories exactly these files; durable afterwards.

        :param go_on: called often; may raise
        :raises DataDirectoryProblem: naming a directory in which links cannot be created.
        """
        self._staging.clear(self._source)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="copy") as pool:
            for (table, target, number), sstables in self._names.items():
                origin = self._fetched.directory(table, number)
                directory = self._staging.directory(self._source, target, number)
                try:
                    self._link(origin, directory, sstables, go_on, pool)
                except OSError as error:
                    raise DataDirectoryProblem(
                        f"links to the files in {origin} cannot be created in {directory} "
                        f"({error.strerror}); run the worker as Cassandra's user"
                    ) from None

    def _link(
        self,
        origin: Path,
        directory: Path,
        sstables: Mapping[str, set[str]],
        go_on: Callable[[], None],
        pool: ThreadPoolExecutor,
    ) -> None:
        disk.make_directories(directory, 0o770, for_owner=True)
        copies = []
        for names in sstables.values():
            go_on()
            for name in names:
                if name.endswith(_COPIED):
                    copies.append(name)
                else:
                    os.link(origin / name, directory / name, follow_symlinks=False)
        for _ in pool.map(
            lambda name: disk.copy_file(origin / name, directory / name, _MODE), copies
        ):
            go_on()
        disk.sync_directory(directory)


def take_over(
    staging: Staging, fetched: FetchedFiles, source: str, targets: Mapping[TableName, TableName]
) -> None:
    """Move what a worker of an older release has fetched for this restore to the fetched files.

    The download verifies these files before it uses them.

    :param targets: the target of each table
    :raises DataDirectoryProblem: naming a directory whose files cannot be moved.
    """
    if not staging.note(f"journal-{source}.jsonl").exists():
        return
    for number, target, directory in staging.places(source):
        for table in (t for t, wanted in targets.items() if wanted == target):
            own = fetched.directory(table, number)
            try:
                disk.make_directories(own, 0o770, for_owner=True)
                for path in directory.iterdir():
                    if path.is_file() and not os.path.lexists(own / path.name):
                        path.rename(own / path.name)
            except OSError as error:
                raise DataDirectoryProblem(
                    f"the files in {directory} cannot be moved to {own} ({error.strerror})"
                ) from None

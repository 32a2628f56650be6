# SPDX-License-Identifier: Apache-2.0
"""Downloads a node backup's files into staging directories: verified and resumable."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from magnetodb_backup.domain.backup.manifest import FileEntry
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.domain.sstables import sstable_version
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import BackupError
from magnetodb_backup.repository.download.fetcher import Fetcher
from magnetodb_backup.repository.download.journal import Journal
from magnetodb_backup.repository.download.leftovers import take_leftover
from magnetodb_backup.repository.download.partial_files import (
    Leftovers,
    Room,
    make_directory,
    remove_part,
)
from magnetodb_backup.repository.download.publisher import FilePublisher, Tally
from magnetodb_backup.repository.download.ranges import WantedRanges, label_of
from magnetodb_backup.repository.format.manifests import NodeManifestReader
from magnetodb_backup.repository.node import NodeRepository

_DATA = "-Data.db"

# Returns the absolute path of a file; None for a file to leave out.
Place = Callable[[FileEntry], Path | None]
# Returns the number of a file's data directory, and whether it is there already.
Find = Callable[[FileEntry], tuple[int, bool]]


@dataclass(frozen=True)
class DownloadSettings:
    """``concurrency`` ranges at once; ranges at most ``gap`` bytes apart are read as one."""

    concurrency: int = 4
    gap: int = 256 * 1024


@dataclass(frozen=True)
class StagedTable:
    """The content of one staging directory; ``sstables`` are prefixes such as ``nb-1-big``."""

    directory: str
    keyspace: str
    table: str
    files: int
    bytes: int
    sstables: tuple[str, ...]


@dataclass(frozen=True)
class TableSummary:
    """A restore's share of a table: numbers of files and SSTables, size in bytes."""

    files: int = 0
    bytes: int = 0
    sstables: int = 0


@dataclass(frozen=True)
class NodeSummary:
    """A restore's share of a node backup.

    ``packs`` has the least size of each pack to read, ``corrupt`` the files that were corrupt when
    the backup was made, ``versions`` the SSTable versions (``nb``, ``da``), ``directories`` the
    bytes that come into each data directory, ``there`` the bytes of the files that are there.
    """

    tables: Mapping[TableName, TableSummary]
    packs: Mapping[str, int]
    corrupt: tuple[str, ...]
    versions: frozenset[str]
    directories: Mapping[int, int]
    there: int = 0


def is_restored_component(entry: FileEntry) -> bool:
    """Return whether the file is restored: neither a snapshot's own file nor part of an index.

    Cassandra rebuilds legacy and storage-attached indexes.
    """
    return (
        entry.index is None
        and entry.name not in ("manifest.json", "schema.cql")
        and "-SAI+" not in entry.name
    )


def download_node(
    repository: NodeRepository,
    manifest: Callable[[], Iterable[FileEntry]],
    place: Place,
    *,
    journal: Path,
    settings: DownloadSettings,
    progress: Callable[[RestoreProgress], None],
    raise_if_cancelled: Callable[[], None],
) -> RestoreProgress:
    """Write the files to the paths that ``place`` returns, and verify each one's SHA-256.

    Repeated with the same journal, it fetches only unfinished files. Memory is bounded.

    :raises FormatProblem: for a bad manifest, and for two files at one place.
    :raises CorruptObject: for a lost or damaged pack.
    :raises NoSpace: if files do not fit; checked before the first one is written where possible.
    :raises DataDirectoryProblem: if files cannot be written without following a symbolic link.
    """
    finished, tally, wanted = Journal(journal), Tally(progress), WantedRanges()
    publisher = FilePublisher(finished, tally)

    def get_on() -> None:
        """Show that the download gets on, while it reads what an earlier one has left."""
        raise_if_cancelled()
        tally.add()

    try:
        room, leftovers = Room(), Leftovers()
        for entry in manifest():
            get_on()
            path = place(entry)
            if path is None:
                continue
            known = finished.has(path, entry.size, entry.sha256)
            there = not known and leftovers.has(path)
            left = there and take_leftover(path, entry, get_on)
            file = wanted.add(path, entry, finished=known or left)
            tally.add(files_total=1, bytes_total=entry.size)
            if known:
                tally.add(files_done=1, bytes_done=entry.size, bytes_resumed=entry.size)
            elif left:
                publisher.add(file)
                tally.add(bytes_resumed=entry.size)
            else:
                room.need(path.parent, entry.size)
                if there:
                    remove_part(path)
        room.check()
        for directory in room.directories:
            raise_if_cancelled()
            make_directory(directory)
        fetcher = Fetcher(
            repository,
            publisher,
            tally,
            concurrency=settings.concurrency,
            raise_if_cancelled=raise_if_cancelled,
        )
        try:
            fetcher.run(wanted.empty(), wanted.reads(settings.gap))
        except BaseException:
            # Complete files need not be fetched again after an error.
            with contextlib.suppress(BackupError):
                publisher.flush()
            raise
        publisher.flush()
        raise_if_cancelled()
        tally.report()
        return tally.progress
    finally:
        publisher.close()
        wanted.close()
        finished.close()


def summarise(
    manifest: NodeManifestReader,
    tables: Collection[TableName],
    find: Find = lambda entry: (entry.data_directory, False),
) -> NodeSummary:
    """Read a node manifest and sum up a restore of ``tables``."""
    files = dict.fromkeys(tables, 0)
    sizes, sstables = dict(files), dict(files)
    packs: dict[str, int] = {}
    corrupt: list[str] = []
    versions: set[str] = set()
    directories: dict[int, int] = {}
    there = 0
    for entry in manifest:
        table = TableName(entry.keyspace, entry.table)
        if table not in files or not is_restored_component(entry):
            continue
        files[table] += 1
        sizes[table] += entry.size
        number, is_there = find(entry)
        if is_there:
            there += entry.size
        else:
            directories[number] = directories.get(number, 0) + entry.size
            _add_packs(packs, entry)
        if entry.corrupt:
            corrupt.append(label_of(entry))
        if entry.name.endswith(_DATA):
            sstables[table] += 1
            versions.add(sstable_version(entry.name))
    return NodeSummary(
        {t: TableSummary(files[t], sizes[t], sstables[t]) for t in files if files[t]},
        packs,
        tuple(corrupt),
        frozenset(versions),
        directories,
        there,
    )


def _add_packs(packs: dict[str, int], entry: FileEntry) -> None:
    for extent in entry.extents:
        packs[extent.pack] = max(packs.get(extent.pack, 0), extent.offset + extent.length)


def missing_packs(
    repository: NodeRepository, packs: Mapping[str, int], raise_if_cancelled: Callable[[], None]
) -> tuple[str, ...]:
    """Return a text for each pack that is missing or too short; each object itself is asked for."""
    problems = []
    for pack, size in repository.pack_sizes(packs, raise_if_cancelled):
        least = packs[pack]
        if size is None:
            problems.append(f"pack {pack}: missing")
        elif size < least:
            problems.append(f"pack {pack}: has {size} bytes, needs {least}")
    return tuple(problems)

# SPDX-License-Identifier: Apache-2.0
"""Where the files of a node backup are on this node, and which data directory each goes to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import UnsetType

from magnetodb_backup.cassandra.files.fetched import FetchedFiles, Origin
from magnetodb_backup.cassandra.files.staging import sstable_of
from magnetodb_backup.domain.backup.manifest import FileEntry, NodeManifestHeader
from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.placement import Spread
from magnetodb_backup.domain.tables import TableName


def fetched_of(part: Part, data_directories: Sequence[str]) -> FetchedFiles:
    """Return the files of the part's node backup that are fetched on this node."""
    origin = Origin(part.cluster, part.backup_id, part.source, part.manifest.sha256)
    return FetchedFiles(data_directories, origin.name)


def directory_of(
    header: NodeManifestHeader,
    room: Sequence[int] | UnsetType,
    fetched: FetchedFiles,
    tables: Collection[TableName],
) -> Callable[[FileEntry], int]:
    """Return the function that chooses a file's data directory; call it once for each file.

    An SSTable that was fetched before stays where it is. With ``room`` (free bytes by directory)
    files are placed without Cassandra, which then does not distribute them itself.
    """
    chosen = _chosen(header, room)
    there: Mapping[tuple[TableName, str], int] = fetched.numbers(tables)

    def number(entry: FileEntry) -> int:
        found = there.get((TableName(entry.keyspace, entry.table), sstable_of(entry.name)))
        return chosen(entry) if found is None else found

    return number


def _chosen(
    header: NodeManifestHeader, room: Sequence[int] | UnsetType
) -> Callable[[FileEntry], int]:
    if isinstance(room, UnsetType):
        return lambda entry: entry.data_directory
    spread = Spread(room, len(header.data_directories))
    return lambda entry: spread.directory(entry, sstable_of(entry.name))

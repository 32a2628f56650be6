# SPDX-License-Identifier: Apache-2.0
"""Which data directory each file of a node backup goes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import UnsetType

from magnetodb_backup.cassandra.files.staging import sstable_of
from magnetodb_backup.domain.backup.manifest import FileEntry, NodeManifestHeader
from magnetodb_backup.domain.restore.placement import Spread


def directory_of(
    header: NodeManifestHeader, room: Sequence[int] | UnsetType
) -> Callable[[FileEntry], int]:
    """Return the function that chooses a file's data directory.

    With ``room`` (free bytes by directory) files are placed without Cassandra, which then does not
    distribute them itself.
    """
    if isinstance(room, UnsetType):
        return lambda entry: entry.data_directory
    spread = Spread(room, len(header.data_directories))
    return lambda entry: spread.directory(entry, sstable_of(entry.name))

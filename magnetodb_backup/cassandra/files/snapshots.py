# SPDX-License-Identifier: Apache-2.0
"""Snapshots on disk, over all data directories.

``<data directory>/<keyspace>/<table>-<table ID>/snapshots/<tag>/`` contains the hard links; each
legacy secondary index has a directory ``.<index>`` in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from magnetodb_backup import disk
from magnetodb_backup.domain.backup.manifest import SnapshotFile
from magnetodb_backup.domain.ring import DirectorySpace
from magnetodb_backup.domain.tables import TableDescription
from magnetodb_backup.errors import DataDirectoryProblem, FileVanished

_REMEDY = "check [cassandra] data_directories and that the worker's user may read them"


def _problem(path: str, error: OSError) -> DataDirectoryProblem:
    return DataDirectoryProblem(f"{path}: {error.strerror}; {_REMEDY}")


def _entries(path: str) -> list[os.DirEntry[str]]:
    """Return a directory's entries by name; a missing directory has none."""
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda e: e.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _problem(path, error) from None


def _is_directory(path: str) -> bool:
    """Return whether the directory exists; raise if that cannot be determined."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _problem(path, error) from None
    if not stat.S_ISDIR(mode):
        raise DataDirectoryProblem(f"{path} is not a directory, but a snapshot must be one")
    return True


class SnapshotTree:
    """The snapshots below some data directories, in Cassandra's order."""

    def __init__(self, data_directories: Sequence[str]) -> None:
        self.directories = tuple(data_directories)

    def check(self) -> None:
        """Raise unless every data directory can be read and holds the system keyspace.

        :raises DataDirectoryProblem: naming the directory.
        """
        if not self.directories:
            raise DataDirectoryProblem(f"there is no data directory; {_REMEDY}")
        found = False
        for directory in self.directories:
            try:
                names = os.listdir(directory)
            except OSError as error:
                raise _problem(f"data directory {directory}", error) from None
            found = found or "system" in names
            for name in names:
                if os.path.isdir(os.path.join(directory, name)):
                    _entries(os.path.join(directory, name))
        if not found:
            raise DataDirectoryProblem(
                f"none of {', '.join(self.directories)} holds the keyspace system, so these are "
                f"not a node's data directories; {_REMEDY}"
            )

    def space(self) -> tuple[DirectorySpace, ...]:
        """Return the space of each data directory; ``free`` is available to ordinary users."""
        spaces = []
        for directory in self.directories:
            try:
                found = disk.space(directory)
            except OSError as error:
                raise _problem(f"data directory {directory}", error) from None
            spaces.append(DirectorySpace(directory, found.free, found.total))
        return tuple(spaces)

    def linked_space(self) -> Iterator[DirectorySpace]:
        """Yield the space of the keyspaces that are symbolic links to other file systems."""
        devices = set()
        for directory in self.directories:
            with contextlib.suppress(OSError):
                devices.add(os.stat(directory).st_dev)
        for directory in self.directories:
            for entry in _entries(directory):
                if not entry.is_symlink():
                    continue
                try:
                    device, found = os.stat(entry.path).st_dev, disk.space(entry.path)
                except OSError as error:
                    raise _problem(entry.path, error) from None
                if device not in devices:
                    devices.add(device)
                    yield DirectorySpace(entry.path, found.free, found.total)

    def files(self, tag: str, tables: Sequence[TableDescription]) -> Iterator[SnapshotFile]:
        """Yield the snapshot's files of each table, over all directories, by table and name.

        :raises DataDirectoryProblem: if a table has no snapshot in any directory, or an SSTable
            that the snapshot's manifest.json names is missing.
        :raises FileVanished: if a file disappears during the listing.
        """
        for table in tables:
            yield from self._table_files(tag, table)

    def count(self, tag: str, tables: Sequence[TableDescription]) -> tuple[int, int]:
        """Return the number of the snapshot's files and their bytes."""
        files = size = 0
        for entry in self.files(tag, tables):
            files += 1
            size += entry.size
        return files, size

    def tags(self, prefix: str) -> frozenset[str]:
        """Return the tags with this prefix, including those of dropped tables."""
        return frozenset(entry.name for entry in self._snapshots() if entry.name.startswith(prefix))

    def exists(self, tag: str) -> bool:
        """Return whether any table still has hard links under ``tag``."""
        return any(entry.name == tag for entry in self._snapshots())

    def remove(self, tag: str) -> dict[str, str]:
        """Remove all hard links under ``tag``; return the directories that stay, with the reason.

        Directories of keyspaces and tables may be symbolic links, the snapshot's own may not.
        """
        left = {}
        for entry in [e for e in self._snapshots() if e.name == tag]:
            if not entry.is_dir(follow_symlinks=False):
                left[entry.path] = "it is not a directory"
                continue
            try:
                shutil.rmtree(entry.path)
            except FileNotFoundError:
                pass  # Cassandra has removed it meanwhile
            except OSError as error:
                left[entry.path] = error.strerror or str(error)
        return left

    def _snapshots(self) -> Iterator[os.DirEntry[str]]:
        for directory in self.directories:
            for keyspace in _entries(directory):
                for table in _entries(keyspace.path):
                    yield from _entries(os.path.join(table.path, "snapshots"))

    def _table_files(self, tag: str, table: TableDescription) -> list[SnapshotFile]:
        found: list[SnapshotFile] = []
        any_directory = False
        for number, directory in enumerate(self.directories):
            root = os.path.join(
                directory,
                table.name.keyspace,
                f"{table.name.table}-{table.id}",
                "snapshots",
                tag,
            )
            if not _is_directory(root):
                continue
            any_directory = True
            for entry in _entries(root):
                if entry.is_dir(follow_symlinks=False):
                    found.extend(
                        _file(table, number, inner, entry.name) for inner in _entries(entry.path)
                    )
                else:
                    found.append(_file(table, number, entry, None))
        if not any_directory:
            raise DataDirectoryProblem(
                f"no snapshot {tag} of {table.name} (table ID {table.id}) in "
                f"{', '.join(self.directories)}; {_REMEDY}"
            )
        _check_complete(table, found)
        return found


def _file(
    table: TableDescription, number: int, entry: os.DirEntry[str], index: str | None
) -> SnapshotFile:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        raise FileVanished(f"{entry.path}: {error.strerror} while the backup runs") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataDirectoryProblem(
            f"{entry.path} is not a regular file; a snapshot contains only regular files"
        )
    return SnapshotFile(
        keyspace=table.name.keyspace,
        table=table.name.table,
        table_id=table.id,
        index=index,
        data_directory=number,
        name=entry.name,
        path=entry.path,
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def _check_complete(table: TableDescription, found: Sequence[SnapshotFile]) -> None:
    """Compare with Cassandra's own list: a data directory may be missing in the options."""
    names = {f.name if f.index is None else f"{f.index}/{f.name}" for f in found}
    for manifest in found:
        if manifest.name != "manifest.json" or manifest.index is not None:
            continue
        try:
            document: Any = json.loads(Path(manifest.path).read_bytes())
            listed = set(document.get("files", ()))
        except FileNotFoundError:
            raise FileVanished(f"{manifest.path} disappeared while the backup runs") from None
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise DataDirectoryProblem(f"{manifest.path} cannot be read: {error}") from None
        missing = sorted(listed - names)
        if missing:
            raise DataDirectoryProblem(
                f"the snapshot of {table.name} lists {missing[0]} ({len(missing)} in all), which "
                f"is in none of the data directories; {_REMEDY}"
            )

# SPDX-License-Identifier: Apache-2.0
"""The staging directories of a restore on a node, inside the data directories.

``<data directory>/.magnetodb-backup/<restore ID>/<source host ID>/<keyspace>/<table>/``: on the
file system of the data, so that Cassandra can rename the files into its tables. Cassandra reads
only directories of known keyspaces. The files are links to fetched ones (``fetched.py``); a worker
of an older release fetched them into these directories.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import DataDirectoryProblem

ROOT = ".magnetodb-backup"
_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# <version>-<generation>-<format>-<component>
_COMPONENT = re.compile(r"(?P<sstable>[a-z]{2}-[0-9a-z_]+-[a-z]+)-.+")


def sstable_of(name: str) -> str:
    """Return the SSTable of a component, ``nb-1-big``; the name itself if it is no component."""
    match = _COMPONENT.fullmatch(name)
    return match["sstable"] if match else name


@dataclass(frozen=True)
class StagedSSTable:
    """A staged SSTable; ``source`` is the node backup, ``size`` in bytes."""

    source: str
    directory: Path
    sstable: str  # nb-1-big
    size: int

    @property
    def name(self) -> str:
        """The SSTable's name with its node backup: nodes use the same names."""
        return f"{self.sstable} of node backup {self.source}"

    def files(self) -> list[Path]:
        """Return its components."""
        return sorted(self.directory.glob(f"{self.sstable}-*"))

    def remove(self) -> None:
        """Remove its staged files after their delivery."""
        for file in self.files():
            file.unlink()

    def put_aside(self) -> None:
        """Move its files into a directory for refused SSTables, until the clean-up."""
        aside = self.directory / "refused"
        aside.mkdir(mode=0o770, exist_ok=True)
        for file in self.files():
            file.rename(aside / file.name)


class Staging:
    """One restore's staging directories on this node."""

    def __init__(self, data_directories: Sequence[str], restore_id: str) -> None:
        if not _ID.fullmatch(restore_id):
            raise DataDirectoryProblem(f"{restore_id!r} is not the ID of a restore")
        self._roots = [Path(d) / ROOT / restore_id for d in data_directories]

    def prepare(self) -> None:
        """Create the root directories.

        :raises DataDirectoryProblem: naming the directory that cannot be created, or a symbolic
            link below it, which could lead the worker out of the data directories.
        """
        for root in self._roots:
            for path in (root.parent, root):
                refuse_link(path)
                try:
                    make_directory(path)
                    disk.sync_directory(path.parent)
                except OSError as error:
                    raise DataDirectoryProblem(
                        f"{path} cannot be created ({error.strerror}); a restore needs a worker "
                        "that may write to the data directories: run it as Cassandra's user"
                    ) from None
            for directory, names, files in os.walk(root):
                for name in (*names, *files):
                    refuse_link(Path(directory, name))

    def clear(self, source: str) -> None:
        """Remove the staged files of one node backup."""
        for root in self._roots:
            remove_tree(root / source)

    def note(self, name: str) -> Path:
        """Return the path of a file with notes of the restore."""
        return self._roots[0] / name

    def directory(self, source: str, table: TableName, data_directory: int) -> Path:
        """Return the staging directory of the files from this data directory of the source."""
        root = self._roots[data_directory % len(self._roots)]
        return root / source / table.keyspace / table.table

    def touch(self) -> None:
        """Note that the restore runs: its files are not removed for their age."""
        touch(self._roots)

    def unused_for(self) -> float:
        """Return for how many seconds nothing has noted that the restore runs."""
        return seconds_since_touch(self._roots)

    def tables(self, source: str) -> dict[TableName, list[Path]]:
        """Return the directories, in all data directories, that hold SSTables of each table.

        Includes SSTables in a directory of their own.
        """
        found: dict[TableName, list[Path]] = defaultdict(list)
        for root in self._roots:
            for directory in sorted((root / source).glob("*/*")):
                if any(directory.rglob("*-Data.db")):
                    name = TableName(directory.parent.name, directory.name)
                    found[name].append(directory)
        return dict(found)

    def component_counts(self, source: str) -> dict[TableName, dict[str, int]]:
        """Return the number of staged files of each SSTable, refused ones included, by table."""
        found: dict[TableName, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for root in self._roots:
            for directory in (root / source).glob("*/*"):
                table = TableName(directory.parent.name, directory.name)
                for name in (name for _, _, names in os.walk(directory) for name in names):
                    found[table][sstable_of(name)] += 1
        return found

    def places(self, source: str) -> Iterator[tuple[int, TableName, Path]]:
        """Yield the directories that hold any file, with the number of their data directory."""
        for number, root in enumerate(self._roots):
            for directory in sorted((root / source).glob("*/*")):
                if any(directory.iterdir()):
                    yield number, TableName(directory.parent.name, directory.name), directory

    def sstables(self, sources: Sequence[str]) -> dict[TableName, list[StagedSSTable]]:
        """Return the SSTables of each table, of all sources and in all data directories."""
        found: dict[TableName, list[StagedSSTable]] = defaultdict(list)
        for source in sources:
            for table, directories in self.tables(source).items():
                for directory in directories:
                    sizes: dict[str, int] = defaultdict(int)
                    for file in sorted(directory.iterdir()):
                        if not file.is_dir():
                            sizes[sstable_of(file.name)] += file.stat().st_size
                    found[table] += [
                        StagedSSTable(source, directory, sstable, size)
                        for sstable, size in sizes.items()
                    ]
        return dict(found)

    def gather(
        self, table: TableName, sstables: Sequence[StagedSSTable]
    ) -> tuple[Path, dict[str, StagedSSTable]]:
        """Create a directory ``…/<keyspace>/<table>`` with SSTables of several nodes and disks.

        They are links with new numbers, because the numbers of several nodes are the same. Return
        the directory, and the SSTables by their names in it.
        """
        self.forget_gathered(table)
        directory = self._gathered(table)
        directory.mkdir(mode=0o770, parents=True)
        names = {}
        for number, sstable in enumerate(sstables, start=1):
            version, _, rest = sstable.sstable.partition("-")
            form = rest.rpartition("-")[2]
            name = f"{version}-{number}-{form}"
            names[name] = sstable
            for file in sstable.files():
                component = file.name.removeprefix(f"{sstable.sstable}-")
                (directory / f"{name}-{component}").symlink_to(file)
        return directory, names

    def forget_gathered(self, table: TableName) -> None:
        """Remove the links."""
        shutil.rmtree(self._gathered(table), ignore_errors=True)

    def _gathered(self, table: TableName) -> Path:
        return self._roots[0] / "gathered" / table.keyspace / table.table

    @contextmanager
    def rehearsal(self, table: TableName) -> Iterator[list[Path]]:
        """Lend an empty directory of a table in each data directory, made as those of files are."""
        self.prepare()
        try:
            yield [_make_empty(root, "rehearsal", table) for root in self._roots]
        finally:
            for root in self._roots:
                shutil.rmtree(root / "rehearsal", ignore_errors=True)
                _remove_empty(root)

    def empty_directory(self, table: TableName) -> Path:
        """Return a directory of a table without files, made as those of files are."""
        return _make_empty(self._roots[0], "empty", table)

    def remove(self) -> None:
        """Remove the files of the restore; missing ones are no error."""
        for root in self._roots:
            refuse_link(root.parent)
            remove_tree(root)


def is_one_directory_each(directory: Path) -> bool:
    """Return whether ``one_directory_each`` has begun: SSTables in it may be incomplete."""
    return any(path.is_dir() for path in directory.iterdir())


def one_directory_each(directory: Path) -> dict[str, Path]:
    """Move every SSTable of ``…/<keyspace>/<table>`` into a directory of its own; return these.

    Their paths are ``…/<keyspace>/<table>/<SSTable>/<keyspace>/<table>``: Cassandra finds the files
    of a table only below such an end. Can be repeated. Other files are not moved.
    """
    ends = Path(directory.parent.name, directory.name)
    made: dict[str, Path] = {}
    for file in sorted(directory.iterdir()):
        if file.is_dir():
            if any((file / ends).glob("*-Data.db")):
                made[file.name] = file / ends
            continue
        sstable = sstable_of(file.name)
        if sstable == file.name:
            continue
        own = directory / sstable / ends
        if sstable not in made:
            for path in (own.parents[1], own.parent, own):
                make_directory(path)
        file.rename(own / file.name)
        made[sstable] = own
    return dict(sorted(made.items()))


def staged_restores(data_directories: Sequence[str]) -> frozenset[str]:
    """Return the IDs of the restores with files in any data directory."""
    found = set()
    for directory in data_directories:
        root = Path(directory) / ROOT
        try:
            if not root.is_symlink():
                found |= {n for n in os.listdir(root) if _ID.fullmatch(n)}
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataDirectoryProblem(f"{directory}/{ROOT}: {error.strerror}") from None
    return frozenset(found)


def touch(roots: Sequence[Path]) -> None:
    """Set the time of these directories, as far as they exist, to the present moment."""
    for root in roots:
        with suppress(OSError):
            os.utime(root)


def seconds_since_touch(roots: Sequence[Path]) -> float:
    """Return the age of the last change or touch of any of the directories; 0 if none exists."""
    times = []
    for root in roots:
        with suppress(OSError):
            times.append(root.stat().st_mtime)
    return max(time.time() - max(times), 0.0) if times else 0.0


def _remove_empty(root: Path) -> None:
    with suppress(OSError):  # a file of the restore is there
        root.rmdir()
        root.parent.rmdir()


def refuse_link(path: Path) -> None:
    """Raise DataDirectoryProblem if ``path`` is a symbolic link; it may be missing."""
    if path.is_symlink():
        raise DataDirectoryProblem(f"{path} is a symbolic link; remove it")


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it; a missing one is no error.

    :raises DataDirectoryProblem: if it is a symbolic link, or cannot be removed.
    """
    refuse_link(path)
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        raise DataDirectoryProblem(f"{path} cannot be removed; remove it by hand")


def _make_empty(root: Path, name: str, table: TableName) -> Path:
    """Make ``<root>/<name>/<keyspace>/<table>``: Cassandra imports from no other directories."""
    path = root
    for each in (name, table.keyspace, table.table):
        path /= each
        make_directory(path)
    return path


def make_directory(directory: Path) -> None:
    """Make a directory that Cassandra's user and group may change, regardless of the umask."""
    directory.mkdir(exist_ok=True)
    if os.geteuid() in (0, directory.stat().st_uid):
        directory.chmod(0o770)
    disk.give_to_owner(directory)  # Cassandra's user moves the files

# SPDX-License-Identifier: Apache-2.0
"""Exchanges the original files of a stopped node's tables for restored ones, and back.

The original files are moved to ``<directory>/.magnetodb-backup/aside-<restore ID>/`` on the same
file system, those of a table below ``<keyspace>/<table>-<table ID>``. A journal there records the
state of each table; a rename is durable before its line in the journal.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.cassandra.files.staging import ROOT
from magnetodb_backup.domain.tables import TableDescription, TableName
from magnetodb_backup.errors import DataDirectoryProblem

_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PREFIX = "aside-"
_UNFINISHED = re.compile("(batches|paxos)-[0-9a-f]{32}")
# The states of a table: original files moved away; new ones in place; new ones moved out again.
_ASIDE, _PLACED, _CLEARED = "aside", "placed", "cleared"
_UNDONE = "undone"
_MARK = "mark"


def table_path(table: TableDescription) -> Path:
    """Return a table's directory below a data directory."""
    return Path(table.name.keyspace) / f"{table.name.table}-{table.id}"


class Exchange:
    """The exchange of files of one restore on this node; Cassandra must not run during it.

    ``others`` are directories whose files are only moved away: hints, caches, commit log.
    ``before_change`` is called before each change on disk.
    """

    def __init__(
        self,
        data_directories: Sequence[str],
        restore_id: str,
        others: Sequence[str] = (),
        before_change: Callable[[], None] = lambda: None,
    ) -> None:
        if not _ID.fullmatch(restore_id):
            raise DataDirectoryProblem(f"{restore_id!r} is not the ID of a restore")
        self._data = [Path(d) for d in data_directories]
        self._name = _PREFIX + restore_id
        self._roots = [d / ROOT / self._name for d in self._data]
        self._others = [Path(d) for d in others]
        self._journal_path = self._roots[0] / "journal.jsonl"
        self._known: dict[str, str] | None = None
        self._before_change = before_change

    @property
    def directories(self) -> list[str]:
        """The directories that contain original files now."""
        roots = [*self._roots, *(self._aside_of(o) for o in self._others)]
        return [str(root) for root in roots if root.is_dir()]

    @property
    def touched(self) -> bool:
        """True if any file may have been moved."""
        return (
            any(not name.startswith(_MARK) for name in self._states())
            or any(p.is_dir() for root in self._roots for p in root.glob("*"))
            or any(self._aside_of(other).is_dir() for other in self._others)
        )

    def prepare(self) -> None:
        """Create the directories.

        :raises DataDirectoryProblem: naming the directory that cannot be created.
        """
        for root in self._roots:
            _make(root)

    # Marks of the restore: what happened to the node.

    def marked(self, mark: str) -> bool:
        """Return whether the mark is set, also by an earlier process."""
        return self._states().get(f"{_MARK} {mark}") == "set"

    def mark(self, mark: str, value: bool = True) -> None:
        """Set or remove a mark; it is durable afterwards."""
        if value or self.marked(mark):
            self._write(f"{_MARK} {mark}", "set" if value else "")

    # The exchange.

    def exchange(self, table: TableDescription, staged: Mapping[int, Sequence[Path]]) -> int:
        """Move a table's original files away and the staged ones into their place.

        Return the number of SSTables. ``staged`` are directories by the number of their data
        directory. The table has no other files afterwards; its snapshots stay. Can be repeated.
        """
        path = table_path(table)
        state = self._states().get(str(path))
        if state == _PLACED:
            return self._sstables(path)
        if state == _CLEARED:
            raise DataDirectoryProblem(f"the original files of {path} are already being moved back")
        if state is None:
            for number in range(len(self._data)):
                self._take_away(number, path)
            self._write(str(path), _ASIDE)
        for number, directories in staged.items():
            target = self._data[number] / path
            for directory in directories:
                files = sorted(p for p in directory.iterdir() if not p.is_dir())
                if files:
                    _make(target)
                    self._move(files, target)
        self._write(str(path), _PLACED)
        return self._sstables(path)

    def _sstables(self, path: Path) -> int:
        return sum(1 for data in self._data for _ in (data / path).glob("*-Data.db"))

    def take_others(self, directory: str) -> int:
        """Move all files of one of the other directories away; return their number."""
        source = Path(directory)
        if not source.is_dir():
            return 0
        files = [p for p in source.iterdir() if not p.is_dir()]
        if files:
            target = self._aside_of(source)
            _make(target)
            self._move(files, target)
        return len(files)

    def put_back(self) -> int:
        """Undo the exchange; return the number of tables. Can be repeated.

        The restored files are moved into a directory ``undone`` beside the original files.
        """
        count = 0
        for path, state in sorted(self._states().items()):  # a copy: it changes
            if state in (_ASIDE, _PLACED) and not path.startswith(_MARK):
                for number in range(len(self._data)):
                    self._take_away(number, Path(path), below=_UNDONE)
                self._write(path, _CLEARED)
        for number, root in enumerate(self._roots):
            for directory in sorted(p for p in root.glob("*/*-*") if p.is_dir()):
                path_ = directory.relative_to(root)
                target = self._data[number] / path_
                _make(target)
                self._move(sorted(directory.iterdir()), target)
                directory.rmdir()
                count += 1
        for other in self._others:
            aside = self._aside_of(other)
            if aside.is_dir():
                self._move(sorted(aside.iterdir()), other)
                aside.rmdir()
        return count

    def remove(self) -> None:
        """Remove the original files; missing ones are no error."""
        for root in [*(self._aside_of(o) for o in self._others), *reversed(self._roots)]:
            shutil.rmtree(root, ignore_errors=True)
            if root.exists():
                raise DataDirectoryProblem(f"{root} cannot be removed; remove it by hand")
            if root.parent.is_dir() and not any(root.parent.iterdir()):
                root.parent.rmdir()

    def _take_away(self, number: int, path: Path, below: str = "") -> None:
        """Move a table's files and its indexes' directories out of one data directory."""
        source = self._data[number] / path
        if not source.is_dir():
            return
        entries = [
            entry
            for entry in sorted(source.iterdir())
            # Directories of legacy indexes (.<index>) only: snapshots and backups stay.
            if not entry.is_dir() or entry.name.startswith(".")
        ]
        if entries:
            target = self._roots[number] / below / path
            _make(target)
            self._move(entries, target)

    def _aside_of(self, other: Path) -> Path:
        return other / ROOT / self._name

    def _move(self, entries: Sequence[Path], target: Path) -> None:
        """Rename into a directory without overwriting, and make it durable."""
        try:
            for entry in entries:
                new = target / entry.name
                if os.path.lexists(new):
                    raise DataDirectoryProblem(
                        f"{entry} cannot be renamed to {new}, which exists; was Cassandra started?"
                    )
                self._before_change()
                entry.rename(new)
            for parent in {entry.parent for entry in entries}:
                disk.sync_directory(parent)
            disk.sync_directory(target)
        except OSError as error:
            raise DataDirectoryProblem(
                f"{error.filename} cannot be moved to {target} ({error.strerror})"
            ) from None

    # The journal: lines with a table's path (or a mark) and its state; the last line is valid.

    def _states(self) -> dict[str, str]:
        if self._known is None:
            self._known = {}
            for line in self._lines():
                try:
                    name, state = json.loads(line)
                except ValueError:
                    continue  # the process died during the write
                self._known[str(name)] = str(state)
        return self._known

    def _lines(self) -> Iterator[bytes]:
        try:
            with self._journal_path.open("rb") as file:
                yield from file
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataDirectoryProblem(f"{self._journal_path}: {error.strerror}") from None

    def _write(self, name: str, state: str) -> None:
        self._before_change()
        try:
            # A new line first, so that this line is not appended to a torn one.
            disk.append(self._journal_path, b"\n" + json.dumps([name, state]).encode() + b"\n")
        except OSError as error:
            raise DataDirectoryProblem(
                f"{self._journal_path} cannot be written ({error.strerror})"
            ) from None
        self._states()[name] = state


def unfinished_exchanges(data_directories: Sequence[str]) -> dict[str, list[str]]:
    """Return the directories with original files of unfinished restores, by restore ID."""
    found: dict[str, list[str]] = {}
    for directory in data_directories:
        for path in sorted((Path(directory) / ROOT).glob(f"{_PREFIX}*")):
            found.setdefault(path.name.removeprefix(_PREFIX), []).append(str(path))
    return found


def unfinished_writes(data_directories: Sequence[str]) -> list[TableDescription]:
    """Return the tables of ``system`` whose rows Cassandra turns into writes later.

    These are logged batches, and proposals of lightweight transactions.
    """
    names = {
        path.name
        for directory in data_directories
        for path in (Path(directory) / "system").glob("*-*")
        if _UNFINISHED.fullmatch(path.name)
    }
    return [
        TableDescription(TableName("system", table), table_id)
        for table, _, table_id in (name.partition("-") for name in sorted(names))
    ]


def exchange_problems(
    data_directories: Sequence[str],
    tables: Sequence[TableDescription],
    others: Sequence[str],
    may: Callable[[Path, int], bool] = os.access,
) -> list[str]:
    """Return a text for each obstacle to the exchange of the tables' files; change nothing."""
    problems = []
    for data in map(Path, data_directories):
        paths = [data]
        for table in tables:
            path = table_path(table)
            paths += [data / path.parent, data / path]
        for path in dict.fromkeys(paths):
            problems += _path_problems(path, data, may)
    for other in map(Path, others):
        problems += _path_problems(other, other, may)
    return problems


def _path_problems(path: Path, data: Path, may: Callable[[Path, int], bool]) -> list[str]:
    try:
        if path != data and path.is_symlink():
            return [f"{path} is a symbolic link; an offline restore does not follow links"]
        if not path.is_dir():
            return []
        if path.stat().st_dev != data.stat().st_dev:
            return [
                f"{path} is on another file system than {data}; an offline restore moves files "
                "between them by renaming"
            ]
    except OSError as error:
        return [f"{path}: {error.strerror}"]
    if not may(path, os.R_OK | os.W_OK | os.X_OK):
        return [
            f"{path} cannot be written by the worker's user; an offline restore needs a worker "
            "that runs as Cassandra's user"
        ]
    return []


def _make(path: Path) -> None:
    """Create a directory and its missing parents, each with the owner of its parent."""
    concerned = [path]
    while not os.path.lexists(concerned[-1]):
        concerned.append(concerned[-1].parent)
    try:
        disk.make_directories(path, 0o770, for_owner=True)
    except OSError as error:
        raise DataDirectoryProblem(
            f"{path} cannot be created ({error.strerror}); an offline restore needs a worker "
            "that runs as Cassandra's user"
        ) from None
    for made in concerned:
        if made.is_symlink():
            raise DataDirectoryProblem(
                f"{made} is a symbolic link; an offline restore does not follow links"
            )

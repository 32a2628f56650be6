# SPDX-License-Identifier: Apache-2.0
"""Exchanges the files of a stopped node's tables for restored ones, and back.

What was there lies in ``<directory>/.magnetodb-backup/aside-<restore ID>/`` on the same file
system, a table's files below ``<keyspace>/<table>-<table ID>``. A journal there tells how far each
table is; a name that is moved is durable before the journal says so.
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
from magnetodb_backup.domain.tables import TableDescription
from magnetodb_backup.errors import DataDirectoryProblem

_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PREFIX = "aside-"
# How far a table is: its old files are aside; the new ones are in place; those are out again.
_ASIDE, _PLACED, _CLEARED = "aside", "placed", "cleared"
_UNDONE = "undone"
_MARK = "mark"


def table_path(table: TableDescription) -> Path:
    """Return a table's directory below a data directory."""
    return Path(table.name.keyspace) / f"{table.name.table}-{table.id}"


class Exchange:
    """One restore's exchange of files on this node; Cassandra must not run meanwhile.

    ``others`` are directories whose files can only be taken away: hints, caches, commit log.
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
        """Where old files lie now."""
        roots = [*self._roots, *(self._aside_of(o) for o in self._others)]
        return [str(root) for root in roots if root.is_dir()]

    @property
    def touched(self) -> bool:
        """Tell whether any file may have been moved."""
        return (
            any(not name.startswith(_MARK) for name in self._states())
            or any(p.is_dir() for root in self._roots for p in root.glob("*"))
            or any(self._aside_of(other).is_dir() for other in self._others)
        )

    def prepare(self) -> None:
        """Make the directories.

        :raises DataDirectoryProblem: naming what cannot be made.
        """
        for root in self._roots:
            _make(root)

    # Marks of the restore: what happened to the node.

    def marked(self, mark: str) -> bool:
        """Tell whether the mark was set, by an earlier process too."""
        return self._states().get(f"{_MARK} {mark}") == "set"

    def mark(self, mark: str, value: bool = True) -> None:
        """Set or remove a mark; it is durable afterwards."""
        if value or self.marked(mark):
            self._write(f"{_MARK} {mark}", "set" if value else "")

    # The exchange.

    def exchange(self, table: TableDescription, staged: Mapping[int, Sequence[Path]]) -> int:
        """Move a table's files aside and staged ones into their place; return the SSTables' number.

        ``staged`` are directories by the number of the data directory that they are in. The table
        has no other files afterwards; its snapshots stay. May be repeated.
        """
        path = table_path(table)
        state = self._states().get(str(path))
        if state == _PLACED:
            return self._sstables(path)
        if state == _CLEARED:
            raise DataDirectoryProblem(f"the old files of {path} are being put back already")
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
        """Move all files of one of the other directories aside; return their number."""
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
        """Undo all of it; return the number of tables. May be repeated.

        What had been placed goes into a directory ``undone`` beside the old files.
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
        """Remove the old files; what does not exist is no error."""
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
            # Of directories only the legacy indexes' (.<index>): snapshots and backups stay.
            if not entry.is_dir() or entry.name.startswith(".")
        ]
        if entries:
            target = self._roots[number] / below / path
            _make(target)
            self._move(entries, target)

    def _aside_of(self, other: Path) -> Path:
        return other / ROOT / self._name

    def _move(self, entries: Sequence[Path], target: Path) -> None:
        """Rename into a directory, over nothing, and make it durable."""
        try:
            for entry in entries:
                new = target / entry.name
                if os.path.lexists(new):
                    raise DataDirectoryProblem(
                        f"{entry} should become {new}, which exists; has Cassandra been started?"
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

    # The journal: lines of a table's path (or a mark) and its state, the last one counts.

    def _states(self) -> dict[str, str]:
        if self._known is None:
            self._known = {}
            for line in self._lines():
                try:
                    name, state = json.loads(line)
                except ValueError:
                    continue  # the process died while it wrote
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
            # A new line first: what was cut off before must not swallow this.
            disk.append(self._journal_path, b"\n" + json.dumps([name, state]).encode() + b"\n")
        except OSError as error:
            raise DataDirectoryProblem(
                f"{self._journal_path} cannot be written ({error.strerror})"
            ) from None
        self._states()[name] = state


def unfinished_exchanges(data_directories: Sequence[str]) -> dict[str, list[str]]:
    """Return, by restore ID, the directories in which restores have left old files."""
    found: dict[str, list[str]] = {}
    for directory in data_directories:
        for path in sorted((Path(directory) / ROOT).glob(f"{_PREFIX}*")):
            found.setdefault(path.name.removeprefix(_PREFIX), []).append(str(path))
    return found


def exchange_problems(
    data_directories: Sequence[str],
    tables: Sequence[TableDescription],
    others: Sequence[str],
    may: Callable[[Path, int], bool] = os.access,
) -> list[str]:
    """Say what would keep this process from exchanging the tables' files; change nothing."""
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
            return [f"{path} is a symbolic link; an offline restore follows none"]
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
    """Make a directory and what is missing above it, each for the owner of the one above."""
    concerned = [path]
    while not os.path.lexists(concerned[-1]):
        concerned.append(concerned[-1].parent)
    try:
        disk.make_directories(path, 0o770, for_owner=True)
    except OSError as error:
        raise DataDirectoryProblem(
            f"{path} cannot be made ({error.strerror}); an offline restore needs a worker "
            "that runs as Cassandra's user"
        ) from None
    for made in concerned:
        if made.is_symlink():
            raise DataDirectoryProblem(
                f"{made} is a symbolic link; an offline restore follows none"
            )

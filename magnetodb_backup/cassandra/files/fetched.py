# SPDX-License-Identifier: Apache-2.0
"""Files of node backups that restores have fetched; later restores use them again.

``<data directory>/.magnetodb-backup/fetched-<name>/<keyspace>/<table>/``, where the name has the
backup, the source's host ID, and a digest of what else decides the bytes. A restore takes links to
the files into its staging directories, so they stay when Cassandra takes the links over.
``held.json`` in each of these directories names the restore that works with the files.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.cassandra.files.staging import (
    ROOT,
    make_directory,
    refuse_link,
    remove_tree,
    seconds_since_touch,
    sstable_of,
    touch,
)
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import DataDirectoryProblem, StagingHeld

_PREFIX = "fetched-"
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME = re.compile(rf"{_UUID}\.{_UUID}\.[0-9a-f]{{16}}")
_NOTE, _LOCK, _PART = "held.json", "lock", ".part"
# Seconds after which a restore that nothing has noted to run has lost the files to another one.
LEASE = 60.0


@dataclass(frozen=True)
class Origin:
    """What decides the bytes: a node backup (``source`` is its host ID) and its node manifest."""

    cluster: str
    backup_id: str
    source: str
    manifest_sha256: str

    @property
    def name(self) -> str:
        """The name of the directories."""
        rest = f"{self.cluster}\0{self.manifest_sha256}".encode()
        return f"{self.backup_id}.{self.source}.{hashlib.sha256(rest).hexdigest()[:16]}"


@dataclass(frozen=True)
class Held:
    """The restore that works with the files (empty for none), and the tables that it takes."""

    restore_id: str = ""
    tables: frozenset[TableName] = frozenset()


class FetchedFiles:
    """The fetched files of one node backup, in all data directories of this node."""

    def __init__(self, data_directories: Sequence[str], name: str) -> None:
        if not _NAME.fullmatch(name):
            raise DataDirectoryProblem(f"{name!r} does not name a node backup's fetched files")
        self._name = name
        self._roots = [Path(d) / ROOT / (_PREFIX + name) for d in data_directories]

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories that exist, one in each data directory."""
        return tuple(str(root) for root in self._roots if root.is_dir())

    @property
    def patterns(self) -> tuple[str, ...]:
        """Shell patterns for the directories of all node backups of the same backup."""
        backup = self._name.partition(".")[0]
        return tuple(str(r.parent / f"{_PREFIX}{backup}.*") for r in self._roots if r.is_dir())

    @property
    def journal(self) -> Path:
        """The journal of the downloads; data directories may have come and gone since."""
        paths = [root / "journal.jsonl" for root in self._roots]
        return next((path for path in paths if path.exists()), paths[0])

    def directory(self, table: TableName, number: int) -> Path:
        """Return the directory of a table's files in the data directory of this number."""
        return self._roots[number % len(self._roots)] / table.keyspace / table.table

    def numbers(self, tables: Collection[TableName]) -> Mapping[tuple[TableName, str], int]:
        """Return for each SSTable the number of the data directory that has most of its files."""
        most: dict[tuple[TableName, str], tuple[int, int]] = {}
        for number in range(len(self._roots)):
            for table in tables:
                counts = Counter(map(sstable_of, _listed(self.directory(table, number))))
                for sstable, count in counts.items():
                    found = most.get((table, sstable), (0, 0))
                    most[table, sstable] = max(found, (count, number))
        return {key: number for key, (_, number) in most.items()}

    def size(self) -> int:
        """Return the number of bytes of all files."""
        return sum(path.stat().st_size for path in self._files())

    # Who works with the files, and since when nobody does.

    @contextmanager
    def locked(self, *, create: bool = False) -> Iterator[None]:
        """Keep other processes and threads from writing or removing files.

        With ``create`` missing directories are created.

        :raises StagingHeld: if another one does so now, or the files were removed.
        :raises DataDirectoryProblem: naming a directory that cannot be created, or a symbolic link.
        """
        if create:
            self._prepare()
        path = self._roots[0] / _LOCK
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o660)
        except FileNotFoundError:
            raise self._in_use("was removed at this moment") from None
        except OSError as error:
            raise DataDirectoryProblem(f"{path} cannot be opened ({error.strerror})") from None
        try:
            self._lock(descriptor, path)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int, path: Path) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._in_use("is being worked on by another task or process") from None
        # Whoever removes the directory has the lock until it is gone.
        if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise self._in_use("was removed at this moment")

    def hold(self, restore_id: str, tables: Collection[TableName], lease: float = LEASE) -> None:
        """Note, durably, that a restore works with the files of these tables.

        Call it with the lock.

        :param lease: seconds for which another restore that was noted is believed to run
        :raises StagingHeld: if another restore works with the files.
        """
        held = self.held()
        if held.restore_id not in ("", restore_id) and self.unused_for() < lease:
            raise self._in_use(f"is used by restore {held.restore_id}")
        known = held.tables if held.restore_id == restore_id else frozenset()
        self._note(Held(restore_id, known | frozenset(tables)))

    def held(self) -> Held:
        """Return which restore works with the files."""
        for root in self._roots:
            with suppress(OSError, ValueError, KeyError, TypeError):
                found = json.loads((root / _NOTE).read_bytes())
                tables = frozenset(TableName(str(k), str(t)) for k, t in found["tables"])
                return Held(str(found["restore_id"]), tables)
        return Held()

    def touch(self) -> None:
        """Note that the restore that holds the files runs."""
        touch(self._roots)

    def unused_for(self) -> float:
        """Return for how many seconds no restore has used the files."""
        return seconds_since_touch(self._roots)

    def release(self) -> None:
        """Keep the finished files for a later restore; unfinished ones are removed.

        Call it with the lock.
        """
        for path in self._files():
            if path.name.endswith(_PART):
                path.unlink(missing_ok=True)
        self._note(Held())

    def remove(self, tables: Collection[TableName] | None = None) -> bool:
        """Remove the files of these tables, or all; return whether nothing is left.

        Call it with the lock. If other tables have files, these are kept for a later restore.

        :raises DataDirectoryProblem: naming a directory that cannot be removed.
        """
        for number in range(len(self._roots)):
            for table in tables or ():
                remove_tree(self.directory(table, number))
                with suppress(OSError):  # other tables are there
                    self.directory(table, number).parent.rmdir()
        if tables is not None and any(self._files()):
            self.release()
            return False
        for root in reversed(self._roots):  # the lock is in the first one
            remove_tree(root)
        return True

    def _prepare(self) -> None:
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
            for path in (*root.glob("*"), *root.glob("*/*")):
                refuse_link(path)

    def _note(self, held: Held) -> None:
        tables = sorted([t.keyspace, t.table] for t in held.tables)
        text = json.dumps({"restore_id": held.restore_id, "tables": tables}).encode()
        for root in self._roots:
            try:
                disk.write_file(root / _NOTE, text)
            except OSError as error:
                raise DataDirectoryProblem(
                    f"{root / _NOTE} cannot be written ({error.strerror})"
                ) from None

    def _files(self) -> Iterator[Path]:
        for root in self._roots:
            for directory in root.glob("*/*"):
                for name in _listed(directory):
                    yield directory / name

    def _in_use(self, why: str) -> StagingHeld:
        return StagingHeld(f"{self._roots[0]} {why}; it is tried again")


def all_fetched(data_directories: Sequence[str]) -> list[FetchedFiles]:
    """Return the fetched files of all node backups, those unused for the longest time first."""
    names = set()
    for directory in data_directories:
        root = Path(directory) / ROOT
        # What cannot be read is reported by the check of the data directories.
        with suppress(OSError, DataDirectoryProblem):
            if not root.is_symlink():
                names |= {name.removeprefix(_PREFIX) for name in _listed(root, _PREFIX)}
    found = [FetchedFiles(data_directories, name) for name in names if _NAME.fullmatch(name)]
    return sorted(found, key=lambda fetched: -fetched.unused_for())


def _listed(directory: Path, prefix: str = "") -> list[str]:
    """Return the names in a directory; none where it is missing or no directory."""
    try:
        return sorted(name for name in os.listdir(directory) if name.startswith(prefix))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataDirectoryProblem(f"{directory}: {error.strerror}") from None

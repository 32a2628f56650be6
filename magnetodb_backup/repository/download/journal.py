# SPDX-License-Identifier: Apache-2.0
"""The journal of finished files, so that a repeated restore does not fetch them again."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

from magnetodb_backup import disk
from magnetodb_backup.repository.download.partial_files import disk_errors

_LONGEST_LINE = 64 * 1024


@dataclass(frozen=True)
class FinishedFile:
    """A complete file on the disk: size in bytes, digest, and identity."""

    path: str
    size: int
    sha256: str
    mtime_ns: int
    inode: int


class FinishedFiles:
    """The finished files that a journal names; for the thread that created the object.

    Lines that are malformed are ignored, such as a torn last one: their files are fetched again.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # in a temporary file: memory stays bounded
        self._db.execute(
            "CREATE TABLE finished (path BLOB PRIMARY KEY, size INTEGER, sha256 TEXT, "
            "identity TEXT) WITHOUT ROWID"
        )

    @classmethod
    def read(cls, path: Path) -> FinishedFiles:
        """Read a journal without changing it; a missing one names no file.

        :raises DataDirectoryProblem: if it cannot be read, or is a symbolic link.
        """
        finished = cls()
        with disk_errors(path), suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                finished.learn(file)
        return finished

    def has(self, path: Path, size: int, sha256: str) -> bool:
        """Return whether the file at ``path`` is the finished one with this content."""
        row = self._db.execute(
            "SELECT identity FROM finished WHERE path = ? AND size = ? AND sha256 = ?",
            (os.fsencode(path), size, sha256),
        ).fetchone()
        if row is None:
            return False
        try:
            found = os.lstat(path)
        except OSError:
            return False
        now = _identity(found.st_mtime_ns, found.st_ino)
        return stat.S_ISREG(found.st_mode) and found.st_size == size and bool(row[0] == now)

    def learn(self, file: BinaryIO) -> int:
        """Take the lines of an open journal; return the number of bytes of its whole lines."""
        whole = 0
        while line := file.readline(_LONGEST_LINE):
            if not line.endswith(b"\n"):
                if len(line) < _LONGEST_LINE:
                    break  # torn
                continue
            whole = file.tell()
            known = _parsed(line)
            if known is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO finished VALUES (?, ?, ?, ?)",
                    (
                        os.fsencode(known.path),
                        known.size,
                        known.sha256,
                        _identity(known.mtime_ns, known.inode),
                    ),
                )
        return whole

    def close(self) -> None:
        """Delete the temporary database."""
        self._db.close()


class Journal:
    """JSON Lines, one for each finished file; a line is written after its file's fsync.

    ``append`` can be called by any thread, the other methods only by the thread that created the
    journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with disk_errors(path):
            path.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.fdopen(os.open(path, flags, 0o640), "r+b", buffering=0)
        self._finished = FinishedFiles()
        with disk_errors(path), os.fdopen(os.dup(self._file.fileno()), "rb") as file:
            # The next line must not be appended to a torn one.
            os.ftruncate(self._file.fileno(), self._finished.learn(file))

    def has(self, path: Path, size: int, sha256: str) -> bool:
        """Return whether the file at ``path`` is the finished one with this content."""
        return self._finished.has(path, size, sha256)

    def append(self, files: Iterable[FinishedFile]) -> None:
        """Add lines, durably."""
        text = b"".join(json.dumps(asdict(f), sort_keys=True).encode() + b"\n" for f in files)
        with self._lock, disk_errors(self._path):
            rest = memoryview(text)
            while rest:
                rest = rest[self._file.write(rest) :]
            disk.sync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._finished.close()
        self._file.close()


def _identity(mtime_ns: int, inode: int) -> str:
    return f"{mtime_ns} {inode}"  # as text: an inode's number may exceed SQLite's integers


def _parsed(line: bytes) -> FinishedFile | None:
    """Return the file that a line names; None if the line is malformed."""
    try:
        known = FinishedFile(**json.loads(line))
        os.fsencode(known.path)
    except (ValueError, TypeError, RecursionError):
        return None
    right = all(type(getattr(known, f.name)).__name__ == f.type for f in fields(known))
    return known if right and 0 <= known.size < 1 << 63 else None

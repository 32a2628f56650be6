# SPDX-License-Identifier: Apache-2.0
"""Durable files and directories, their owners, and free space.

Every fsync of the project is made here. All functions raise OSError; the caller knows what the
path means to the operator and names the remedy.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True)
class Space:
    """Bytes of a file system; ``free`` is what an ordinary user may fill."""

    free: int
    total: int


def sync(descriptor: int) -> None:
    """Make a file's bytes, or a directory's names, durable."""
    os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, _OPEN_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes, *, mode: int = 0o640) -> None:
    """Replace a file: after a crash it has the old content or the new one, whole.

    The bytes are gathered in ``<name>.part``, so only one writer may work on a path at a time.
    """
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        sync(descriptor)
    part.replace(path)
    sync_directory(path.parent)


def copy_file(source: Path, target: Path, mode: int) -> None:
    """Copy a small file to a new one with the owner of its directory; only its name is not durable.

    No link is followed.
    """
    origin = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(origin, "rb") as file:
        content = file.read()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(target, flags, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        give(descriptor, target.parent.stat())
        file.write(content)
        file.flush()
        sync(descriptor)


def append(path: Path, content: bytes) -> None:
    """Write at the end of a file, which is created if it is missing; durable afterwards."""
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        sync(file.fileno())
    sync_directory(path.parent)


def make_directories(path: Path, mode: int, *, for_owner: bool = False) -> None:
    """Create the missing directories down to ``path``, each durable before the next.

    With ``for_owner`` each has exactly ``mode`` regardless of the umask and, if this process runs
    as root, the owner of the directory above it.
    """
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process has made it meanwhile
            directory.mkdir(mode=mode)
            if for_owner:
                _hand_over(directory, mode)
        sync_directory(directory.parent)


def _hand_over(directory: Path, mode: int) -> None:
    # No link is followed: another user who may write above could lead this process elsewhere.
    descriptor = os.open(directory, _OPEN_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, mode)
        give(descriptor, directory.parent.stat())
    finally:
        os.close(descriptor)


def give(descriptor: int, owner: os.stat_result) -> None:
    """Give a file to the user and group of ``owner``; only root can, others change nothing."""
    if os.geteuid() == 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def give_to_owner(path: Path) -> None:
    """Give a path to the owner of the directory above it; only root can."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def space(path: str | Path) -> Space:
    """Return the space of the file system that holds ``path``."""
    found = os.statvfs(path)
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)

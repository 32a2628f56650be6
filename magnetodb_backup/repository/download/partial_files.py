# SPDX-License-Identifier: Apache-2.0
"""Files in a staging directory: written as ``<name>.part``, renamed when complete."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.errors import DataDirectoryProblem, NoSpace

PART = ".part"
_DIRECTORY_MODE, _FILE_MODE = 0o770, 0o660
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REOPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 4096
_MOST_LISTED = 16  # directories whose names are remembered
# Smaller files are written at once and need no preallocation.
_PREALLOCATED = 256 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError about ``path`` into the project's error.

    :raises NoSpace: for a full disk or a used up quota.
    :raises DataDirectoryProblem: for any other.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise NoSpace(
                f"{path.parent} has no space left for {path.name}; free some and restore again: "
                "finished files are not downloaded twice"
            ) from None
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise DataDirectoryProblem(
                f"{path.parent} is a symbolic link or not a directory, or {path.name} is a link; "
                "a restore does not follow links: remove it"
            ) from None
        raise DataDirectoryProblem(
            f"{path} cannot be written ({error.strerror}); a restore needs a worker that may "
            "write there: check the directory's owner and the disk"
        ) from None


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _OPEN_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create ``path`` and its missing parents, with the owner of the nearest existing one.

    :raises DataDirectoryProblem: if ``path`` is a symbolic link.
    """
    with disk_errors(path / "."):
        disk.make_directories(path, _DIRECTORY_MODE, for_owner=True)
    check_directory(path)


def check_directory(path: Path) -> None:
    """Raise DataDirectoryProblem if ``path`` is a symbolic link; it may be missing."""
    if path.is_symlink():
        raise DataDirectoryProblem(
            f"{path} is a symbolic link; a restore does not follow links: remove it"
        )


def part_of(path: Path) -> Path:
    """Return the path of the incomplete file of ``path``."""
    return path.with_name(path.name + PART)


def remove_part(path: Path) -> None:
    """Remove the incomplete file of ``path``, if any."""
    with disk_errors(path), contextlib.suppress(FileNotFoundError):
        part_of(path).unlink()


class Leftovers:
    """The files of an interrupted download; lists each directory once, not once per file."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}

    def has(self, path: Path) -> bool:
        """Return whether ``path`` or its part existed when its directory was first listed."""
        directory, name = path.parent, path.name
        names = self._names.get(directory)
        if names is None:
            if len(self._names) >= _MOST_LISTED:
                self._names.clear()
            names = self._names[directory] = _listed(directory)
        return name in names or name + PART in names


def _listed(directory: Path) -> frozenset[str]:
    with disk_errors(directory / "."):
        try:
            return frozenset(os.listdir(directory))
        except FileNotFoundError:
            return frozenset()


@contextlib.contextmanager
def created(path: Path, size: int) -> Iterator[int]:
    """Yield a descriptor of a new part of ``path``, preallocated."""
    with disk_errors(path), _directory(path.parent) as directory:
        name = path.name + PART
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, _FILE_MODE, dir_fd=directory)
        except FileExistsError:  # the file is fetched once more
            os.unlink(name, dir_fd=directory)
            descriptor = os.open(name, flags, _FILE_MODE, dir_fd=directory)
        try:
            os.fchmod(descriptor, _FILE_MODE)
            disk.give(descriptor, os.fstat(directory))
            if size > _PREALLOCATED:
                _allocate(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reopened(path: Path) -> Iterator[int]:
    """Yield a descriptor of the existing part of ``path``."""
    with disk_errors(path), _directory(path.parent) as directory:
        descriptor = os.open(path.name + PART, _REOPEN, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write(path: Path, descriptor: int, body: bytes | memoryview, offset: int) -> None:
    """Write all of ``body`` at ``offset`` of the part of ``path``."""
    with disk_errors(path):
        rest = memoryview(body)
        while rest:
            count = os.pwrite(descriptor, rest, offset)
            rest, offset = rest[count:], offset + count


def publish(path: Path) -> os.stat_result:
    """Sync a complete part and rename it; the rename itself is not durable yet."""
    name = path.name
    with disk_errors(path), _directory(path.parent) as directory:
        descriptor = os.open(name + PART, _REOPEN, dir_fd=directory)
        try:
            disk.sync(descriptor)
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        os.rename(name + PART, name, src_dir_fd=directory, dst_dir_fd=directory)
        return found


def _allocate(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        os.ftruncate(descriptor, size)


class Room:
    """Sums up the bytes needed on each file system and compares them with the free space."""

    def __init__(self) -> None:
        self._devices: dict[Path, int] = {}  # by directory
        self._needed: dict[int, int] = {}
        self._places: dict[int, tuple[Path, Path]] = {}

    @property
    def directories(self) -> tuple[Path, ...]:
        """The directories of the added files."""
        return tuple(self._devices)

    def need(self, directory: Path, size: int) -> None:
        """Add a file; the directory may be missing.

        :raises DataDirectoryProblem: if it is a symbolic link.
        """
        device = self._devices.get(directory)
        if device is None:
            device = self._devices[directory] = self._device(directory)
        self._needed[device] = self._needed.get(device, 0) + -(-size // _BLOCK) * _BLOCK

    def check(self) -> None:
        """Raise NoSpace, naming a directory, unless every file system has enough free space."""
        for device, needed in self._needed.items():
            directory, existing = self._places[device]
            with disk_errors(directory / "."):
                free = disk.space(existing).free
            if needed > free:
                raise NoSpace(
                    f"{directory} and the others on its file system need {needed} bytes, "
                    f"{free} are free; free some and restore again"
                )

    def _device(self, directory: Path) -> int:
        check_directory(directory)
        existing = directory
        while not os.path.lexists(existing):
            existing = existing.parent
        with disk_errors(directory / "."):
            device = existing.stat().st_dev
        self._places.setdefault(device, (directory, existing))
        return device

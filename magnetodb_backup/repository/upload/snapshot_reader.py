# SPDX-License-Identifier: Apache-2.0
"""Reads a snapshot's files into buffers and checks that they do not change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from magnetodb_backup.domain.backup.manifest import SnapshotFile
from magnetodb_backup.errors import DataDirectoryProblem, FileChanged, FileVanished

_DATA, _DIGEST = "-Data.db", "-Digest.crc32"


def _check(file: SnapshotFile, descriptor: int) -> None:
    found = os.fstat(descriptor)
    now = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    if now != (file.device, file.inode, file.size, file.mtime_ns):
        raise FileChanged(f"{file.path} was written while the backup read it")


@contextmanager
def opened(file: SnapshotFile) -> Iterator[int]:
    """Yield a descriptor of the file; check before and after that it is the scanned one.

    :raises FileVanished: if it does not exist any more.
    :raises FileChanged: if it is another file, or was written during the read.
    """
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FileVanished(
            f"{file.path} disappeared before it was uploaded; who clears snapshots?"
        ) from None
    except OSError as error:
        raise DataDirectoryProblem(
            f"{file.path}: {error.strerror}; let the worker's user read it"
        ) from None
    try:
        _check(file, descriptor)
        yield descriptor
        _check(file, descriptor)
    finally:
        os.close(descriptor)


def fill(file: SnapshotFile, descriptor: int, view: memoryview, offset: int) -> None:
    """Read ``len(view)`` bytes from ``offset`` into ``view``."""
    done = 0
    while done < len(view):
        try:
            count = os.preadv(descriptor, [view[done:]], offset + done)
        except OSError as error:
            raise DataDirectoryProblem(
                f"{file.path} cannot be read at byte {offset + done}: {error.strerror}; "
                "check the disk"
            ) from None
        if count == 0:
            raise FileChanged(f"{file.path} became shorter while the backup read it")
        done += count


def expected_crc32(file: SnapshotFile) -> int | None:
    """Return the CRC-32 of a whole Data.db as its Digest.crc32 states it.

    None for other components and for a missing digest; -1 for an unreadable one.
    """
    if not file.name.endswith(_DATA):
        return None
    path = Path(file.path)
    digest = path.with_name(f"{file.name.removesuffix(_DATA)}{_DIGEST}")
    try:
        value = int(digest.read_bytes()[:20])
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return -1  # an unreadable digest matches nothing
    return value if value < 1 << 32 else -1

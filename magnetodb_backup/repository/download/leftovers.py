# SPDX-License-Identifier: Apache-2.0
"""Complete files of a killed download without a line in the journal."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from magnetodb_backup.domain.backup.manifest import FileEntry
from magnetodb_backup.repository.download.partial_files import disk_errors, part_of
from magnetodb_backup.repository.download.publisher import MOST_BYTES

_SLICE = 1024 * 1024


def take_leftover(path: Path, entry: FileEntry, raise_if_cancelled: Callable[[], None]) -> bool:
    """Return whether ``path`` or its part is the complete file on the disk, and verified.

    Reading a disk is cheaper than downloading again. A part is read only if it is small enough to
    have waited in a batch: larger files are preallocated, so their size proves nothing.

    :raises DataDirectoryProblem: if the file cannot be read or renamed.
    """
    if not entry.size or path.parent.is_symlink():  # refused later, before anything is written
        return False
    with disk_errors(path):
        if _is_whole(path, entry, raise_if_cancelled):
            path.rename(part_of(path))
            return True
        return entry.size < MOST_BYTES and _is_whole(part_of(path), entry, raise_if_cancelled)


def _is_whole(path: Path, entry: FileEntry, raise_if_cancelled: Callable[[], None]) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # missing or not a file: writing the file reports the problem
        return False
    with contextlib.closing(os.fdopen(descriptor, "rb", buffering=0)) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
            return False
        digest = hashlib.sha256()
        while body := file.read(_SLICE):
            raise_if_cancelled()
            digest.update(body)
        return digest.hexdigest() == entry.sha256

# SPDX-License-Identifier: Apache-2.0
"""The directory of scratch Cassandras: one at a time has a place in it, which is removed after."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.cassandra.scratch.process import end_recorded
from magnetodb_backup.errors import BackupError, ScratchFailed

LOG = logging.getLogger(__name__)
_HOME = re.compile("scratch-[0-9a-f]{32}")
_LOOK_EVERY = 0.5  # seconds


class ScratchDirectory:
    """``[scratch] directory``: readable by the worker's user alone, used by one worker."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sweep(self) -> None:
        """Remove what workers that died have left, unless a live one uses the directory.

        Problems are logged: the next use reports them.
        """
        if not self.path.exists():
            return
        try:
            with self._locked() as mine:
                if mine:
                    self._sweep()
        except BackupError as error:
            LOG.warning("%s", error)

    @contextmanager
    def home(self, raise_if_cancelled: Callable[[], None]) -> Iterator[Path]:
        """Lend a new directory, once no other scratch Cassandra has one; remove it at the end.

        :raises ScratchFailed: if the directory cannot be used.
        """
        self._make()
        while True:
            raise_if_cancelled()
            with self._locked() as mine:
                if mine:
                    self._sweep()
                    home = self.path / f"scratch-{uuid.uuid4().hex}"
                    home.mkdir(mode=0o700)
                    try:
                        yield home
                    finally:
                        _remove(home)
                    return
            time.sleep(_LOOK_EVERY)

    def _make(self) -> None:
        try:
            disk.make_directories(self.path, 0o700)
            found = self.path.lstat()
        except OSError as error:
            raise ScratchFailed(
                f"{self.path} cannot be created ({error.strerror}); set [scratch] directory"
            ) from None
        # Another user who may write here could lead the worker elsewhere.
        if self.path.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise ScratchFailed(
                f"{self.path} must be a directory of the worker's user that others cannot enter "
                "(mode 0700); correct it or [scratch] directory"
            )

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the lock; yield False if another scratch Cassandra has it."""
        try:
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ScratchFailed(f"{self.path} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(lock)

    def _sweep(self) -> None:
        for home in self.path.iterdir():
            if _HOME.fullmatch(home.name):
                LOG.info("removing %s, which an earlier worker has left", home)
                _remove(home)


def _remove(home: Path) -> None:
    end_recorded(home)
    shutil.rmtree(home, ignore_errors=True)
    if home.exists():
        raise ScratchFailed(f"{home} cannot be removed; remove it by hand")

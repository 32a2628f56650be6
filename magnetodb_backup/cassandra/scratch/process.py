# SPDX-License-Identifier: Apache-2.0
"""Processes of a scratch Cassandra, recorded in its directory so that another worker ends them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from magnetodb_backup.cassandra.scratch.installation import environment
from magnetodb_backup.errors import ScratchFailed

LOG = logging.getLogger(__name__)
RECORD = "pid"  # the name of the files with IDs, with a suffix
_LOOK_EVERY = 0.1  # seconds
_GONE = 30.0  # seconds until a killed process must have ended


class ScratchProcess:
    """A process that the worker has started and will end."""

    def __init__(self, command: Sequence[str], home: Path, output: IO[bytes] | int) -> None:
        """Start ``command``.

        :raises ScratchFailed: if it cannot be run.
        """
        try:
            self._process = subprocess.Popen(
                command,
                cwd=home,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ScratchFailed(f"{command[0]} cannot be run: {error.strerror}") from None

    @property
    def output(self) -> IO[bytes] | None:
        """The pipe with the process's output, if there is one."""
        return self._process.stdout

    def code(self) -> int | None:
        """Return the exit code, None while the process runs."""
        return self._process.poll()

    def wait(self, timeout: float, raise_if_cancelled: Callable[[], None]) -> int | None:
        """Return the exit code, None if the process runs for longer than ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (code := self._process.poll()) is None and time.monotonic() < deadline:
            raise_if_cancelled()
            time.sleep(_LOOK_EVERY)
        return code

    def end(self, grace: float = 0.0) -> None:
        """End the process: ask it to, and kill it after ``grace`` seconds."""
        if grace and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def end_recorded(home: Path) -> None:
    """Kill the processes that an earlier worker has started for ``home`` and not ended.

    A process with a recorded ID is one of them only if its command line names ``home``: IDs are
    given to other processes later.

    :raises ScratchFailed: if one does not end.
    """
    for record in home.glob(f"{RECORD}*"):
        try:
            pid = int(record.read_text())
        except (OSError, ValueError):
            continue  # written by a process that ended before it became Java
        if not _belongs(pid, home):
            continue
        LOG.warning("killing process %d of an earlier scratch Cassandra in %s", pid, home)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _GONE
        while _belongs(pid, home):
            if time.monotonic() > deadline:
                raise ScratchFailed(f"process {pid} of {home} does not end; kill it by hand")
            time.sleep(_LOOK_EVERY)


def _belongs(pid: int, home: Path) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return f"{os.fspath(home)}/".encode() in command  # empty for a process that has ended

# SPDX-License-Identifier: Apache-2.0
"""Processes that end with the tests, and waiting for conditions."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from tests.lab import measuring

Result = TypeVar("Result")
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")


def wait_for(
    condition: Callable[[], Result | None], *, deadline: float, what: str, interval: float = 0.1
) -> Result:
    """Return the first true value of ``condition``, looked at until ``deadline`` seconds pass."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not within {deadline:g} s: {what}")
        time.sleep(interval)


class Launched(Protocol):
    """The part of ``subprocess.Popen`` that is used here."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; raise ``subprocess.TimeoutExpired`` if it does not come."""


class ManagedProcess:
    """A process in a session of its own. ``setpriv`` lets the kernel kill it with the tests.

    With ``outlives_us`` set before its start it stays when this process ends.
    """

    outlives_us = False

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.name, self.argv, self.log = name, list(argv), log
        self._env, self._cwd, self._user = env, cwd, user
        self._process: Launched | None = None

    def start(self) -> None:
        """Start, unless it runs."""
        if self.alive():
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = self._launch(self.argv, log.fileno())
        measuring.count_start(re.split(r"[-\d. ]", self.name)[0], self.pid)

    def _launch(self, argv: Sequence[str], log: int) -> Launched:
        return subprocess.Popen(
            [*([] if self.outlives_us else _DIE_WITH_US), *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self._env} if self._env is not None else None,
            cwd=self._cwd,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def alive(self) -> bool:
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        measuring.count_end(self._process.pid)
        return False

    def signal(self, number: int) -> None:
        """Signal the process group."""
        if self.alive():
            os.killpg(self.pid, number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)
        self.wait(10)

    def stop(self, grace: float = 10) -> None:
        """Ask it to end; kill it after ``grace`` seconds."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self.wait(grace)

    def wait(self, grace: float) -> None:
        """Wait for the end; kill after ``grace`` seconds."""
        if self._process is None:
            return
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self._process.wait(10)
        measuring.count_end(self._process.pid)

    def tail(self, lines: int = 20) -> str:
        """Return the end of the log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def check_alive(self) -> None:
        """Raise with the log's end if it has ended."""
        if not self.alive():
            raise RuntimeError(f"{self.name} ended:\n{self.tail(30)}")


def stop_all(processes: Iterable[ManagedProcess], grace: float = 10) -> None:
    """Signal all, then wait for all."""
    listed = list(processes)
    for process in listed:
        process.signal(signal.SIGCONT)
        process.signal(signal.SIGTERM)
    for process in listed:
        process.wait(grace)

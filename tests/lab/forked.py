# SPDX-License-Identifier: Apache-2.0
"""The project's programs as forks of one process: an import of everything costs two seconds.

The first start of each program, and of each command of magnetodb-backup-manage, is that of the
installed script; later ones are forks that have the same arguments, environment and end.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from tests.lab import measuring
from tests.lab.processes import Launched, ManagedProcess, wait_for

_BIN = Path(sys.executable).parent
_SERVER = Path(__file__).parent / "launched" / "fork_server.py"
_CHECKOUT = Path(__file__).parents[2]
_TIMED_OUT = 10.0


def installed(program: str) -> str:
    """Return the path of an installed script."""
    return str(_BIN / program)


class ForkedProcess:
    """A fork, used as ``subprocess.Popen`` is."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self._connection = connection
        self._code: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        :raises subprocess.TimeoutExpired: if it runs longer.
        """
        with self._lock:
            if self._code is None:
                self._connection.settimeout(timeout)
                try:
                    text = self._connection.recv(200)
                except (BlockingIOError, TimeoutError):
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from None
                code, used = text.split() if text else (b"-9", b"0")  # killed with its server
                measuring.count_end(self.pid, float(used))
                self._code = int(code)
                self._connection.close()
            return self._code


class ForkServer:
    """Starts the process that is forked, when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = ""
        self._started: set[str] = set()
        self._entries: dict[str, str] = {}

    def takes(self, argv: Sequence[str]) -> bool:
        """Return whether a fork can run it: a program of the project that was started before."""
        program = Path(argv[0]).name
        if not argv[0].startswith(str(_BIN)) or program not in self._known():
            return False
        words: list[str] = []
        if program.endswith("-manage"):  # each of its commands counts as a program
            rest = iter(argv[1:])
            for word in rest:
                if word == "--config-file":
                    next(rest, None)
                elif not word.startswith("-") and len(words) < 2:
                    words.append(word)
        key = " ".join([program, *words])
        with self._lock:
            known = key in self._started
            self._started.add(key)
        return known

    def start(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        output: tuple[int, int],
        *,
        session: bool,
    ) -> ForkedProcess:
        """Start a program of ours; ``output`` are descriptors, ``session`` gives it its own."""
        address = self._address()
        request = {
            "entry": self._known()[Path(argv[0]).name],
            "argv": list(argv),
            "environment": dict(environment),
            "session": session,
        }
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], list(output))
        told = b""
        while not told.endswith(b"\n"):
            part = connection.recv(1)
            if not part:
                raise RuntimeError(f"the fork server could not start {argv}")
            told += part
        return ForkedProcess(connection, int(told))

    def run(
        self, argv: Sequence[str], environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Do what ``subprocess.run`` does for a program whose output is kept.

        :raises subprocess.TimeoutExpired: after it was killed.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.start(argv, environment, (out.fileno(), err.fileno()), session=False)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait(_TIMED_OUT)
                raise
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess(list(argv), code, *texts)

    def stop(self) -> None:
        """End it; forks that still run are killed."""
        with self._lock:
            if self._process is not None:
                assert self._process.stdin is not None
                self._process.stdin.close()
                self._process.wait(10)
                self._process = None
                shutil.rmtree(self._directory, ignore_errors=True)

    def _known(self) -> Mapping[str, str]:
        if not self._entries:
            self._entries = {
                point.name: point.value
                for point in entry_points(group="console_scripts")
                if point.value.startswith("magnetodb_backup.")
            }
        return self._entries

    def _address(self) -> str:
        with self._lock:
            if self._process is None:
                self._directory = tempfile.mkdtemp(prefix="mdbb-fork-")
                address = f"{self._directory}/socket"
                self._process = subprocess.Popen(
                    [sys.executable, str(_SERVER), address],
                    stdin=subprocess.PIPE,
                    cwd=_CHECKOUT,
                    start_new_session=True,
                )
                process = self._process
                wait_for(
                    lambda: Path(address).exists() or process.poll() is not None,
                    deadline=120,
                    what="the fork server",
                )
            return f"{self._directory}/socket"


SERVER = ForkServer()


def run(
    argv: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a program of ours and keep its output."""
    if SERVER.takes(argv):
        measuring.count_start("forked command")
        return SERVER.run(argv, environment, timeout)
    measuring.count_start("command")
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, env=environment)


class ServiceProcess(ManagedProcess):
    """A process of the service."""

    def _launch(self, argv: Sequence[str], log: int) -> Launched:
        if not SERVER.takes(argv):
            return super()._launch(argv, log)
        environment = {**os.environ, **(self._env or {})}
        return SERVER.start(argv, environment, (log, log), session=True)

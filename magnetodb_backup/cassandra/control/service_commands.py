# SPDX-License-Identifier: Apache-2.0
"""Stops and starts Cassandra with configured commands, and checks whether it runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO

from oslo_config import cfg

from magnetodb_backup.errors import CommandFailed

_LOOK_EVERY = 0.2  # seconds
_CONNECT = 3.0
_KEPT = 2000  # bytes of a command's output


def takes_connections(host: str, port: int) -> bool:
    """Return whether the port accepts TCP connections."""
    try:
        with socket.create_connection((host, port), _CONNECT):
            return True
    except TimeoutError:
        return True  # not refused: the port is open, or the network is down
    except OSError:
        return False


def from_conf(conf: cfg.ConfigOpts) -> CassandraProcess:
    """Make the process that group ``[cassandra]`` describes."""
    options = conf.cassandra
    return CassandraProcess(
        options.address,
        options.native_port,
        stop_command=options.stop_command,
        start_command=options.start_command,
        stop_timeout=options.stop_timeout,
        start_timeout=options.start_timeout,
    )


class CassandraProcess:
    """The Cassandra process of the node, identified by its CQL port. Time-outs in seconds."""

    def __init__(
        self,
        address: str,
        native_port: int,
        *,
        stop_command: Sequence[str],
        start_command: Sequence[str],
        stop_timeout: float,
        start_timeout: float,
    ) -> None:
        self._address, self._native_port = address, native_port
        self._stop_command, self._start_command = tuple(stop_command), tuple(start_command)
        self.stop_timeout, self.start_timeout = stop_timeout, start_timeout

    def problems(self) -> list[str]:
        """Return a text for each missing command; an offline restore needs both."""
        return [
            f"[cassandra] {name} is not set; an offline restore stops and starts Cassandra with it "
            f"(for example sudo,-n,systemctl,{verb},cassandra)"
            for name, verb, command in (
                ("stop_command", "stop", self._stop_command),
                ("start_command", "start", self._start_command),
            )
            if not command
        ]

    def serves_clients(self) -> bool:
        """Return whether the CQL port accepts connections."""
        return takes_connections(self._address, self._native_port)

    def stop(self, raise_if_cancelled: Callable[[], None]) -> None:
        """Run the stop command until it ends; a cancellation is raised before or after it.

        A node whose stop was interrupted may still be stopping when it is to be started again: the
        start command would find it running, and nothing would start it once it has stopped.

        :raises CommandFailed: with its output, if it fails or takes too long.
        """
        raise_if_cancelled()
        self._run("stop_command", self._stop_command, self.stop_timeout, lambda: None)
        raise_if_cancelled()

    def start(self, raise_if_cancelled: Callable[[], None]) -> None:
        """Run the start command until it ends.

        :raises CommandFailed: with its output, if it fails or takes too long.
        """
        self._run("start_command", self._start_command, self.start_timeout, raise_if_cancelled)

    def _run(
        self,
        name: str,
        command: tuple[str, ...],
        timeout: float,
        raise_if_cancelled: Callable[[], None],
    ) -> None:
        if not command:
            raise CommandFailed("; ".join(self.problems()))
        raise_if_cancelled()
        # A file: a process that the command leaves running may keep its output open for ever.
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise CommandFailed(
                    f"{command[0]} cannot be run ({error.strerror}); correct [cassandra] {name}"
                ) from None
            ended = _wait(process, timeout, raise_if_cancelled)
            printed = _summary(output)
        if not ended:
            raise CommandFailed(
                f"[cassandra] {name} has not ended after {timeout:g} s and was killed; it must not "
                f"stay in the foreground{printed}"
            )
        if process.returncode:
            raise CommandFailed(
                f"[cassandra] {name} ended with {process.returncode}; it runs as the worker's "
                f"user{printed}"
            )


def _wait(
    process: subprocess.Popen[bytes], timeout: float, raise_if_cancelled: Callable[[], None]
) -> bool:
    """Return whether the process ended by itself in time."""
    deadline = time.monotonic() + timeout
    try:
        while process.poll() is None:
            if time.monotonic() > deadline:
                return False
            raise_if_cancelled()
            time.sleep(_LOOK_EVERY)
        return True
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _summary(output: IO[bytes]) -> str:
    """Return the end of a command's output."""
    output.seek(max(output.seek(0, os.SEEK_END) - _KEPT, 0))
    text = " ".join(output.read().decode(errors="replace").split())
    return f": {text[-500:]}" if text else ""

# SPDX-License-Identifier: Apache-2.0
"""Loopback addresses and ports that no other run uses."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import Protocol


class Addresses(Protocol):
    """Gives out loopback addresses."""

    def address(self, host: int) -> str:
        """Return the address of a host, 1 to 254."""


class LoopbackBlock:
    """A block 127.77.K.0/24, held by a file lock as long as this object lives."""

    def __init__(self) -> None:
        directory = Path(tempfile.gettempdir()) / f"magnetodb-backup-loopback-{os.getuid()}"
        directory.mkdir(mode=0o700, exist_ok=True)
        for number in range(1, 255):
            descriptor = os.open(directory / str(number), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                continue
            self._descriptor, self._number = descriptor, number
            return
        raise RuntimeError("all 254 loopback blocks are in use")

    def address(self, host: int) -> str:
        """Return the address of a host of the block."""
        return f"127.77.{self._number}.{host}"

    def release(self) -> None:
        os.close(self._descriptor)


def listens(address: str, port: int) -> bool:
    """Return whether somebody accepts connections there."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def free_port(address: str) -> int:
    """Return a port that nobody listens on. A bind alone does not tell: Swift shares ports."""
    while True:
        with socket.socket() as probe:
            probe.bind((address, 0))
            port = int(probe.getsockname()[1])
        if not listens(address, port):
            return port

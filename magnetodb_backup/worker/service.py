# SPDX-License-Identifier: Apache-2.0
"""The worker process: an RPC server and a reporter."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from magnetodb_backup.worker.heartbeat import Reporter


def spawn(run: Callable[[], None], name: str) -> None:
    """Run in a daemon thread: a process that ends does not wait for tasks, they are repeated."""
    threading.Thread(target=run, name=name, daemon=True).start()


class Server(Protocol):
    """Serves requests until it is stopped, and answers those it has taken."""

    def start(self) -> None:
        """Begin to take requests."""

    def stop(self) -> None:
        """Take no more requests."""

    def wait(self) -> None:
        """Wait until the taken requests are answered."""


class WorkerService:
    """Starts and stops the worker's parts."""

    def __init__(self, server: Server, reporter: Reporter) -> None:
        self._server, self._reporter = server, reporter

    def start(self) -> None:
        """Serve tasks, then report: a conductor with the report can call this worker."""
        self._server.start()
        spawn(self._reporter.run, "reporter")

    def stop(self) -> None:
        """Report a last time, then end the server."""
        self._reporter.stop()
        self._server.stop()
        self._server.wait()

# SPDX-License-Identifier: Apache-2.0
"""Commands that stop and start the lab's Cassandra nodes, as an operator configures them."""

from __future__ import annotations

import contextlib
import queue
import socket
import sys
import threading
from pathlib import Path

from tests.lab.cassandra import CassandraNode

# Asks this process, which owns the nodes; ends when it was done.
_SCRIPT = """#!{python} -I
import socket, sys

with socket.create_connection(("127.0.0.1", {port})) as connection:
    connection.sendall(" ".join(sys.argv[1:]).encode() + b"\\n")
    answer = connection.makefile().readline().strip()
sys.exit(0 if answer == "done" else answer or "nobody answers")
"""


class Operator:
    """Takes the commands' requests, which are called ``1 start``.

    Those that are ``refused`` fail once; those that are ``held`` wait.
    """

    def __init__(self, directory: Path, nodes: list[CassandraNode]) -> None:
        self._nodes = nodes
        self._server = socket.create_server(("127.0.0.1", 0))
        directory.mkdir(parents=True, exist_ok=True)
        self._script = directory / "cassandra-ctl"
        port = self._server.getsockname()[1]
        self._script.write_text(_SCRIPT.format(python=sys.executable, port=port))
        self._script.chmod(0o755)
        self._queue: queue.Queue[tuple[str, socket.socket] | None] = queue.Queue()
        self._lock = threading.Lock()
        self.refused: set[str] = set()
        self.held: set[str] = set()
        self._waiting: list[tuple[str, socket.socket]] = []
        self.asked: list[str] = []
        threading.Thread(target=self._accept, name="operator", daemon=True).start()
        # Nodes die with the thread that starts them: it has to outlive them.
        self._starter = threading.Thread(target=self._serve, name="starter", daemon=True)
        self._starter.start()

    def options(self, number: int) -> dict[str, str]:
        """Return the options of group ``[cassandra]`` for a node, counted from 0."""
        return {f"{verb}_command": f"{self._script},{number},{verb}" for verb in ("stop", "start")}

    def release(self) -> None:
        """Let go on what is held, and hold nothing any more."""
        with self._lock:
            self.held.clear()
            waiting, self._waiting = self._waiting, []
        for item in waiting:
            self._queue.put(item)

    @property
    def holds(self) -> list[str]:
        """Requests that wait."""
        return [request for request, _ in self._waiting]

    def close(self) -> None:
        """End; nodes that were started by a command die with it."""
        self._server.close()
        self._queue.put(None)
        self._starter.join(60)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._server.accept()
                request = connection.makefile().readline().strip()
                with self._lock:
                    self.asked.append(request)
                    if request in self.held:
                        self._waiting.append((request, connection))
                        continue
                self._queue.put((request, connection))

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            request, connection = item
            number, verb = request.split()
            node = self._nodes[int(number)]
            if request in self.refused:
                self.refused.remove(request)
                _answer(connection, f"{verb} is refused")
            elif verb == "start":
                node.start()
                _answer(connection, "done")
            else:
                threading.Thread(target=_stop, args=(node, connection), daemon=True).start()


def _stop(node: CassandraNode, connection: socket.socket) -> None:
    node.stop()
    _answer(connection, "done")


def _answer(connection: socket.socket, text: str) -> None:
    with connection, contextlib.suppress(OSError):  # who asked may have died
        connection.sendall(f"{text}\n".encode())

# SPDX-License-Identifier: Apache-2.0
"""A TCP relay that keeps a request back when its bytes have a certain text in them, or cuts.

In front of Jolokia or CQL it holds one step of a restore for as long as a test likes. What is held
is passed on afterwards even if its sender is dead by then: a request may always come late.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_BLOCK = 64 * 1024
_LONGEST = 300.0  # seconds; the tests' own deadlines are shorter


@dataclass
class _Hold:
    text: bytes
    released: threading.Event = field(default_factory=threading.Event)


class Gate:
    """Listens on ``address`` and passes bytes to and from ``upstream`` (host, port)."""

    def __init__(self, address: str, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._lock = threading.Lock()
        self._holds: list[_Hold] = []
        self._open: set[socket.socket] = set()
        self._held = 0
        self._listener = socket.create_server((address, 0), backlog=64)
        self.address, self.port = address, int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self.clear()
        self._listener.close()

    def hold(self, text: bytes) -> None:
        """Keep back what has ``text`` in it until ``clear()``."""
        with self._lock:
            self._holds.append(_Hold(text))

    def clear(self) -> None:
        """Let everything through."""
        with self._lock:
            for hold in self._holds:
                hold.released.set()
            self._holds.clear()

    def cut(self) -> None:
        """End all connections that are open."""
        with self._lock:
            cut = list(self._open)
        for end in cut:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @property
    def held(self) -> int:
        """How many requests wait now."""
        return self._held

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(self._upstream, timeout=10)
            except OSError:
                return
            server.settimeout(None)
            with server, self._counted(client, server):
                back = threading.Thread(target=self._relay, args=(server, client), daemon=True)
                back.start()
                self._relay(client, server, watched=True)
                back.join(_LONGEST)

    @contextlib.contextmanager
    def _counted(self, *ends: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.update(ends)
        try:
            yield
        finally:
            with self._lock:
                self._open.difference_update(ends)

    def _relay(self, source: socket.socket, sink: socket.socket, *, watched: bool = False) -> None:
        last = b""
        with contextlib.suppress(OSError):
            while block := source.recv(_BLOCK):
                if watched:
                    last = b"" if self._waited(last + block) else (last + block)[-200:]
                sink.sendall(block)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _waited(self, text: bytes) -> bool:
        """Wait if ``text`` is to be held; return whether it was."""
        with self._lock:
            holds = [hold for hold in self._holds if hold.text in text]
            self._held += bool(holds)
        for hold in holds:
            hold.released.wait(_LONGEST)
        with self._lock:
            self._held -= bool(holds)
        return bool(holds)
